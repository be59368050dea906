"""Where artifacts come from: one file for each kind of source, one line for each URI scheme.

A source hands out the bytes of one artifact from any offset; it never retries, never hashes and never writes: that is
`transfer`'s and `cache`'s, the same for all. Its failures are FetchErrors: SourceUnreachable (with `retry` where the
same request may work in a moment), SourceForbidden, NodeClockWrong or UnsupportedSource.
"""

import json
import urllib.parse
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from littoral.modelstore.access import NO_ACCESS, Access
from littoral.modelstore.errors import UnsupportedSource

CHUNK: Final = 256 << 10
"""Bytes read, hashed and written at a time, and the most that a cut link loses: as fast as more, and a link that stays
up for some seconds at a time still gets on."""

_OWN_PORTS: Final = {"http": ":80", "https": ":443"}
_PACKED: Final = (".zip", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes from the offset asked for to the end, and the size of the whole artifact where the source knows it.

    `chunks` holds the connection: whoever takes it closes it. `validator` is what the source says of the version that
    these bytes are of (an ETag, a date of change): with another one the bytes are others; None: it says nothing.
    """

    chunks: Generator[bytes, None, None]
    total: int | None
    validator: str | None = None


class SourceChanged(Exception):  # noqa: N818 - a signal between a source and its reader, never a reason
    """What the source hands out now is not what it began to hand out: the bytes so far are worthless."""


class Source(Protocol):
    """One stream of bytes at its origin: an artifact, or a member of one."""

    def open(self, offset: int) -> Stream:
        """Return the bytes from `offset` on. Raises FetchError, SourceChanged."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of the files that make up an artifact.

    `path` is relative, with "/" between its parts; `size` (bytes) and `sha256` (hex digits) are given where the origin
    promises them; `validator` is what it says of the version, as in Stream. With `unpack` it is an archive whose
    content belongs into the folder `path` ("" is the root).
    """

    path: str
    source: Source
    size: int | None = None
    sha256: str | None = None
    unpack: bool = False
    validator: str | None = None


def version_of(members: tuple[Member, ...]) -> str | None:
    """Return what tells this version of a collection from others; None where the origin says nothing of it."""
    import hashlib  # noqa: PLC0415 - a warm start hashes nothing

    seen = [(member.path, member.size, member.sha256 or member.validator) for member in members]
    if any(version is None for _, _, version in seen):
        return None
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


@runtime_checkable
class Collection(Protocol):
    """An artifact of several files: a folder, or an OCI manifest.

    `verified` says whether the members' digests are themselves proved by the promised one, as an OCI manifest's are;
    else the digest of the listing of all of them is what is compared.
    """

    verified: bool

    def members(self) -> tuple[Member, ...]:
        """Return them, sorted by path. Raises FetchError: DigestMismatch where the manifest is not the promised one."""


Origin = Source | Collection


def _http(uri: str, _: Path, access: Access) -> Origin:
    from littoral.modelstore.sources.http import HttpSource  # noqa: PLC0415 - a warm start loads no HTTP stack

    return HttpSource(uri, access)


def _object(uri: str, _: Path, access: Access) -> Origin:
    from littoral.modelstore.sources.object import object_source  # noqa: PLC0415 - each source only where it is used

    return object_source(uri, access)


def _file(uri: str, imports: Path, _: Access) -> Origin:
    from littoral.modelstore.sources import file  # noqa: PLC0415 - each source only where it is used

    return file.ImportedFolder(uri, imports) if uri.endswith("/") else file.ImportedFile(uri, imports)


def _oci(uri: str, _: Path, access: Access) -> Origin:
    from littoral.modelstore.sources.oci import OciArtifact  # noqa: PLC0415 - each source only where it is used

    return OciArtifact(uri, access)


SCHEMES: Final[Mapping[str, Callable[[str, Path, Access], Origin]]] = {
    "http": _http,
    "https": _http,
    "s3": _object,
    "gs": _object,
    "az": _object,
    "oci": _oci,
    "file": _file,
}
"""What a URI may begin with."""


def source_for(uri: str, imports: Path, access: Access = NO_ACCESS) -> Origin:
    """Return the origin that `uri` names; `imports` is where file:///import/ lies. Raises UnsupportedSource."""
    try:
        parts = urllib.parse.urlsplit(uri)
    except ValueError as error:
        raise UnsupportedSource(f"{uri!r} is not a URI: {error}") from None
    if parts.scheme not in SCHEMES:
        raise UnsupportedSource(
            f"{shown(uri)} cannot be fetched: the scheme must be one of {', '.join(sorted(SCHEMES))}"
        )
    for suffix in _PACKED:
        if parts.path.lower().endswith(suffix):
            raise UnsupportedSource(
                f"{shown(uri)}: {suffix} files are not supported; pack the model as .tar, .tar.gz or .tar.zst"
            )
    return SCHEMES[parts.scheme](uri, imports, access)


def same_host(one: str, other: str) -> bool:
    """Tell whether two URIs lead to one host, port and scheme (of s3, gs and az: one bucket).

    What differs in anything but the case of letters and the scheme's own port is taken to be another's.
    """
    try:
        first, second = _host(one), _host(other)
    except ValueError:
        return False
    return first == second


def _host(uri: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(uri)
    return parts.scheme, parts.netloc.lower().removesuffix(_OWN_PORTS.get(parts.scheme, ""))


def shown(uri: str) -> str:
    """Return `uri` as it may stand in a log or a condition: without user, password, query and fragment."""
    try:
        parts = urllib.parse.urlsplit(uri)
    except ValueError:
        return f"{uri.partition(':')[0][:16]}:…"  # whatever else is in it may be a password
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
