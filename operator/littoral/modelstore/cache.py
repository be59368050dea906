"""The cache of one namespace on one node: artifacts under their own digest.

::

    <root>/sha256/<digest>/content         the file, or the folder that an archive became; complete and verified
    <root>/sha256/<digest>/listing         its files with their digests (modelstore.listing)
    <root>/sha256/<digest>/verified.json   the marker, written last: without it the entry does not exist
    <root>/sha256/<digest>/used            empty; the time of its last change is when the entry was last asked for, and
                                           its mode says whether a server has it whose pin cannot be written
    <root>/sha256/<digest>/notes/<name>    what others keep beside it, and lose with it
    <root>/tmp/<digest>/content            being received, or the part of a single file that a dead fetch left
    <root>/tmp/<digest>/reserved           how many bytes it may come to (modelstore.collection)
    <root>/locks/                          modelstore.locks
    <root>/pins/                           modelstore.pins
    <root>/quarantine/                     modelstore.quarantine
    <root>/import/                         files carried to the node by hand (file:///import/PATH)

An entry appears by one rename of a folder whose files, folders and marker are on the disk, so it is there wholly or not
at all, also after a power cut; it goes by one rename as well.

The marker names the boot under which the content was verified. Under the same boot the entry is found as it is: no
lock, no write, so that a warm start works on a full or read-only disk. Under another boot it is not found until its
content was compared with the listing once more. What differs is thrown away, and so is an entry whose marker or listing
can't be read: what can't be proved is fetched again.

A flash loses what it likes. A small file that it lost is a file that is not there, and what can't be removed is left
where nobody looks (tmp/<digest>.discarded.*): neither keeps another model from coming.
"""

