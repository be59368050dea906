"""The cache of one namespace on one node: artifacts under their own digest.

::

    <root>/sha256/<digest>/content         the file, or the folder that an archive became; complete and verified
    <root>/sha256/<digest>/verified.json   the marker, written last: without it the entry does not exist
    <root>/tmp/<digest>/                   being received; rubbish unless somebody holds the lock
    <root>/locks/<digest>                  flock: one container of the node fetches, the others wait and find it
    <root>/import/                         files carried to the node by hand (file:///import/PATH)

An entry appears by one rename of a folder whose files, folders and marker are on the disk, so it is there wholly or not
at all, also after a power cut. Finding an entry takes no lock and writes nothing: a warm start works on a full or
read-only disk.
"""

import fcntl
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from littoral.modelstore.errors import DiskFull
from littoral.modelstore.files import new_file, sync_folder

RESERVE: Final = 64 << 20
"""Bytes that a fetch leaves free: a node's disk filled to the brim takes the kubelet down with it."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CONTENT: Final = "content"
_MARKER: Final = "verified.json"
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact: its content (a file, or the folder that an archive became), its size in bytes as fetched."""

    digest: str
    content: Path
    size: int


class Cache:
    """The cache below `root`. Every method may raise OSError."""

    def __init__(self, root: Path) -> None:
        self.imports: Final = root / "import"
        self._root = root
        self._entries, self._staging, self._locks = root / "sha256", root / "tmp", root / "locks"

    def find(self, digest: str) -> Artifact | None:
        """Return the verified artifact of that digest, or None."""
        entry = self._entries / digest
        try:
            marker = json.loads((entry / _MARKER).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        content = entry / _CONTENT
        match marker:
            case {"digest": str(marked), "size": int(size)} if marked == digest and content.exists():
                return Artifact(digest, content, size)
        return None

    @contextmanager
    def locked(self, digest: str) -> Iterator[None]:
        """Be the only process of the node that fetches `digest`; waits for as long as another one does."""
        with self._lock_file(digest) as lock:
            if not _try_lock(lock):
                _log.info("another container of this node is fetching sha256:%s; waiting for it", digest)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def staging(self, digest: str) -> Iterator[Path]:
        """Give a path that does not exist, to be made the artifact's content; `commit` it, or it is removed."""
        folder = self._staging / digest
        self._staging.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove(folder)
        folder.mkdir(mode=0o755)
        try:
            yield folder / _CONTENT
        finally:
            # Nothing there after a commit. What can't be removed now is removed by the next fetch.
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, digest: str, size: int) -> Artifact:
        """Make what was staged for `digest`, and verified, an entry. The caller holds the lock."""
        staged, entry = self._staging / digest, self._entries / digest
        with new_file(staged / _MARKER) as marker:
            marker.write(json.dumps({"digest": digest, "size": size}).encode())
        for folder, _, _ in os.walk(staged, topdown=False):
            sync_folder(Path(folder))
        self._entries.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._discard(entry)
        staged.rename(entry)
        sync_folder(self._entries)
        sync_folder(self._root)
        return Artifact(digest, entry / _CONTENT, size)

    def sweep(self) -> None:
        """Remove what dead fetches left, of any digest that nobody holds the lock of."""
        for name in _names(self._staging):
            with self._lock_file(name[:64]) as lock:
                if _try_lock(lock):
                    _remove(self._staging / name)

    def require(self, size: int) -> None:
        """Raise DiskFull unless `size` bytes fit on the disk with RESERVE to spare."""
        if (free := self.free()) < size + RESERVE:
            raise DiskFull(
                f"the node has {free >> 20} MiB free below the model cache and {(size + RESERVE) >> 20} MiB are needed "
                f"({size >> 20} MiB and {RESERVE >> 20} MiB in reserve); free space on the node"
            )

    def spender(self) -> Callable[[int], None]:
        """Return what counts bytes about to be written, and raises DiskFull when they have eaten into RESERVE."""
        unchecked = 0

        def spend(size: int) -> None:
            nonlocal unchecked
            unchecked += size
            if unchecked >= RESERVE // 4:
                self.require(unchecked)
                unchecked = 0

        return spend

    def free(self) -> int:
        """Return the bytes that may still be written to the disk."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def kept(self) -> tuple[str, ...]:
        """Return the digests of all entries, sorted."""
        return tuple(digest for digest in _names(self._entries) if self.find(digest))

    def _discard(self, entry: Path) -> None:
        """Take away an entry that has no valid marker, in one step, since a removal may die half-way."""
        if entry.exists():
            doomed = self._staging / f"{entry.name}.discarded"
            _remove(doomed)
            entry.rename(doomed)
            _remove(doomed)

    @contextmanager
    def _lock_file(self, digest: str) -> Iterator[int]:
        self._locks.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(self._locks / digest, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            yield lock
        finally:
            os.close(lock)


def _names(folder: Path) -> list[str]:
    """Return the names in `folder` that begin with a digest, sorted."""
    try:
        return sorted(path.name for path in folder.iterdir() if _DIGEST.match(path.name))
    except FileNotFoundError:
        return []


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
