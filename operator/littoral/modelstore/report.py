"""The termination message of the fetch container: all that the operator learns of a fetch.

The kubelet carries at most 4,096 bytes of it into the pod's status, so writing one always fits: first the list of what
else the cache keeps is shortened, then the models, then the failures, then the sentence. Reading is tolerant, for what
a node says is a claim: anything that is not a report reads as None, which is never success.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeVar

MAX_BYTES: Final = 4096
"""What the kubelet keeps of one container's termination message."""
_MAX_MESSAGE: Final = 1024
_MAX_FAILURE: Final = 256
"""Characters of the sentence about one model of several."""
_MAX_NAME: Final = 256
_MAX_COUNT: Final = 2**63 - 1
_MAX_SECONDS: Final = 1e9
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")

_T = TypeVar("_T")
Outcome = Literal["ok", "partial", "failed"]
"""partial: some models are in place and the server starts with them, because the request allows it."""
_OUTCOMES: Final[Mapping[str, Outcome]] = {"ok": "ok", "partial": "partial", "failed": "failed"}
Origin = Literal["cache", "fetched"]


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """One model that is in place: digest (64 hex digits), the artifact's size in bytes, where it came from, seconds."""

    name: str
    digest: str
    size: int
    source: Origin
    seconds: float


@dataclass(frozen=True, slots=True)
class FailedModel:
    """One model that is not in place: the reason as in modelstore.errors, and a sentence."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """How a fetch ended.

    `models` are those in place (with outcome "failed" perhaps some); `kept` the digests in the namespace's cache on
    this node, possibly shortened; `freed` those that were collected; `free` the bytes left on its disk; `failures`,
    with outcome "partial", what is missing.
    """

    outcome: Outcome
    reason: str = ""
    message: str = ""
    models: tuple[FetchedModel, ...] = ()
    kept: tuple[str, ...] = ()
    free: int | None = None
    failures: tuple[FailedModel, ...] = ()
    freed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every model that was asked for is in place and verified."""
        return self.outcome == "ok"

    def dump(self) -> str:
        """Return the report as JSON of at most MAX_BYTES bytes."""
        data = asdict(self)
        data["message"] = _clean(self.message, _MAX_MESSAGE)
        data["models"] = [{**model, "name": _clean(model["name"], _MAX_NAME)} for model in data["models"]]
        data["kept"], data["freed"] = list(data["kept"]), list(data["freed"])
        data["failures"] = [_failure_written(failure) for failure in self.failures]
        for key in ("reason", "failures", "freed"):
            if not data[key]:
                del data[key]
        while len(text := json.dumps(data, separators=(",", ":"))) > MAX_BYTES:
            if data["kept"]:
                data["kept"].pop()
            elif data.get("freed"):
                data["freed"].pop()
            elif data["models"]:
                data["models"].pop()
            elif data.get("failures"):
                data["failures"].pop()
            else:
                data["message"] = data["message"][: len(data["message"]) // 2]
        return text


def parse_report(text: str) -> Report | None:
    """Return the report that a termination message holds; None where it holds none. Never raises."""
    if len(text) > 16 * MAX_BYTES:
        return None
    try:
        data = json.loads(text)
        return _report(data) if isinstance(data, dict) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _report(data: dict[str, object]) -> Report:
    outcome, free = data["outcome"], data.get("free")
    return Report(
        outcome=_OUTCOMES[_text(outcome)],
        reason=_clean(_text(data.get("reason")), _MAX_NAME),
        message=_clean(_text(data.get("message")), _MAX_MESSAGE),
        models=_each(data.get("models"), _model),
        kept=_each(data.get("kept"), _digest),
        free=None if free is None else _count(free),
        failures=_each(data.get("failures"), _failure),
        freed=_each(data.get("freed"), _digest),
    )


def _failure(data: object) -> FailedModel:
    if not isinstance(data, dict):
        raise TypeError(data)
    message = _clean(_text(data.get("message")), _MAX_FAILURE)
    return FailedModel(_clean(_text(data["name"]), _MAX_NAME), _clean(_text(data["reason"]), _MAX_NAME), message)


def _failure_written(failure: FailedModel) -> dict[str, str]:
    return {
        "name": _clean(failure.name, _MAX_NAME),
        "reason": failure.reason,
        "message": _clean(failure.message, _MAX_FAILURE),
    }


def _model(data: object) -> FetchedModel:
    if not isinstance(data, dict):
        raise TypeError(data)
    seconds = data.get("seconds", 0.0)
    if data["source"] not in {"cache", "fetched"} or not 0 <= seconds <= _MAX_SECONDS:  # NaN is refused by this, too
        raise ValueError(data)
    return FetchedModel(
        name=_clean(_text(data["name"]), _MAX_NAME),
        digest=_digest(data["digest"]),
        size=_count(data["size"]),
        source=data["source"],
        seconds=float(seconds),
    )


def _each(values: object, read: Callable[[object], _T]) -> tuple[_T, ...]:
    if values is None:
        return ()
    if not isinstance(values, list):
        raise TypeError(values)
    return tuple(read(value) for value in values)


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _digest(value: object) -> str:
    match = _DIGEST.fullmatch(_text(value))
    if match is None:
        raise ValueError(value)
    return match[1]


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise ValueError(value)
    return value


def _clean(text: str, limit: int) -> str:
    """Return `text` fit for a condition: no control character, no lone surrogate, at most `limit` characters."""
    return _CONTROL.sub(" ", text)[:limit]
