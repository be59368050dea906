"""Archives: tar, tar.gz and tar.zst, unpacked as they arrive and trusted in nothing.

What an archive may hold: folders, files, hard links to files before them, and symbolic links whose target is relative
and free of "..": such a link can't leave the archive whatever it leads through. Members, header sizes, path lengths,
the expanded size and a decompressor's window are bounded, so a small download can fill neither memory nor disk. Of a
member that was unpacked nothing is kept but its path and digest.

Whether a file is an archive is decided by its bytes, never by its URI: the cache's key is the digest, and equal bytes
must unpack equally.
"""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Generator
from typing import IO, Final, Literal, Protocol, cast

from littoral.modelstore.errors import ArchiveUnsafe, LayoutInvalid
from littoral.modelstore.sources import CHUNK
from littoral.modelstore.tree import MAX_PATH, Parts, Tree, quoted, safe_parts

HEAD: Final = tarfile.BLOCKSIZE
"""Bytes that `archive_kind` needs to see."""
MAX_RATIO: Final = 20
MAX_SLACK: Final = 64 << 20
"""Expanded bytes, headers and padding included, may reach MAX_RATIO times the bytes received plus MAX_SLACK. Weights
hardly compress and source text shrinks five- to tenfold; what gzip shrinks a thousandfold is no model."""
MAX_WINDOW_LOG: Final = 26
"""zstd keeps its window in memory; 64 MiB is what its levels up to 21 ask for, while --long alone asks for 128 MiB."""
_MAX_HEADER: Final = 64 << 10
"""Bytes of all extended headers of one member, which tarfile holds in memory together, and of all global ones, which it
keeps to the end."""
_MAX_HEADERS: Final = 16 << 20
"""Bytes of all extended headers: 1.6 KiB for each member that there may be, room for the longest path and its times."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_EXTENDED: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_DAMAGE: Final = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RecursionError, ValueError)

Kind = Literal["tar", "tar.gz", "tar.zst"]


class Incoming(Protocol):
    """The bytes of an archive as they arrive, and how many did."""

    received: int

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; b"" at the end."""


def archive_kind(head: bytes) -> Kind | None:
    """Tell from its first HEAD bytes what archive an artifact is; None: a file."""
    if head.startswith(_GZIP):
        return "tar.gz"
    if head.startswith(_ZSTD):
        return "tar.zst"
    try:
        # The checksum decides: it holds for every tar dialect and for nothing else.
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return None
    return "tar"


def unpack(archive: Incoming, kind: Kind, tree: Tree, *, below: Parts = ()) -> None:
    """Unpack `archive` into the folder `below` of `tree`, each file durable when written.

    Raises ArchiveUnsafe naming the member, LayoutInvalid where the archive is damaged, and what reading `archive` and
    writing into `tree` raise.
    """
    damage: tuple[type[Exception], ...] = _DAMAGE
    stream: object = archive
    if kind == "tar.gz":
        # GzipFile rather than "r|gz": it checks the CRC and reads archives of several gzip members.
        stream = gzip.GzipFile(fileobj=cast("IO[bytes]", archive))
    elif kind == "tar.zst":
        from littoral.modelstore.zst import zstd  # noqa: PLC0415 - loaded where an archive needs it

        damage = (*damage, zstd.ZstdError)
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        stream = zstd.ZstdFile(cast("IO[bytes]", archive), options=options)
    expanded = _Expanded(cast("IO[bytes]", stream), archive)

    class Header(_BoundedHeader):
        """Counts for this archive alone."""

    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", expanded), mode="r|", bufsize=CHUNK, tarinfo=Header, errorlevel=2
        ) as tar:
            while member := tar.next():
                expanded.member = member.name
                _add(tar, member, tree, below)
                # tarfile would keep every header to the end, and looks into none of them again here.
                tar.members.clear()  # type: ignore[attr-defined]  # typeshed leaves it out
    except damage as error:
        if "too much memory" in str(error):  # zstd tells it by no other means
            raise ArchiveUnsafe(
                f"the archive needs a window of more than {1 << MAX_WINDOW_LOG - 20} MiB in memory to be decompressed; "
                "compress it without --long and with a level of at most 21"
            ) from error
        raise LayoutInvalid(f"the archive is not a readable {kind}: {error}") from error


class _Expanded:
    """The expanded bytes of an archive, counted; `member` is the last one whose header was read."""

    def __init__(self, stream: IO[bytes], archive: Incoming) -> None:
        self.member = ""
        self._stream, self._archive = stream, archive
        self._size = 0

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; b"" at the end. Raises ArchiveUnsafe where they are too many for what came."""
        piece = self._stream.read(size)
        self._size += len(piece)
        if self._size > MAX_RATIO * self._archive.received + MAX_SLACK:
            raise ArchiveUnsafe(
                f"the archive swells to more than {MAX_RATIO} times its size, at member {quoted(self.member)}"
            )
        return piece


class _BoundedHeader(tarfile.TarInfo):
    """A header that is refused before tarfile acts on it. The class counts: each archive has one of its own."""

    here = shared = extended = 0
    """Bytes of extended headers since the last member, of global ones, and of all."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_BoundedHeader":
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0:
            raise ArchiveUnsafe(f"the archive's member {quoted(info.name)} has a header of {info.size} bytes")
        if info.type in _EXTENDED:
            cls._count(info)
        else:
            cls.here = 0
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise ArchiveUnsafe(f"the archive's member {quoted(info.name)} is a sparse file; pack it without --sparse")
        return info

    @classmethod
    def _count(cls, info: tarfile.TarInfo) -> None:
        cls.here += info.size
        cls.shared += info.size if info.type == tarfile.XGLTYPE else 0
        cls.extended += info.size
        if (most := max(cls.here, cls.shared)) > _MAX_HEADER:
            raise ArchiveUnsafe(f"the archive's member {quoted(info.name)} has a header of {most} bytes")
        if cls.extended > _MAX_HEADERS:
            raise ArchiveUnsafe(
                f"the archive's headers have more than {_MAX_HEADERS >> 20} MiB, at {quoted(info.name)}; pack it "
                "without extended attributes"
            )


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, tree: Tree, below: Parts) -> None:
    """Write one member. Raises ArchiveUnsafe, OSError."""
    tree.count()
    parts = (*below, *safe_parts(member.name, member.name))
    if member.isdir():
        tree.folder(parts)
    elif member.isreg() and not member.issparse():
        digest = hashlib.sha256()
        tree.file(parts, _chunks(tar, member, digest), digest.hexdigest, executable=bool(member.mode & 0o100))
    elif member.issym():
        _check_link(member)
        tree.link(parts, member.linkname)
    elif member.islnk():
        tree.hard_link(parts, (*below, *safe_parts(member.linkname, member.name)))
    else:
        raise ArchiveUnsafe(
            f"the archive's member {quoted(member.name)} is neither a file, a folder nor a link; "
            "devices, pipes and sparse files are not unpacked"
        )


def _chunks(tar: tarfile.TarFile, member: tarfile.TarInfo, digest: "hashlib._Hash") -> Generator[bytes, None, None]:
    content = tar.extractfile(member)
    if content is None:
        raise ArchiveUnsafe(f"the archive's member {quoted(member.name)} has no content")
    with content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            yield chunk


def _check_link(member: tarfile.TarInfo) -> None:
    target = member.linkname
    if not target or target.startswith("/") or ".." in target.split("/") or len(target) > MAX_PATH:
        raise ArchiveUnsafe(
            f"the archive's member {quoted(member.name)} is a symbolic link to {quoted(target)}; "
            "a link's target must be relative and free of '..'"
        )
