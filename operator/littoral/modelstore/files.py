"""Files and folders that survive a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def new_file(path: Path, *, executable: bool = False) -> Iterator[IO[bytes]]:
    """Give a new file, readable by everybody, to be written; when the block ends well, it is on the disk.

    Raises OSError, FileExistsError included; never follows a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Buffered, for a raw file may write less than it was given; a chunk larger than the buffer is not copied.
    with os.fdopen(os.open(path, flags, 0o755 if executable else 0o644), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
