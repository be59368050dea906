"""The locks of one cache: flocks, which the kernel takes back from whoever dies.

::

    <root>/locks/<digest>   held while an artifact is fetched, or verified once more: minutes; shared while one is laid
                            out for which no pin could be written
    <root>/locks/books      held while pins change, room is reserved, an entry appears or goes: moments

A digest's lock is taken before the books, never while they are held; who holds the books only tries for the lock of a
digest and goes without. So nothing waits in a circle. A lock file stays for ever, for two processes could else hold the
same lock on two files; it is empty.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_BOOKS: Final = "books"
_log: Final = logging.getLogger(__name__)


class Locks:
    """The locks below `folder`, which is made when it is needed. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def digest(self, digest: str) -> Iterator[None]:
        """Be the only process of the node that brings `digest`; waits for as long as another one does."""
        with self._file(digest) as lock:
            if not _taken(lock):
                _log.info("another container of this node is busy with sha256:%s; waiting for it", digest)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def hold(self, digest: str) -> Iterator[None]:
        """Keep `digest` from being collected, as any number of processes may; waits while somebody brings it.

        Whoever holds it must not ask for a digest's lock meanwhile, of which somebody else may be the holder.
        """
        with self._file(digest) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @contextmanager
    def attempt(self, digest: str) -> Iterator[bool]:
        """Take the lock of `digest` if nobody has it, and tell."""
        with self._file(digest) as lock:
            yield _taken(lock)

    @contextmanager
    def books(self) -> Iterator[None]:
        """Be the only process that changes what is pinned, reserved or there."""
        with self._file(_BOOKS) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _file(self, name: str) -> Iterator[int]:
        # Not its parents: a cache that is not mounted must not be made elsewhere.
        self._folder.mkdir(mode=0o755, exist_ok=True)
        # Reading is enough for flock, and on a read-only disk opens a file that is there.
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self._folder / name, flags, 0o644)
        try:
            yield lock
        finally:
            os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
