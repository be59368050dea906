"""Archives: tar and tar.gz, unpacked as they arrive and trusted in nothing.

What an archive may hold: folders, files, hard links to files before them, and symbolic links whose target is relative
and free of "..": such a link can't leave the archive whatever it leads through. Nothing is written through a link and
no name is written twice. Members, header sizes, path lengths and the expanded size are bounded, so a small download can
fill neither memory nor disk. Owners and times are ignored; files become 0644 (0755 where executable), folders 0755, so
that Triton's user can read them.

Whether a file is an archive is decided by its bytes, never by its URI: the cache's key is the digest, and equal bytes
must unpack equally.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, Literal, Protocol, cast

from littoral.modelstore.errors import ArchiveUnsafe, LayoutInvalid
from littoral.modelstore.files import new_file
from littoral.modelstore.sources import CHUNK

HEAD: Final = tarfile.BLOCKSIZE
"""Bytes that `is_archive` needs to see."""
MAX_MEMBERS: Final = 10_000
"""A Triton model is a handful of files; a SavedModel or a Python environment some thousands."""
MAX_RATIO: Final = 20
MAX_SLACK: Final = 64 << 20
"""Expanded bytes may reach MAX_RATIO times the bytes received plus MAX_SLACK. Weights hardly compress and source text
shrinks five- to tenfold; what gzip shrinks a thousandfold is no model."""
MAX_PATH: Final = 1024
_MAX_HEADER: Final = 64 << 10
"""tarfile reads an extended header into memory as a whole."""
_GZIP: Final = b"\x1f\x8b"
_EXTENDED: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)

Parts = tuple[str, ...]
Kind = Literal["folder", "file", "link"]


class Incoming(Protocol):
    """The bytes of an archive as they arrive, and how many did."""

    received: int

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; b"" at the end."""


def is_archive(head: bytes) -> bool:
    """Tell from its first HEAD bytes whether an artifact is a tar or tar.gz archive."""
    if head.startswith(_GZIP):
        return True
    try:
        # The checksum decides: it holds for every tar dialect and for nothing else.
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def unpack(archive: Incoming, into: Path, *, compressed: bool, spend: Callable[[int], None]) -> None:
    """Unpack `archive` into the new folder `into`, each file durable when written; `spend` is told of
    every number of bytes before they are written, and may object.

    Raises ArchiveUnsafe naming the member, LayoutInvalid where the archive is damaged, OSError from the disk, and what
    reading `archive` or `spend` raises.
    """
    into.mkdir(mode=0o755)
    # GzipFile rather than "r|gz": it checks the CRC and reads archives of several gzip members.
    stream = gzip.GzipFile(fileobj=cast("IO[bytes]", archive)) if compressed else archive
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", stream), mode="r|", bufsize=CHUNK, tarinfo=_BoundedHeader, errorlevel=2
        ) as tar:
            target = _Target(into, archive, spend)
            for member in tar:
                target.add(tar, member)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RecursionError, ValueError) as error:
        raise LayoutInvalid(f"the archive is not a readable tar{'.gz' if compressed else ''}: {error}") from error


class _BoundedHeader(tarfile.TarInfo):
    """A header that is refused before tarfile acts on it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_BoundedHeader":
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _EXTENDED and info.size > _MAX_HEADER):
            raise ArchiveUnsafe(f"the archive's member {_quoted(info.name)} has a header of {info.size} bytes")
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise ArchiveUnsafe(f"the archive's member {_quoted(info.name)} is a sparse file; pack it without --sparse")
        return info


class _Target:
    """The folder that an archive becomes; remembers what stands where, so that no write goes through a link."""

    def __init__(self, root: Path, archive: Incoming, spend: Callable[[int], None]) -> None:
        self._root, self._archive, self._spend = root, archive, spend
        self._kinds: dict[Parts, Kind] = {(): "folder"}
        self._members = 0
        self._expanded = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write one member. Raises ArchiveUnsafe, OSError."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise ArchiveUnsafe(f"the archive has more than {MAX_MEMBERS} members")
        parts = _safe(member.name, member.name)
        if member.isdir():
            self._folders(parts, member.name)
            return
        self._folders(parts[:-1], member.name)
        if parts in self._kinds:
            raise ArchiveUnsafe(f"the archive holds {_quoted(member.name)} twice")
        path = self._root.joinpath(*parts)
        if member.isreg() and not member.issparse():
            self._file(tar, member, path)
            self._kinds[parts] = "file"
        elif member.issym():
            _check_link(member)
            path.symlink_to(member.linkname)
            self._kinds[parts] = "link"
        elif member.islnk():
            target = _safe(member.linkname, member.name)
            if self._kinds.get(target) != "file":
                raise ArchiveUnsafe(
                    f"the archive's member {_quoted(member.name)} is a hard link to {_quoted(member.linkname)}, "
                    "which is no file before it in the archive"
                )
            path.hardlink_to(self._root.joinpath(*target))
            self._kinds[parts] = "file"
        else:
            raise ArchiveUnsafe(
                f"the archive's member {_quoted(member.name)} is neither a file, a folder nor a link; "
                "devices, pipes and sparse files are not unpacked"
            )

    def _folders(self, parts: Parts, member: str) -> None:
        for depth in range(1, len(parts) + 1):
            kind = self._kinds.get(parts[:depth])
            if kind is None:
                self._root.joinpath(*parts[:depth]).mkdir(mode=0o755)
                self._kinds[parts[:depth]] = "folder"
            elif kind != "folder":
                raise ArchiveUnsafe(f"the archive's member {_quoted(member)} leads through a {kind} of the archive")

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        content = tar.extractfile(member)
        if content is None:
            raise ArchiveUnsafe(f"the archive's member {_quoted(member.name)} has no content")
        with content, new_file(path, executable=bool(member.mode & 0o100)) as file:
            while chunk := content.read(CHUNK):
                self._expanded += len(chunk)
                if self._expanded > MAX_RATIO * self._archive.received + MAX_SLACK:
                    raise ArchiveUnsafe(
                        f"the archive swells to more than {MAX_RATIO} times its size, at member {_quoted(member.name)}"
                    )
                self._spend(len(chunk))
                file.write(chunk)


def _safe(name: str, member: str) -> Parts:
    """Return the components of a member's name or of a hard link's target. Raises ArchiveUnsafe naming the member."""
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/") or ".." in parts:
        raise ArchiveUnsafe(f"the archive's member {_quoted(member)} leaves the archive ({_quoted(name)})")
    if len(name) > MAX_PATH or any(len(os.fsencode(part)) > 255 for part in parts):
        raise ArchiveUnsafe(f"the archive's member {_quoted(member)} has a path too long")
    return parts


def _check_link(member: tarfile.TarInfo) -> None:
    target = member.linkname
    if not target or target.startswith("/") or ".." in target.split("/") or len(target) > MAX_PATH:
        raise ArchiveUnsafe(
            f"the archive's member {_quoted(member.name)} is a symbolic link to {_quoted(target)}; "
            "a link's target must be relative and free of '..'"
        )


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= 200 else f"{name[:200]}…")