import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from littoral.modelstore import listing as listings
from littoral.modelstore import marker as markers
from littoral.modelstore.boot import boot_id
from littoral.modelstore.errors import CacheFull, DiskFull, NodeClockWrong, SourceForbidden, SourceUnreachable
from littoral.modelstore.files import is_full, is_lost, new_file, read_kept, replace_file, sync_folder
from littoral.modelstore.listing import Listing
from littoral.modelstore.locks import Locks
from littoral.modelstore.marker import Marker
from littoral.modelstore.pins import Pins
from littoral.modelstore.quarantine import Quarantine
from littoral.modelstore.request import ENTRIES
from littoral.modelstore.transfer import Progress

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CONTENT: Final = "content"
_LISTING: Final = "listing"
_MARKER: Final = "verified.json"
_USED: Final = "used"
_NOTES: Final = "notes"
_DISCARDED: Final = ".discarded."
_RESERVED: Final = "reserved"
_CUT: Final = (SourceUnreachable, SourceForbidden, NodeClockWrong, DiskFull, CacheFull)
"""Failures after which the rest of a file may come another time."""
_FREE: Final = 0o644
_KEPT: Final = 0o744
"""Modes of `used`: whoever is looked for is collected in its turn, or stays until the next boot."""
_TICK: Final = 1e-3
"""Seconds between two uses, where the clock does not tell which was first."""
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact: its content (a file or a folder), its size in bytes as fetched, the listing of its files."""

    digest: str
    content: Path
    size: int
    listing: Listing


class Cache:
    """The cache below `root`; `boot` is the present boot's id. Every method may raise OSError."""

    def __init__(self, root: Path, *, boot: str | None = None) -> None:
        self.root: Final = root
        self.imports: Final = root / "import"
        self.locks: Final = Locks(root / "locks")
        self.pins: Final = Pins(root / "pins", self.locks.books)
        self.quarantine: Final = Quarantine(root / "quarantine")
        self._boot = boot_id() if boot is None else boot
        self._entries, self._staging = root / ENTRIES, root / "tmp"

    def find(self, digest: str, kind: str = "") -> Artifact | None:
        """Return the artifact of that digest, verified under this boot; or None.

        `kind` is what the digest is to be of ("": whatever it is): the text that a folder's digest is taken of may be
        fetched as a file, and is not the folder.
        """
        found = self._read(digest, kind)
        return found[1] if found and self._boot and found[0].boot == self._boot else None

    def verify(self, digest: str, kind: str = "") -> Artifact | None:
        """Return an artifact that was verified under another boot and is unchanged; or None.

        Reads all of it. Two containers do it one after the other, so that the second finds it done; where the disk
        takes no lock it takes no harm either, and both do it.
        """
        if self._read(digest, kind) is None:
            return None
        with self._locked_where_possible(digest):
            return self.prove(digest, kind)

    def prove(self, digest: str, kind: str = "") -> Artifact | None:
        """Do what `verify` does; the caller holds the digest's lock. What is not what it was is gone."""
        if artifact := self.find(digest, kind):
            return artifact
        if (found := self._read(digest, kind)) is None:
            return None
        marker, artifact = found
        why = "was verified before the node was started" if self._boot else "is of a boot that the kernel does not name"
        _log.info("sha256:%s %s; it is compared with its listing", digest, why)
        if difference := _difference(artifact):
            _log.warning("sha256:%s is not what it was: %s; it is thrown away", digest, difference)
            with suppress(OSError):
                self.discard(digest)
            return None
        # On a full or read-only disk it is verified as well, and will be once more.
        with suppress(OSError):
            (self._entries / digest / _USED).chmod(_FREE)
            self._mark(self._entries / digest, replace(marker, boot=self._boot))
        return artifact

    def touch(self, digest: str) -> None:
        """Note that an entry is used now; what is used least recently is collected first.

        It is after whatever was used before, also by a clock that was set back: a board may have none of its own.
        """
        with suppress(OSError):
            others = (self.used(each) for each in _names(self._entries) if each != digest)
            at = max(time.time(), max(others, default=0.0) + _TICK)
            os.utime(self._entries / digest / _USED, (at, at))

    @contextmanager
    def staging(self, digest: str) -> Iterator[Path]:
        """Give the path at which the artifact's content is to be made; `commit` it, or it is removed.

        The caller holds the digest's lock. A regular file may be there: the first bytes of the artifact, if it is a
        single file, which an earlier fetch left; and it is left again where the link or this process breaks off.
        """
        folder = self._staging / digest
        content = folder / _CONTENT
        if self.part(digest) is None:
            self.dispose(self._set_aside(folder))
        self._staging.mkdir(mode=0o755, exist_ok=True)
        folder.mkdir(mode=0o755, exist_ok=True)
        for path in folder.iterdir():
            if path != content:  # of a commit that was not finished
                path.unlink()
        left = False
        try:
            yield content
        except BaseException as error:
            full = isinstance(error, OSError) and is_full(error)
            left = full or isinstance(error, _CUT) or not isinstance(error, Exception)
            raise
        finally:
            # Nothing is there after a commit. What can't be removed now is removed by the next fetch.
            if not left or not _is_file(content):
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # a part is promised nothing
                self.reservation(digest).unlink(missing_ok=True)

    def commit(self, digest: str, size: int, listing: Listing, kind: str = "") -> Artifact:
        """Make what was staged for `digest`, and verified, an entry. The caller holds the digest's lock."""
        staged, entry = self._staging / digest, self._entries / digest
        text = listing.text().encode()
        for name, data in ((_LISTING, text), (_USED, b"")):
            with new_file(staged / name) as file:
                file.write(data)
        for folder, _, _ in os.walk(staged / _CONTENT, topdown=False):
            sync_folder(Path(folder))
        self._entries.mkdir(mode=0o755, exist_ok=True)
        stored = stored_size(staged / _CONTENT)
        self._mark(staged, Marker(digest, size, stored, self._boot, hashlib.sha256(text).hexdigest(), kind))
        self.reservation(digest).unlink(missing_ok=True)
        sync_folder(staged)
        with self.locks.books():
            former = self.take_away(digest)
            staged.rename(entry)
        self.dispose(former)
        sync_folder(self._entries)
        sync_folder(self.root)
        return Artifact(digest, entry / _CONTENT, size, listing)

    def take_away(self, digest: str) -> Path | None:
        """Take away an entry in one step, since a removal may die half-way; return what to `dispose` of.

        The caller holds the books, and lets go of them first: to remove many files takes long.
        """
        return self._set_aside(self._entries / digest)

    def take_part(self, digest: str) -> Path | None:
        """Take away what is staged for `digest` as `take_away` does an entry."""
        return self._set_aside(self._staging / digest)

    def dispose(self, doomed: Path | None) -> None:
        """Remove what was taken away. What can't be removed now is left to `sweep`."""
        if doomed is not None:
            try:
                _remove(doomed)
            except OSError as error:
                _log.warning("%s cannot be removed: %s", doomed, error.strerror)

    def discard(self, digest: str) -> None:
        """Take away an entry, whatever of it can be read, and remove it. The caller holds the digest's lock."""
        with self.locks.books():
            doomed = self.take_away(digest)
        self.dispose(doomed)

    def sweep(self) -> None:
        """Remove what dead fetches left and nobody can use, of any digest that nobody holds the lock of.

        What a pin holds stays even if its marker is lost, for a server may have it open. Each thing that can't be
        removed is said, and left.
        """
        for name in _names(self._staging):
            with self.locks.attempt(name[:64]) as free:
                if not free:
                    continue
                if _DISCARDED in name or self.part(name) is None:
                    self.dispose(self._staging / name)
                else:
                    with suppress(OSError):
                        self.reservation(name).unlink(missing_ok=True)
        lost = [digest for digest in _names(self._entries) if self.marker(digest) is None]
        held = self.pins.holders() if lost else {}
        for digest in lost:
            with suppress(OSError), self.locks.attempt(digest) as free:
                holds = any(pin is None or digest in pin.digests() for pin in held.values())
                if free and not holds and self.marker(digest) is None:
                    self.discard(digest)

    def part(self, digest: str) -> int | None:
        """Return how many bytes of a single file an earlier fetch of `digest` left; None where it left none."""
        content = self._staging / digest / _CONTENT
        return content.stat().st_size if _is_file(content) else None

    def staged(self, digest: str) -> Path:
        """Return the folder in which `digest` is received."""
        return self._staging / digest

    def reservation(self, digest: str) -> Path:
        """Return the file that says how many bytes `digest` may come to while it is received."""
        return self._staging / digest / _RESERVED

    def staged_digests(self) -> tuple[str, ...]:
        """Return the digests that are being received, or of which a part is left."""
        return tuple(name for name in _names(self._staging) if _DIGEST.fullmatch(name))

    def kept(self) -> tuple[str, ...]:
        """Return the digests of all entries, sorted."""
        return tuple(digest for digest in _names(self._entries) if self.marker(digest))

    def keep(self, digest: str) -> None:
        """Keep an entry from collection until the node starts anew: for a server whose pin cannot be written.

        A change of mode takes no room on a full disk. Raises OSError.
        """
        (self._entries / digest / _USED).chmod(_KEPT)

    def is_kept(self, digest: str) -> bool:
        """Tell whether `keep` was called for an entry under this boot; under another no server has it open."""
        try:
            mode = stat.S_IMODE((self._entries / digest / _USED).stat().st_mode)
        except OSError:
            return False
        marker = self.marker(digest)
        return mode == _KEPT and marker is not None and marker.boot == self._boot

    def sizes(self) -> dict[str, int]:
        """Return by digest the bytes that each entry takes, those of which the marker is lost included."""
        return {
            digest: marker.stored if (marker := self.marker(digest)) else stored_size(self._entries / digest / _CONTENT)
            for digest in _names(self._entries)
        }

    def marker(self, digest: str) -> Marker | None:
        """Return what is known of an entry, whichever boot it was verified under."""
        data = read_kept(self._entries / digest / _MARKER)
        return None if data is None else markers.parse(data, digest)

    def used(self, digest: str) -> float:
        """Return when an entry was last asked for, in seconds since the epoch; 0 where that is not known."""
        try:
            return (self._entries / digest / _USED).stat().st_mtime
        except OSError:
            return 0.0

    def note(self, digest: str, name: str) -> bytes | None:
        """Return what `add_note` kept beside an entry, or None."""
        return read_kept(self._entries / digest / _NOTES / name)

    def add_note(self, digest: str, name: str, data: bytes) -> None:
        """Keep something beside an entry for as long as that is kept. A disk that takes no write takes no note."""
        notes = self._entries / digest / _NOTES
        try:
            notes.mkdir(mode=0o755, exist_ok=True)
            replace_file(notes / name, data)
        except OSError as error:
            _log.warning("the note %s of sha256:%s cannot be kept: %s", name, digest, error.strerror)

    def _read(self, digest: str, kind: str) -> tuple[Marker, Artifact] | None:
        marker, entry = self.marker(digest), self._entries / digest
        if marker is None or kind not in {"", marker.kind}:
            return None
        try:
            text = read_kept(entry / _LISTING)
            if text is None or hashlib.sha256(text).hexdigest() != marker.listing or not _exists(entry / _CONTENT):
                return None
            return marker, Artifact(digest, entry / _CONTENT, marker.size, listings.parse(text.decode()))
        except ValueError:
            return None

    def _set_aside(self, path: Path) -> Path | None:
        """Give what is at `path`, below a digest's name, a name of its own under which nobody looks for it."""
        self._staging.mkdir(mode=0o755, exist_ok=True)
        aside = self._staging / f"{path.name}{_DISCARDED}{os.urandom(8).hex()}"
        try:
            path.rename(aside)
        except FileNotFoundError:
            return None
        return aside

    def _mark(self, entry: Path, marker: Marker) -> None:
        replace_file(entry / _MARKER, marker.dump())

    @contextmanager
    def _locked_where_possible(self, digest: str) -> Iterator[None]:
        lock = self.locks.digest(digest)
        try:
            lock.__enter__()
        except OSError:
            yield
            return
        try:
            yield
        finally:
            lock.__exit__(None, None, None)


def stored_size(content: Path) -> int:
    """Return the bytes of a file, or of the files in a folder, each counted once; what vanished or is lost has none."""
    sizes: dict[int, int] = {}
    below = (Path(folder) / name for folder, _, names in os.walk(content) for name in names)
    for path in below if os.path.isdir(content) else (content,):  # noqa: PTH112 - Path's raises what the disk says
        with suppress(OSError):
            status = path.lstat()
            sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def _difference(artifact: Artifact) -> str | None:
    """Return in words in what an artifact is not what was verified, or None. Raises OSError."""
    progress, total, done = Progress(f"comparing sha256:{artifact.digest}"), artifact.listing.size(), 0

    def seen(size: int) -> None:
        nonlocal done
        done += size
        progress.at(done, total)

    try:
        return artifact.listing.difference(artifact.content, seen)
    except OSError as error:
        if not is_lost(error):
            raise
        return f"it cannot be read ({error.strerror})"


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path's raises what the disk says


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    """Return the names in `folder` that begin with a digest, sorted."""
    try:
        return sorted(path.name for path in folder.iterdir() if _DIGEST.match(path.name))
    except FileNotFoundError:
        return []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
