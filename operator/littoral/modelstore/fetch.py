"""The fetch container of a serving pod: ``python3 -m littoral.modelstore.fetch``.

Reads the request from LITTORAL_FETCH, delivers each model into the cache, lays out the repository, writes the
termination message and exits 0, or 1 when any model did not arrive. One model's failure does not keep the others from
the cache, so that the next run has less to do. For a shared server (`partial`) it exits 0 once any model is in place:
the server starts with those, and the report says what is missing.

It imports the standard library alone until something must be fetched: on a warm start it stands between a power cut and
a serving line.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final, Literal

from littoral.modelstore.cache import Cache
from littoral.modelstore.delivery import deliver
from littoral.modelstore.errors import FetchError, InternalError, from_os_error
from littoral.modelstore.layout import Repository
from littoral.modelstore.report import FailedModel, FetchedModel, Report
from littoral.modelstore.request import (
    ENV_REQUEST,
    ENV_TERMINATION_LOG,
    FetchRequest,
    ModelRequest,
    parse_request,
)
from littoral.modelstore.transfer import Patience

DEFAULT_TERMINATION_LOG: Final = "/dev/termination-log"
_log: Final = logging.getLogger("littoral.fetch")


def fetch_all(request: FetchRequest, patience: Patience | None = None) -> Report:
    """Deliver and lay out every model of `request`; what went wrong is in the report, nothing is raised."""
    cache, repository = Cache(Path(request.cache)), Repository(Path(request.repository))
    done: list[FetchedModel] = []
    failures: dict[str, FetchError] = {}
    for model in request.models:
        try:
            done.append(_fetch_one(model, cache, repository, patience))
        except FetchError as error:
            _log.error("%s: %s: %s", model.name, error.reason, error)
            failures[model.name] = error
    kept, free = _inventory(cache)
    if not failures:
        return Report("ok", models=tuple(done), kept=kept, free=free)
    # What can't heal is what somebody must act on.
    first = min(failures.values(), key=lambda error: error.heals)
    if not (request.partial and done):
        return Report("failed", first.reason, str(first), tuple(done), kept, free)
    missing = tuple(FailedModel(name, error.reason, str(error)) for name, error in failures.items())
    return Report("partial", first.reason, str(first), tuple(done), kept, free, missing)


def _fetch_one(model: ModelRequest, cache: Cache, repository: Repository, patience: Patience | None) -> FetchedModel:
    begun = time.monotonic()
    try:
        artifact, fetched = deliver(model, cache, patience=patience)
        repository.lay_out(model, artifact)
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


def _inventory(cache: Cache) -> tuple[tuple[str, ...], int | None]:
    try:
        return cache.kept(), cache.free()
    except OSError:
        return (), None


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run one fetch as `environ` asks for; return the exit status."""
    try:
        report = fetch_all(parse_request(environ.get(ENV_REQUEST, "")))
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
