"""Files and folders that survive a power cut, and what is to be made of those that did not."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

_LOST: Final = frozenset(
    {
        *(errno.EIO, errno.EBADMSG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
        getattr(errno, "EUCLEAN", errno.EIO),
    }
)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_lost(error: OSError) -> bool:
    """Tell whether the disk has lost what was asked for. Anything else, as too little memory, says nothing of it."""
    return error.errno in _LOST


def is_full(error: OSError) -> bool:
    """Tell whether the disk, or a quota of it, takes no more."""
    return error.errno in _FULL


def read_kept(path: Path) -> bytes | None:
    """Return a small file; None where there is none, or none any more that can be read. Raises OSError."""
    try:
        return path.read_bytes()
    except OSError as error:
        if not is_lost(error):
            raise
        return None


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


@contextmanager
def grown_file(path: Path, size: int) -> Iterator[IO[bytes]]:
    """Give a file that is there, cut to at most `size` bytes, to be read from its beginning and then to be written on.

    When the block ends well, it is on the disk. Raises OSError; never follows a link.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as file:
        file.truncate(min(size, os.fstat(file.fileno()).st_size))
        yield file
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Put a small file in the place of whatever is at `path`, wholly or not at all. Raises OSError."""
    # A name of its own, for two containers may write the same file at a time; the dot keeps it out of every list.
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with new_file(draft) as file:
            file.write(data)
        draft.replace(path)
    except Exception:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
