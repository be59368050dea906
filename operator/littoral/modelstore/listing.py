r"""Listings: which files an artifact consists of, each with its size and its SHA-256.

A listing is what a folder's identity is taken from, what a signature's statement is compared with, and what content
that has been on a disk for long is proved by. It is kept beside the content in the cache.

The digest of a folder is the SHA-256 of what ``sha256sum`` prints of its files in the order of the bytes of their
paths, so that everybody can say it without Littoral::

    cd FOLDER && find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum

Symbolic links (an archive may bring some) are listed with their target and are no part of that digest.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BLOCK: Final = 1 << 18
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its path relative to the content ("" where the content is the file), size in bytes and SHA-256 in hex.

    Of a symbolic link `link` is the target; its size is 0 and its sha256 empty.
    """

    path: str
    size: int = 0
    sha256: str = ""
    link: str = ""


class Listing:
    """The files and links of one content, sorted by the bytes of their paths; folders are implied."""

    __slots__ = ("entries",)

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self.entries: Final = tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listing) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return f"Listing({self.entries!r})"

    def digest(self) -> str:
        """Return the manifest digest of the folder, as hex digits."""
        lines = (f"{entry.sha256}  {entry.path}\n" for entry in self.entries if not entry.link)
        return hashlib.sha256(b"".join(map(os.fsencode, lines))).hexdigest()

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(entry.size for entry in self.entries)

    def text(self) -> str:
        """Return the listing as it is kept: a JSON array for each entry, one a line."""
        rows = ([entry.path, entry.size, entry.sha256, entry.link] for entry in self.entries)
        return "".join(f"{json.dumps(row)}\n" for row in rows)

    def difference(self, content: Path, seen: Callable[[int], None] = lambda _: None) -> str | None:
        """Return in words the first thing in which `content` is not what is listed, or None. Raises OSError.

        Names, kinds and sizes are compared before anything is read, then every byte; `seen` is told how many were read
        each time.
        """
        wanted = {entry.path: entry for entry in self.entries}
        found = {path: _shape(_place(content, path)) for path in _paths(content)}
        for path in sorted(wanted.keys() | found.keys(), key=os.fsencode):
            if path not in found:
                return f"{path or content.name} is missing"
            if path not in wanted:
                return f"{path or content.name} is not in the listing"
            if found[path] != (wanted[path].size, wanted[path].link):
                return f"{path or content.name} has another kind or size than the listing says"
        for entry in self.entries:
            if not entry.link and (got := _sha256(_place(content, entry.path), seen)) != entry.sha256:
                return f"{entry.path or content.name} has sha256 {got}, the listing says {entry.sha256}"
        return None


def parse(text: str) -> Listing:
    """Return the listing that `text` holds. Raises ValueError."""
    return Listing(tuple(_entry(json.loads(line)) for line in text.splitlines()))


def of(content: Path) -> Listing:
    """Read and hash a file, or every file of a folder. Raises OSError, and ValueError naming what is neither."""
    return Listing(tuple(_listed(content, path) for path in _paths(content)))


def _entry(row: object) -> Entry:
    match row:
        case [str(path), int(size), str(sha256), str(link)] if size >= 0:
            return Entry(path, size, sha256, link)
    raise ValueError(f"{row!r} is no entry of a listing")


def _paths(content: Path) -> Iterator[str]:
    """Yield the paths, relative to `content`, of all that is no folder."""
    if content.is_symlink() or not content.is_dir():
        # Of nothing there is nothing: a listing of what is not there is a difference, not a failure.
        yield from [""] * os.path.lexists(content)
        return
    for folder, folders, files in os.walk(content, onerror=_raise):
        below = os.path.relpath(folder, content)
        for name in (*files, *(name for name in folders if (Path(folder) / name).is_symlink())):
            yield name if below == "." else f"{below}/{name}"


def _listed(content: Path, path: str) -> Entry:
    place = _place(content, path)
    size, link = _shape(place)
    if link:
        return Entry(path, link=link)
    if size < 0:
        raise ValueError(f"{place} is neither a file, a folder nor a link")
    return Entry(path, size, _sha256(place))


def _place(content: Path, path: str) -> Path:
    return content / path if path else content


def _shape(place: Path) -> tuple[int, str]:
    """Return size and link target; a negative size stands for what is neither file nor link."""
    status = place.lstat()
    if stat.S_ISLNK(status.st_mode):
        return 0, str(place.readlink())
    return (status.st_size if stat.S_ISREG(status.st_mode) else -1), ""


def _sha256(place: Path, seen: Callable[[int], None] = lambda _: None) -> str:
    digest, view = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    with os.fdopen(os.open(place, _FLAGS), "rb", buffering=0) as file:
        while size := file.readinto(view):
            digest.update(view[:size])
            seen(size)
    return digest.hexdigest()


def _raise(error: OSError) -> None:
    raise error
