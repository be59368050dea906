"""What a manifest promises of an artifact: its digest and size, found by reading all of it and keeping nothing.

The digest is that of a file's bytes, of a folder's listing, or of an OCI manifest, each of whose blobs must then be
what the manifest says.
"""

from contextlib import closing
from dataclasses import dataclass

from littoral.modelstore.errors import DigestMismatch, SourceUnreachable
from littoral.modelstore.listing import Entry, Listing
from littoral.modelstore.receive import checked
from littoral.modelstore.sources import Collection, Member, Origin, SourceChanged
from littoral.modelstore.transfer import Download, Patience, Tally, patiently


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 in hex digits, and the bytes that were read for it."""

    sha256: str
    size: int


def digest_of(origin: Origin, what: str, *, promised: str = "", patience: Patience | None = None) -> Digest:
    """Read what `origin` hands out. Raises FetchError.

    `promised` is the digest of the manifest where the members are proved by it.
    """
    patience = patience or Patience()
    try:
        if isinstance(origin, Collection):
            return _folder(origin, what, promised, patience)
        with closing(Download(origin, what=what, patience=patience)) as download:
            return Digest(download.finish(), download.received)
    except SourceChanged:
        raise SourceUnreachable(f"{what} changed while it was read; try again") from None


def _folder(origin: Collection, what: str, promised: str, patience: Patience) -> Digest:
    members = checked(patiently(origin.members, patience), what)
    tally = Tally(what, total=sum(member.size or 0 for member in members))
    listing = Listing(tuple(_entry(member, what, tally, patience) for member in members))
    return Digest(promised if origin.verified else listing.digest(), tally.received)


def _entry(member: Member, what: str, tally: Tally, patience: Patience) -> Entry:
    with closing(Download(member.source, what=what, patience=patience, tally=tally)) as download:
        digest = download.finish()
    if member.sha256 and digest != member.sha256:
        raise DigestMismatch(f"{what}: a blob that the manifest says has sha256 {member.sha256} has {digest}")
    return Entry(member.path, download.received, digest)
