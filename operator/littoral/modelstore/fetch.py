"""The fetch container of a serving pod, and of a prefetch Job: ``python3 -m littoral.modelstore.fetch``.

Reads the request from LITTORAL_FETCH and pins what it asks for to the slice that LITTORAL_SLICE names; then, for each
model: deliver it into the cache, verify its signature where it is to have one, lay it out. It writes the termination
message and exits 0, or 1 when any model did not arrive. One model's failure does not keep the others from the cache, so
that the next run has less to do. For a shared server (`partial`) it exits 0 once any model is in place: the server
starts with those, and the report says what is missing. A prefetch lays out for a trial, for what is
no model must be found out while the old server still serves, and keeps nothing of it.

It imports the standard library alone until something must be fetched: on a warm start it stands between a power cut and
a serving line. For the same reason a pin that can't be written, on a full or read-only disk, is said and no more: each
artifact is then held by its lock until it is laid out. Once it is, nothing holds it; what Triton has open stays with
it, and a later start fetches again what another slice made go meanwhile.
"""

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, Literal

from littoral.api.group import KEYS_MOUNT, SECRETS_MOUNT, SETTINGS_MOUNT
from littoral.modelstore import access
from littoral.modelstore.cache import Artifact, Cache
from littoral.modelstore.collection import Collector
from littoral.modelstore.delivery import ROUNDS, OpenSource, deliver
from littoral.modelstore.errors import CacheFull, FetchError, InternalError, from_os_error
from littoral.modelstore.files import is_full
from littoral.modelstore.layout import Repository
from littoral.modelstore.pins import Pin, wanted
from littoral.modelstore.report import FailedModel, FetchedModel, Report
from littoral.modelstore.request import (
    ENV_MOUNTS,
    ENV_REQUEST,
    ENV_TERMINATION_LOG,
    FetchRequest,
    ModelRequest,
    parse_request,
    parse_slice,
)
from littoral.modelstore.sources import Origin, same_host, source_for
from littoral.modelstore.transfer import Patience

DEFAULT_TERMINATION_LOG: Final = "/dev/termination-log"
_log: Final = logging.getLogger("littoral.fetch")


@dataclass(frozen=True, slots=True)
class Mounts:
    """Where the container finds the folders of Secrets, of ConfigMaps with settings, and the trusted keys."""

    secrets: Path = Path(SECRETS_MOUNT)
    settings: Path = Path(SETTINGS_MOUNT)
    keys: Path = Path(KEYS_MOUNT)

    @classmethod
    def below(cls, folder: Path) -> "Mounts":
        """Return the places below another folder than the container's own."""
        return cls(*(folder / Path(mount).name for mount in (SECRETS_MOUNT, SETTINGS_MOUNT, KEYS_MOUNT)))


MOUNTS: Final = Mounts()


def fetch_all(
    request: FetchRequest, patience: Patience | None = None, *, slice_name: str = "", mounts: Mounts = MOUNTS
) -> Report:
    """Do what `request` asks for; what went wrong is in the report, nothing is raised.

    `slice_name` is the slice whose pin holds the artifacts; without one nothing holds them when this process ends.
    """
    with _repository(request) as repository:
        return _report(request, _Run(request, patience, slice_name, mounts, repository))


@contextmanager
def _repository(request: FetchRequest) -> Iterator[Repository]:
    """The repository that is asked for; of a prefetch, one that goes when the run ends."""
    if not request.prefetch:
        yield Repository(Path(request.repository))
        return
    with tempfile.TemporaryDirectory(prefix="littoral-") as folder:
        yield Repository(Path(folder))


def _report(request: FetchRequest, run: "_Run") -> Report:
    run.hold()
    done: list[FetchedModel] = []
    failures: dict[str, FetchError] = {}
    for model in request.models:
        try:
            done.append(run.fetch(model))
        except FetchError as error:
            _log.error("%s: %s: %s", model.name, error.reason, error)
            failures[model.name] = error
    if done and (request.partial or not failures):
        run.serve()
    kept, free, freed = run.inventory()
    if not failures:
        return Report("ok", models=tuple(done), kept=kept, free=free, freed=freed)
    # What can't heal is what somebody must act on.
    first = min(failures.values(), key=lambda error: error.heals)
    if not (request.partial and done):
        return Report("failed", first.reason, str(first), tuple(done), kept, free, freed=freed)
    missing = tuple(FailedModel(name, error.reason, str(error)) for name, error in failures.items())
    return Report("partial", first.reason, str(first), tuple(done), kept, free, missing, freed)


