"""From a request to a verified artifact in the cache: the one path that every model takes.

In the cache and verified under this boot: done, with no lock, no write and no network. There from before: compared with
its listing first. Else, under the digest's lock: receive, hash and unpack in one stream, compare, commit.

A mismatch is tried once more where it may be the transfer's: bytes were joined of answers that nothing proved to be of
one version, or the answer had no length, so that one that was cut looks whole. One that stays is remembered
(modelstore.quarantine).
"""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from littoral.modelstore.cache import Artifact, Cache
from littoral.modelstore.collection import Allowance, Collector
from littoral.modelstore.errors import DigestMismatch, FetchError, SourceUnreachable, TooLarge
from littoral.modelstore.quarantine import Refusal
from littoral.modelstore.request import ModelRequest
from littoral.modelstore.sources import Collection, Origin, SourceChanged, shown, source_for, version_of
from littoral.modelstore.transfer import Patience

if TYPE_CHECKING:
    from littoral.modelstore.receive import Received

ROUNDS: Final = 3
"""How often an artifact is begun anew within one process when its source changes meanwhile."""

OpenSource = Callable[[str, Path], Origin]
_log: Final = logging.getLogger(__name__)


def deliver(
    model: ModelRequest,
    cache: Cache,
    *,
    collector: Collector | None = None,
    patience: Patience | None = None,
    open_source: OpenSource = source_for,
) -> tuple[Artifact, bool]:
    """Return the verified artifact of `model`, and whether it had to be fetched. Raises FetchError, OSError."""
    digest, kind = model.sha256, model.kind
    if artifact := cache.find(digest, kind) or cache.verify(digest, kind):
        return _fitting(model, artifact), False
    origin = open_source(model.uri, cache.imports)
    with cache.locks.digest(digest):
        if artifact := cache.find(digest, kind) or cache.prove(digest, kind):
            return _fitting(model, artifact), False
        cache.sweep()
        _repeat_refusal(model, origin, cache)
        # What is left of it would count against its own replacement.
        cache.discard(digest)
        _log.info("%s: fetching %s%s", model.name, shown(model.uri), _expected(model))
        fetching = _Fetching(model, origin, cache, collector or Collector(cache), patience)
        for left in reversed(range(ROUNDS)):
            with contextlib.suppress(_BeginAnew):
                return fetching.fetch(last=not left), True
    raise SourceUnreachable(f"{shown(model.uri)} changed each time while it was read")


class _BeginAnew(Exception):  # noqa: N818 - a signal within this module
    """The bytes so far are not of one version of the artifact."""


class _Fetching:
    def __init__(
        self, model: ModelRequest, origin: Origin, cache: Cache, collector: Collector, patience: Patience | None
    ) -> None:
        self._model, self._origin, self._cache = model, origin, cache
        self._collector, self._patience = collector, patience
        self._again = True

    def fetch(self, *, last: bool) -> Artifact:
        """Fetch the artifact once. Raises _BeginAnew, FetchError, OSError."""
        # What receives brings compressors and hashes along that a warm start does without.
        from littoral.modelstore.receive import receive  # noqa: PLC0415

        model = self._model
        with self._cache.staging(model.sha256) as content:
            part = self._cache.part(model.sha256) or 0
            room = Allowance(self._collector, model.sha256, part)
            # Before the source is asked; what it announces is asked for later.
            room.require(max(0, (model.size or 0) - part))
            try:
                received = receive(
                    self._origin,
                    content,
                    promised=model.sha256,
                    what=shown(model.uri),
                    limit=model.size,
                    room=room,
                    part=part,
                    patience=self._patience,
                    last=last,
                )
            except SourceChanged:
                raise _BeginAnew from None
            except DigestMismatch as error:
                self._refuse(str(error))
                raise
            if received.digest != model.sha256:
                if self._again and not last and (part or _doubtful(received)):
                    self._again = False
                    raise _BeginAnew
                message = _mismatch(model, received.digest, received.size)
                self._refuse(message, received.digest, received.size, received.validator)
                raise DigestMismatch(message)
            artifact = self._cache.commit(model.sha256, received.size, received.listing, model.kind)
            with contextlib.suppress(OSError):
                self._cache.quarantine.lift(model.sha256)
            return artifact

    def _refuse(self, message: str, got: str = "", size: int | None = None, validator: str | None = None) -> None:
        try:
            refusal = self._cache.quarantine.add(
                self._model.uri, self._model.sha256, message=message, got=got, size=size, validator=validator
            )
        except OSError as error:
            # That the bytes are wrong is what must be known, not that it could not be written down.
            _log.warning("that it was refused cannot be remembered: %s", error)
            return
        _log.warning("it is not downloaded again for %.0f s, unless the source changes", refusal.pause())


def _doubtful(received: "Received") -> bool:
    """Tell whether a wrong digest may be the transfer's fault and not the source's."""
    proved = received.validator is not None and not received.validator.startswith("W/")
    return (received.resumed and not proved) or not received.announced


def _expected(model: ModelRequest) -> str:
    return "" if model.size is None else f", at most {model.size / 2**20:.1f} MiB"


def _fitting(model: ModelRequest, artifact: Artifact) -> Artifact:
    """Hold what the cache has to the same bound as what comes from the source."""
    if model.size is not None and artifact.size > model.size:
        raise TooLarge(
            f"{shown(model.uri)} has more than the {model.size} bytes that its size declares (at least {artifact.size})"
        )
    return artifact


def _repeat_refusal(model: ModelRequest, origin: Origin, cache: Cache) -> None:
    """Raise the DigestMismatch that the source was refused with, unless it holds something else now."""
    refusal = cache.quarantine.of(model.uri, model.sha256)
    if refusal is not None and not _changed(refusal, origin):
        _log.info("%s was refused %d times; it is not downloaded again yet", shown(model.uri), refusal.attempts)
        raise DigestMismatch(refusal.message)


def _changed(refusal: Refusal, origin: Origin) -> bool:
    """Tell, by one request, whether a source says that it holds something else than what was refused."""
    try:
        if isinstance(origin, Collection):
            version = version_of(origin.members())
            return None not in {version, refusal.validator} and version != refusal.validator
        stream = origin.open(0)
    except (FetchError, SourceChanged):
        # Nothing new is known of it.
        return False
    stream.chunks.close()
    return (None not in {stream.total, refusal.size} and stream.total != refusal.size) or (
        stream.validator != refusal.validator
    )


def _mismatch(model: ModelRequest, digest: str, size: int) -> str:
    return (
        f"{shown(model.uri)} is not what was promised: its {size} bytes have sha256 {digest}, not {model.sha256}; "
        "correct the source or its sha256"
    )
