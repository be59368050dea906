"""The folder that an artifact becomes: files written once, durable and hashed, nothing ever written through a link.

An archive, the layers of an OCI manifest and the files of a folder at a source all end here. Names are never written
twice, members are counted with the folders that their paths imply, and owners and times are nobody's: files become 0644
(0755 where executable), folders 0755, so that Triton's user can read them.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal

from littoral.modelstore.errors import ArchiveUnsafe
from littoral.modelstore.files import new_file
from littoral.modelstore.listing import Entry, Listing

MAX_MEMBERS: Final = 10_000
"""A Triton model is a handful of files; a SavedModel or a Python environment some thousands."""
MAX_PATH: Final = 1024
MAX_DEPTH: Final = 64
"""Folders above a member; the Python environments that models bring have some twenty."""
FOLDER: Final = 4096
"""Bytes that a folder is taken to need: a block of every usual file system."""

Parts = tuple[str, ...]
Kind = Literal["folder", "file", "link"]


class Tree:
    """The new folder `root`. `spend` is told of every number of bytes before they are written, and may object.

    Methods raise ArchiveUnsafe naming the member, OSError from the disk, and what `spend` raises.
    """

    def __init__(self, root: Path, spend: Callable[[int], None]) -> None:
        root.mkdir(mode=0o755)
        self._root, self._spend = root, spend
        self._kinds: dict[Parts, Kind] = {(): "folder"}
        self._entries: dict[Parts, Entry] = {}
        self._members = 0

    def listing(self) -> Listing:
        """Return what was written so far."""
        return Listing(tuple(self._entries.values()))

    def count(self) -> None:
        """Count one member, whatever it is; folders that no member names are counted when they are made."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise ArchiveUnsafe(f"the artifact has more than {MAX_MEMBERS} members and folders")

    def folder(self, parts: Parts, *, implied: bool = False) -> None:
        """Make a folder and those above it, as far as they are not there; `implied`: no member named it."""
        if len(parts) > MAX_DEPTH:
            raise ArchiveUnsafe(
                f"the artifact's member {quoted('/'.join(parts))} lies more than {MAX_DEPTH} folders deep"
            )
        for depth in range(1, len(parts) + 1):
            kind = self._kinds.get(parts[:depth])
            if kind is None:
                if implied or depth < len(parts):
                    self.count()
                self._spend(FOLDER)
                self._place(parts[:depth]).mkdir(mode=0o755)
                self._kinds[parts[:depth]] = "folder"
            elif kind != "folder":
                raise ArchiveUnsafe(f"the artifact's member {quoted('/'.join(parts))} leads through a {kind} of it")

    def file(
        self, parts: Parts, chunks: Iterable[bytes], sha256: Callable[[], str], *, executable: bool = False
    ) -> None:
        """Write a file; `sha256` is asked for its digest once all chunks were taken."""
        path, size = self._new(parts), 0
        with new_file(path, executable=executable) as file:
            for chunk in chunks:
                self._spend(len(chunk))
                file.write(chunk)
                size += len(chunk)
        self._note(parts, "file", Entry("/".join(parts), size, sha256()))

    def link(self, parts: Parts, target: str) -> None:
        """Make a symbolic link."""
        self._new(parts).symlink_to(target)
        self._note(parts, "link", Entry("/".join(parts), link=target))

    def hard_link(self, parts: Parts, target: Parts) -> None:
        """Give a file of this tree one more name."""
        path = self._new(parts)
        if self._kinds.get(target) != "file":
            raise ArchiveUnsafe(
                f"the artifact's member {quoted('/'.join(parts))} is a hard link to {quoted('/'.join(target))}, "
                "which is no file before it in the artifact"
            )
        path.hardlink_to(self._place(target))
        first = self._entries[target]
        self._note(parts, "file", Entry("/".join(parts), first.size, first.sha256))

    def _new(self, parts: Parts) -> Path:
        """Return where a new name goes, its folder made."""
        self.folder(parts[:-1], implied=True)
        if parts in self._kinds:
            raise ArchiveUnsafe(f"the artifact holds {quoted('/'.join(parts))} twice")
        return self._place(parts)

    def _note(self, parts: Parts, kind: Kind, entry: Entry) -> None:
        self._kinds[parts] = kind
        self._entries[parts] = entry

    def _place(self, parts: Parts) -> Path:
        return self._root.joinpath(*parts)


def safe_parts(name: str, member: str) -> Parts:
    """Return the components of a member's name or of a hard link's target. Raises ArchiveUnsafe naming the member."""
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise ArchiveUnsafe(f"the artifact's member {quoted(member)} leaves the artifact ({quoted(name)})")
    if len(name) > MAX_PATH or any(len(os.fsencode(part)) > 255 for part in parts):
        raise ArchiveUnsafe(f"the artifact's member {quoted(member)} has a path too long")
    return parts


def quoted(name: str) -> str:
    """Return a name as it may stand in a message, whatever bytes it has."""
    return ascii(name if len(name) <= 200 else f"{name[:200]}…")
