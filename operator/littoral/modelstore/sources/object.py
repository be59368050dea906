"""s3://BUCKET/KEY, gs://BUCKET/KEY and az://CONTAINER/KEY: an object, or with "/" at its end all objects below it.

An object is resumed by range with If-Match, so that halves of two versions are never joined. A folder is listed once
for each reading; S3, GCS and Azure know no folders, so the objects of no bytes by which their consoles stand in for
empty ones are left out.
"""

import urllib.parse
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PreconditionError

from littoral.modelstore.access import NO_ACCESS, Access
from littoral.modelstore.errors import SourceUnreachable, UnsupportedSource
from littoral.modelstore.sources import Member, Origin, SourceChanged, Stream, shown
from littoral.modelstore.sources.paced import paced
from littoral.modelstore.sources.stores import Bucket
from littoral.modelstore.tree import MAX_MEMBERS

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore


def object_source(uri: str, access: Access = NO_ACCESS) -> Origin:
    """Return the object, or the folder of objects, that `uri` names. Raises UnsupportedSource."""
    parts = urllib.parse.urlsplit(uri)
    key = urllib.parse.unquote(parts.path).removeprefix("/")
    if parts.query or parts.fragment or "@" in parts.netloc or not parts.netloc:
        raise UnsupportedSource(
            f"{shown(uri)}: an object is {parts.scheme}://BUCKET/KEY, with no user, query or fragment; a '?' or '#' of "
            "the key itself is written %3F or %23"
        )
    folder = not key or key.endswith("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in key.removesuffix("/").split("/")) and key:
        raise UnsupportedSource(f"{shown(uri)}: the key must be plain, without '..', '.' or empty parts")
    bucket = Bucket(uri, access)
    return ObjectFolder(bucket, key.removesuffix("/")) if folder else ObjectSource(bucket, key)


class ObjectSource:
    """One object; keeps what the first answer said of its version."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key = bucket, key
        self._tag: str | None = None
        self._version: str | None = None

    def open(self, offset: int) -> Stream:
        """Return the object's bytes from `offset` on.

        Raises SourceUnreachable, SourceForbidden, NodeClockWrong, SourceChanged.
        """
        store = self._bucket.store()
        options: GetOptions = {"range": {"offset": offset}} if offset else {}
        if offset and self._tag:
            options["if_match"] = self._tag
        try:
            return self._stream(obstore.get(store, self._key, options=options), offset, skip=0)
        except PreconditionError:
            raise SourceChanged from None
        except (BaseError, OSError) as error:
            if offset and "status code: 416" in str(error):
                return self._ended(store, offset)
            if "NotPartial" not in str(error):
                raise self._bucket.failure(error) from None
        # A server that knows no ranges: what is here already is read past, not written again.
        try:
            return self._stream(obstore.get(store, self._key), offset, skip=offset)
        except (BaseError, OSError) as error:
            raise self._bucket.failure(error) from None

    def _stream(self, result: "GetResult", offset: int, skip: int) -> Stream:
        meta = result.meta
        tag, changed = meta["e_tag"], meta["last_modified"]
        version = tag or changed.isoformat()
        if offset and self._version not in {None, version}:
            raise SourceChanged
        # If-Match compares strongly (RFC 9110, 13.1.1): a weak tag would match nothing.
        self._version, self._tag = version, tag if tag and not tag.startswith("W/") else None
        return Stream(self._chunks(result, skip), meta["size"], version)

    def _chunks(self, result: "GetResult", skip: int) -> Generator[bytes, None, None]:
        with closing(paced(self._pieces(result), self._bucket.uri)) as chunks:
            for chunk in chunks:
                if skip < len(chunk):
                    yield chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))

    def _pieces(self, result: "GetResult") -> Generator[bytes, None, None]:
        """Yield what is at hand, as it comes: obstore waits for at least so many bytes."""
        try:
            for piece in result.stream(1):
                yield bytes(piece)
        except (BaseError, OSError) as error:
            raise self._bucket.failure(error) from None

    def _ended(self, store: "ObjectStore", offset: int) -> Stream:
        """Return the empty rest of an object of exactly `offset` bytes. Raises SourceChanged for any other."""
        try:
            size = obstore.head(store, self._key)["size"]
        except (BaseError, OSError) as error:
            raise self._bucket.failure(error) from None
        if size != offset:
            raise SourceChanged
        return Stream(_nothing(), size, self._version)


class ObjectFolder:
    """All objects below a prefix; their digest is that of the listing of them."""

    verified = False

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix

    def members(self) -> tuple[Member, ...]:
        """Return the objects, sorted by path.

        Raises SourceUnreachable, SourceForbidden, NodeClockWrong, UnsupportedSource.
        """
        found = [
            Member(path, ObjectSource(self._bucket, self._key(path)), size, validator=version)
            for path, (size, version) in sorted(self._listed().items())
            if size or not self._is_marker(path)
        ]
        if not found:
            raise SourceUnreachable(f"{shown(self._bucket.uri)} holds no object")
        return tuple(found)

    def _listed(self) -> dict[str, tuple[int, str]]:
        """Return size and version of each object by its path below the prefix."""
        listed: dict[str, tuple[int, str]] = {}
        what = shown(self._bucket.uri)
        try:
            for page in obstore.list(self._bucket.store(), self._prefix or None, chunk_size=1000):
                for meta in page:
                    if path := meta["path"].removeprefix(self._prefix).removeprefix("/"):
                        listed[path] = meta["size"], meta["e_tag"] or meta["last_modified"].isoformat()
                # Here and not after the last page: a bucket may hold millions.
                if len(listed) > MAX_MEMBERS:
                    raise UnsupportedSource(f"{what} holds more than {MAX_MEMBERS} objects; pack them as a tar archive")
        except (BaseError, OSError) as error:
            if "InvalidPath" in type(error).__name__ or "InvalidPath" in str(error):
                raise UnsupportedSource(
                    f"{what} holds an object whose key is no path: empty parts, '.' or '..' between its slashes"
                ) from None
            raise self._bucket.failure(error) from None
        return listed

    def _is_marker(self, path: str) -> bool:
        """Tell whether an object of no bytes is listed without the "/" at its key's end: then no object is there."""
        try:
            obstore.head(self._bucket.store(), self._key(path))
        except FileNotFoundError:
            return True
        except (BaseError, OSError) as error:
            raise self._bucket.failure(error) from None
        return False

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path


def _nothing() -> Generator[bytes, None, None]:
    yield from ()
