"""The locks of one cache: flocks, which the kernel takes back from whoever dies.

::

    <root>/locks/<digest>   held while an artifact is fetched, or verified once more: minutes; shared while one is laid
                            out for which no pin could be written
    <root>/locks/books      held while pins change, room is reserved, an entry appears or goes: moments

A digest's lock is taken before the books, never while they are held; who holds the books only tries for the lock of a
digest and goes without. So nothing waits in a circle. A lock file stays for ever, for two processes could else hold the
same lock on two files; it is empty. Nobody else can open one: whoever can may hold it for ever.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

_BOOKS: Final = "books"
_POLL: Final = 0.02
"""Seconds between two tries for a lock that is not waited for without end."""
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
        """Take the lock of `digest` if nobody has it, and tell; one that the disk does not hand out is not taken."""
        with ExitStack() as stack:
            try:
                taken = _taken(stack.enter_context(self._file(digest)))
            except OSError as error:
                _log.warning("the lock of sha256:%s cannot be taken: %s", digest, error)
                taken = False
            yield taken

    @contextmanager
    def books(self, patience: float | None = None) -> Iterator[None]:
        """Be the only process that changes what is pinned, reserved or there.

        Raises TimeoutError where another one is that for longer than `patience`, in seconds (None: waits for it).
        """
        with self._file(_BOOKS) as lock:
            if patience is None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            else:
                end = time.monotonic() + patience
                while not _taken(lock):
                    if time.monotonic() > end:
                        raise TimeoutError(errno.ETIMEDOUT, "another container keeps the books of the cache")
                    time.sleep(_POLL)
            yield

    @contextmanager
    def _file(self, name: str) -> Iterator[int]:
        # Not its parents: a cache that is not mounted must not be made elsewhere.
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # Reading is enough for flock, and on a read-only disk opens a file that is there.
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self._folder / name, flags, 0o600)
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