class _Run:
    """One run of the container."""

    def __init__(
        self,
        request: FetchRequest,
        patience: Patience | None,
        slice_name: str,
        mounts: Mounts,
        repository: Repository,
    ) -> None:
        self._request, self._patience, self._slice, self._mounts = request, patience, slice_name, mounts
        self._pinned = False
        self._cache, self._repository = Cache(Path(request.cache)), repository
        self._wanted = wanted(model.sha256 for model in request.models)
        self._collector = Collector(self._cache, quota=request.quota, needed=frozenset(self._wanted))

    def hold(self) -> None:
        """Pin what is asked for, before it is looked for; drop the pins of slices that are on the node no more."""
        request, pins = self._request, self._cache.pins
        if request.slices is not None:
            try:
                received, now = _received(Path(request.repository)), time.time()
                pins.drop_others(request.slices, drawn=request.listed, received=received, now=now)
            except OSError as error:
                _log.warning("pins of slices that are gone cannot be dropped: %s", error)
        last = wanted(request.last)
        self._pinned = self._pin(
            lambda pin: pin.preparing(self._wanted, last) if request.prefetch else pin.seeking(self._wanted)
        )

    def serve(self) -> None:
        """Note in the pin what the slice's server is given."""
        if not self._slice or self._request.prefetch or self._pin(lambda pin: pin.serving(self._wanted)):
            return
        for digest in self._wanted:
            with suppress(OSError):
                self._cache.keep(digest)

    def _pin(self, change: Callable[[Pin], Pin]) -> bool:
        """Change the slice's pin, and tell whether it is what it shall be; on a full disk something goes for it."""
        if not self._slice:
            return False
        try:
            try:
                self._cache.pins.change(self._slice, change)
            except OSError as error:
                if not is_full(error) or not self._collector.relieve():
                    raise
                self._cache.pins.change(self._slice, change)
        except OSError as error:
            _log.warning("what slice %s needs cannot be pinned: %s", self._slice, error)
            return False
        return True

    def fetch(self, model: ModelRequest) -> FetchedModel:
        """Bring one model into the cache and into the repository. Raises FetchError."""
        begun = time.monotonic()
        try:
            artifact, fetched = self._fetch(model)
        except OSError as error:
            raise from_os_error(error, f"storing model {model.name}") from error
        except FetchError:
            raise
        except Exception as error:
            _log.exception("a defect of the fetch container")
            raise InternalError(f"model {model.name}: {type(error).__name__}: {error}") from error
        origin: Literal["cache", "fetched"] = "fetched" if fetched else "cache"
        seconds = round(time.monotonic() - begun, 3)
        _log.info("%s: %d bytes, sha256:%s, %s, %.1f s", model.name, artifact.size, artifact.digest, origin, seconds)
        return FetchedModel(model.name, artifact.digest, artifact.size, origin, seconds)

    def inventory(self) -> tuple[tuple[str, ...], int | None, tuple[str, ...]]:
        """Return what the cache keeps, the bytes left on its disk, and what was collected."""
        freed = tuple(self._collector.freed)
        try:
            return self._cache.kept(), self._collector.free(), freed
        except OSError:
            return (), None, freed

    def _fetch(self, model: ModelRequest) -> tuple[Artifact, bool]:
        self._repository.begin()
        open_source, collector, fetched = self._opener(model), self._collector, False
        for _ in range(ROUNDS):
            artifact, new = deliver(
                model, self._cache, collector=collector, patience=self._patience, open_source=open_source
            )
            fetched |= new
            with self._held(model.sha256) as there:
                if there:
                    self._use(model, artifact, open_source)
                    return artifact, fetched
        raise CacheFull(
            f"model {model.name}: other slices on the node made it go {ROUNDS} times before it was laid out, and it "
            "cannot be pinned; free space on the node"
        )

    def _use(self, model: ModelRequest, artifact: Artifact, open_source: OpenSource) -> None:
        if model.signed:
            from littoral.modelstore.signature import check  # noqa: PLC0415 - loaded where it is asked for

            keys = self._mounts.keys
            check(model, artifact, self._cache, keys=keys, open_source=open_source, patience=self._patience)
        self._repository.lay_out(model, artifact)
        self._cache.touch(model.sha256)

    @contextmanager
    def _held(self, digest: str) -> Iterator[bool]:
        """Keep an artifact from being collected where no pin does; tell whether it is still there."""
        with ExitStack() as stack:
            if self._slice and not self._pinned:
                try:
                    stack.enter_context(self._cache.locks.hold(digest))
                except OSError as error:
                    _log.warning("sha256:%s cannot be held while it is laid out: %s", digest, error)
            yield self._pinned or not self._slice or self._cache.marker(digest) is not None

    def _opener(self, model: ModelRequest) -> OpenSource:
        """What opens the model's sources, with the credentials and settings that they may use.

        The Secret is for the host of the model: a signature that lies elsewhere is asked for without it.
        """

        def opened(uri: str, imports: Path) -> Origin:
            secret = self._mounts.secrets / model.secret if model.secret and same_host(uri, model.uri) else None
            settings = self._mounts.settings / model.settings if model.settings else None
            return source_for(uri, imports, access.read(secret, settings))

        return opened


def _received(repository: Path) -> float:
    """When this pod came to the node: the kubelet made the repository's folder then, and a prefetch leaves it alone."""
    try:
        return repository.stat().st_mtime
    except OSError:
        return 0.0


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run one fetch as `environ` asks for; return the exit status."""
    try:
        request, slice_name = parse_request(environ.get(ENV_REQUEST, "")), parse_slice(environ)
        mounts = Mounts.below(Path(environ[ENV_MOUNTS])) if ENV_MOUNTS in environ else MOUNTS
        report = fetch_all(request, slice_name=slice_name, mounts=mounts)
    except FetchError as error:
        report = Report("failed", error.reason, str(error))
    path = environ.get(ENV_TERMINATION_LOG, DEFAULT_TERMINATION_LOG)
    try:
        Path(path).write_text(report.dump(), encoding="utf-8")
    except OSError:
        _log.exception("the termination message cannot be written: the operator will not see how this fetch ended")
    if not report.ok:
        print(f"{report.reason}: {report.message}", file=sys.stderr)
    return int(report.outcome == "failed")


def _terminate(signum: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # As process 1 of its container it would else ignore SIGTERM; this way locks and temporary files go at once.
    signal.signal(signal.SIGTERM, _terminate)
    # Triton's user reads what root writes here.
    os.umask(0o022)
    raise SystemExit(main())
