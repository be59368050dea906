"""From an origin to bytes on the disk: the one place where an artifact is written.

Download, hash and unpack are one stream, and every byte is written once. What comes out is a file, or a folder:

- one stream of no archive: a file. Of a part that an earlier process left, the bytes are hashed again and the rest is
  read from there on;
- one stream of an archive: the folder that it holds. Its digest is that of the archive's bytes; each file's is taken on
  the way into the listing;
- a collection: a folder with its members. Where the promised digest proves theirs (an OCI manifest), each must match
  its own, and a manifest of one file alone is that file or archive; else the digest is that of the listing.

The caller compares: a Received says what came, not that it is right. Only where a member has a promise of its own is
DigestMismatch raised here. What the bytes prove has the first word: an archive that can't be unpacked is still read to
its end, because a damaged download must be called a mismatch and not a bad archive.
"""

import contextlib
import hashlib
import logging
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, Protocol

from littoral.modelstore.errors import ArchiveUnsafe, DigestMismatch, LayoutInvalid, UnsupportedSource
from littoral.modelstore.files import grown_file, new_file
from littoral.modelstore.listing import Entry, Listing
from littoral.modelstore.sources import CHUNK, Collection, Member, Origin, Source, SourceChanged, version_of
from littoral.modelstore.transfer import Download, Patience, Tally, patiently
from littoral.modelstore.tree import MAX_MEMBERS, Tree, quoted, safe_parts
from littoral.modelstore.unpack import HEAD, archive_kind, unpack

_log: Final = logging.getLogger(__name__)


class Room(Protocol):
    """Who is asked before bytes are written; both methods raise DiskFull or CacheFull."""

    def require(self, size: int) -> None:
        """Object unless there is room for `size` more bytes, none of them written yet."""

    def spend(self, size: int) -> None:
        """Note that `size` bytes are about to be written."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came: the digest and the size of the artifact as it was fetched, and the listing of what it became.

    `resumed` says that bytes of several answers were joined, so that a wrong digest may be theirs and not the
    artifact's; `validator` is what the source named this version of the artifact by, where it did; `announced` says
    that the source told the size beforehand, without which an answer that was cut may look whole.
    """

    digest: str
    size: int
    listing: Listing
    resumed: bool = False
    validator: str | None = None
    announced: bool = True


def receive(
    origin: Origin,
    content: Path,
    *,
    promised: str,
    what: str,
    limit: int | None,
    room: Room,
    part: int = 0,
    patience: Patience | None = None,
    last: bool = False,
) -> Received:
    """Write what `origin` holds to `content`, where nothing is but the `part` of a file, in bytes, that was left there.

    `what` names it in messages, `limit` is the most bytes that all of it may have. Raises FetchError; DigestMismatch
    only for a member that is not what the promised manifest says; SourceChanged where the bytes so far, a part's
    included, are not of what the source hands out now: remove `content` and begin anew. A member that was joined from
    several answers and is wrong is taken for that too, but on the `last` attempt it is a mismatch. OSError comes from
    the disk.
    """
    receiving = _Receiving(content, promised, Tally(what, limit=limit), room, patience or Patience(), last)
    return receiving.collection(origin, part) if isinstance(origin, Collection) else receiving.one(origin, part)


