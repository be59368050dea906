"""From a request to a verified artifact in the cache: the one path that every model takes.

In the cache already: done, with no lock, no write and no network. Else, under the digest's lock: receive, hash and
unpack in one stream, compare, commit.

What the bytes prove has the first word: an archive that can't be unpacked is still hashed to its end, because a damaged
download must be called a DigestMismatch and not a bad archive. And a mismatch of bytes that were joined from several
answers is tried once more in one piece, for the two may have been of two versions.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from littoral.modelstore.cache import Artifact, Cache
from littoral.modelstore.errors import ArchiveUnsafe, DigestMismatch, LayoutInvalid, SourceUnreachable
from littoral.modelstore.files import new_file
from littoral.modelstore.request import ModelRequest
from littoral.modelstore.sources import CHUNK, Source, SourceChanged, shown, source_for
from littoral.modelstore.transfer import Download, Patience
from littoral.modelstore.tree import Tree
from littoral.modelstore.unpack import HEAD, archive_kind, unpack

ROUNDS: Final = 3
"""How often an artifact is begun anew within one process when its source changes meanwhile."""

OpenSource = Callable[[str, Path], Source]


def deliver(
    model: ModelRequest, cache: Cache, *, patience: Patience | None = None, open_source: OpenSource = source_for
) -> tuple[Artifact, bool]:
    """Return the verified artifact of `model`, and whether it had to be fetched. Raises FetchError, OSError."""
    if artifact := cache.find(model.sha256):
        return artifact, False
    source = open_source(model.uri, cache.imports)
    cache.require(model.size or 0)
    with cache.locked(model.sha256):
        if artifact := cache.find(model.sha256):
            return artifact, False
        cache.sweep()
        for left in reversed(range(ROUNDS)):
            with contextlib.suppress(_BeginAnew):
                return _fetch(model, source, cache, patience, last=not left), True
    raise SourceUnreachable(f"{shown(model.uri)} changed each time while it was read")


class _BeginAnew(Exception):  # noqa: N818 - a signal within this module
    """The bytes so far are not of one version of the artifact."""


def _fetch(model: ModelRequest, source: Source, cache: Cache, patience: Patience | None, *, last: bool) -> Artifact:
    download = Download(source, what=shown(model.uri), limit=model.size, patience=patience)
    with contextlib.closing(download), cache.staging(model.sha256) as content:
        try:
            _receive(download, content, cache, model.sha256)
        except SourceChanged:
            raise _BeginAnew from None
        digest = download.finish()
        if digest != model.sha256:
            if download.resumed and not last:
                raise _BeginAnew
            raise DigestMismatch(_mismatch(model, digest, download.received))
        return cache.commit(model.sha256, download.received)


def _receive(download: Download, content: Path, cache: Cache, promised: str) -> None:
    """Write the artifact's content. Raises ArchiveUnsafe and LayoutInvalid only of bytes that are the promised ones."""
    head = download.peek(HEAD)
    cache.require(download.total or 0)
    spend = cache.spender()
    if kind := archive_kind(head):
        try:
            unpack(download, kind, Tree(content, spend))
        except (ArchiveUnsafe, LayoutInvalid):
            if download.finish() == promised:
                raise
        return
    with new_file(content) as file:
        while chunk := download.read(CHUNK):
            spend(len(chunk))
            file.write(chunk)


def _mismatch(model: ModelRequest, digest: str, size: int) -> str:
    return (
        f"{shown(model.uri)} is not what was promised: its {size} bytes have sha256 {digest}, not {model.sha256}; "
        "correct the source or its sha256"
    )