@dataclass(frozen=True, slots=True)
class _Receiving:
    content: Path
    promised: str
    tally: Tally
    room: Room
    patience: Patience
    last: bool

    def one(self, source: Source, part: int) -> Received:
        """Take a file, from its beginning or after its first `part` bytes, or an archive."""
        if part >= HEAD:
            return self._rest(source, part)
        # Too little to tell that it is no archive, or all that a power cut left of it: nothing.
        self.content.unlink(missing_ok=True)
        return self._stream(source)

    def _stream(self, source: Source) -> Received:
        with contextlib.closing(self._download(source, self.tally.what)) as download:
            kind = archive_kind(download.peek(HEAD))
            download.kept = kind is None
            self._announced(download)
            if kind is None:
                with new_file(self.content) as file:
                    return self._file(download, file)
            tree = Tree(self.content, self.room.spend)
            try:
                unpack(download, kind, tree)
            except (ArchiveUnsafe, LayoutInvalid):
                if download.finish() == self.promised:
                    raise
            return _received(download, tree.listing())

    def _rest(self, source: Source, part: int) -> Received:
        _log.info("%s: %d bytes are here from an earlier attempt; they are hashed again", self.tally.what, part)
        with grown_file(self.content, part) as file:
            digest = hashlib.sha256()
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            if digest.hexdigest() == self.promised:
                # It died between the last byte and the commit: nothing is left to ask the source for.
                self.tally.add(file.tell())
                return Received(self.promised, file.tell(), Listing((Entry("", file.tell(), self.promised),)))
            download = self._download(source, self.tally.what, start=file.tell(), digest=digest)
            download.kept = True
            with contextlib.closing(download):
                download.peek(1)
                self._announced(download)
                return self._file(download, file)

    def collection(self, origin: Collection, part: int) -> Received:
        """Take every member of a collection."""
        members = checked(patiently(origin.members, self.patience), self.tally.what)
        sizes = [member.size for member in members if member.size is not None]
        if len(sizes) == len(members):
            self.tally.total = sum(sizes)
        self.tally.expect(sum(sizes))
        if origin.verified and len(members) == 1 and not members[0].unpack and "/" not in members[0].path:
            return self._only(members[0], part)
        self.content.unlink(missing_ok=True)
        self.room.require(sum(sizes))
        tree, resumed = Tree(self.content, self.room.spend), False
        for member in members:
            what = f"{self.tally.what}: {quoted(member.path)}"
            with contextlib.closing(self._download(member.source, what)) as download:
                _member(member, download, tree, last=self.last)
                resumed |= download.resumed
        listing = tree.listing()
        digest = self.promised if origin.verified else listing.digest()
        return Received(digest, self.tally.received, listing, resumed, version_of(members))

    def _only(self, member: Member, part: int) -> Received:
        """Take a manifest's only file as what it is from any other source."""
        came = replace(self, promised=member.sha256 or "").one(member.source, part)
        joined = came.resumed and not self.last
        _prove(member, f"{self.tally.what}: {quoted(member.path)}", came.digest, came.size, joined=joined)
        return replace(came, digest=self.promised, validator=None)

    def _download(
        self, source: Source, what: str, *, start: int = 0, digest: "hashlib._Hash | None" = None
    ) -> Download:
        return Download(source, what=what, patience=self.patience, tally=self.tally, start=start, digest=digest)

    def _announced(self, download: Download) -> None:
        """Ask for room for what is to come, once the first bytes said how much it is."""
        self.tally.total = download.total
        self.room.require(max(0, (download.total or 0) - download.start))

    def _file(self, download: Download, file: IO[bytes]) -> Received:
        for chunk in download.chunks():
            self.room.spend(len(chunk))
            file.write(chunk)
        return _received(download, Listing((Entry("", download.received, download.finish()),)))


def _received(download: Download, listing: Listing) -> Received:
    digest = download.finish()
    announced = download.total is not None
    return Received(digest, download.received, listing, download.resumed, download.validator, announced)


def _member(member: Member, download: Download, tree: Tree, *, last: bool) -> None:
    """Take one member, and hold it against its own digest where it has one."""
    try:
        _write(member, download, tree)
    except (ArchiveUnsafe, LayoutInvalid):
        if not member.sha256 or download.finish() == member.sha256:
            raise
    digest = download.finish()
    _prove(member, download.what, digest, download.received, joined=download.resumed and not last)


def _prove(member: Member, what: str, digest: str, size: int, *, joined: bool) -> None:
    """Raise DigestMismatch unless a member is what it was promised to be; SourceChanged where it was joined."""
    if not member.sha256 or digest == member.sha256:
        return
    if joined:
        raise SourceChanged
    raise DigestMismatch(
        f"{what} is not what the manifest promises: its {size} bytes have sha256 {digest}, not {member.sha256}; "
        "push the artifact again"
    )


def _write(member: Member, download: Download, tree: Tree) -> None:
    tree.count()
    parts = safe_parts(member.path, member.path)
    if not member.unpack:
        tree.file(parts, download.chunks(), download.finish)
    elif kind := archive_kind(download.peek(HEAD)):
        unpack(download, kind, tree, below=parts)
    else:
        raise LayoutInvalid(f"{download.what} is said to be a tar archive and is none")


def checked(members: tuple[Member, ...], what: str) -> tuple[Member, ...]:
    """Return the members of a collection, if a folder can be made of them. Raises UnsupportedSource naming one."""
    if not members:
        raise UnsupportedSource(f"{what} holds no file")
    if len(members) > MAX_MEMBERS:
        raise UnsupportedSource(f"{what} holds more than {MAX_MEMBERS} files; pack them as a tar archive")
    for member in members:
        parts = member.path.split("/")
        root = member.unpack and member.path == ""
        # What sha256sum would write otherwise than it is has no digest that everybody agrees on.
        odd = "\\" in member.path or any(unicodedata.category(letter) == "Cc" for letter in member.path)
        if odd or (not root and any(part in {"", ".", ".."} for part in parts)):
            raise UnsupportedSource(
                f"{what}: {quoted(member.path)} cannot be the name of a file; a name is free of '..', of empty parts, "
                "of backslashes and of control characters"
            )
    return members
