"""The fetch container's whole input: one JSON object in one environment variable.

It travels in the pod template, so a container that restarts with the control plane gone still knows what it needs.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from littoral.api.group import CACHE_MOUNT, REPOSITORY_MOUNT
from littoral.modelstore.errors import RequestInvalid

ENV_REQUEST: Final = "LITTORAL_FETCH"
ENV_TERMINATION_LOG: Final = "LITTORAL_TERMINATION_LOG"
"""Where the termination message is written, for tests; default: what the kubelet mounts."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One model: `name` as Triton's clients call it, `size` the most bytes the artifact may have (None: undeclared).

    `format` names the model file where the artifact is a single file; `config` is the generated config.pbtxt, used
    where the artifact brings none.
    """

    name: str
    uri: str
    sha256: str
    size: int | None = None
    format: str = ""
    config: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """What one run of the container delivers, and between which two mounts."""

    models: tuple[ModelRequest, ...]
    repository: str = REPOSITORY_MOUNT
    cache: str = CACHE_MOUNT
    partial: bool = False
    """For a shared server: one model that does not arrive holds none of the others back."""

    def dump(self) -> str:
        """Return the value of the environment variable; the same request always gives the same text.

        It stands in pod templates, so `partial` is written only where it is asked for.
        """
        fields = asdict(self)
        if not self.partial:
            del fields["partial"]
        return json.dumps(fields, separators=(",", ":"), sort_keys=True)


def parse_request(text: str) -> FetchRequest:
    """Return the request that `text` holds. Raises RequestInvalid naming the field."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise RequestInvalid(f"{ENV_REQUEST} is not JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("models"), list) or not data["models"]:
        raise RequestInvalid(f"{ENV_REQUEST} must be an object whose `models` is a list of at least one model")
    request = FetchRequest(
        models=tuple(_model(entry, f"models[{index}]") for index, entry in enumerate(data["models"])),
        repository=_string(data, "repository", "", REPOSITORY_MOUNT),
        cache=_string(data, "cache", "", CACHE_MOUNT),
        partial=_flag(data, "partial"),
    )
    names = [model.name for model in request.models]
    if len(set(names)) != len(names):
        raise RequestInvalid(f"{ENV_REQUEST}: two models have the same name: {', '.join(sorted(names))}")
    return request


def _model(data: object, where: str) -> ModelRequest:
    if not isinstance(data, dict):
        raise RequestInvalid(f"{ENV_REQUEST}: {where} must be an object")
    size, config = data.get("size"), data.get("config")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size <= 0):
        raise RequestInvalid(f"{ENV_REQUEST}: {where}.size must be a positive number of bytes, or null")
    if config is not None and not isinstance(config, str):
        raise RequestInvalid(f"{ENV_REQUEST}: {where}.config must be the text of a config.pbtxt, or null")
    # The name and the digest become path components.
    return ModelRequest(
        name=_matching(
            data, "name", where, _NAME, "a model name: letters, digits, '_', '.', '-', no leading '.' or '-'"
        ),
        uri=_string(data, "uri", where),
        sha256=_matching(data, "sha256", where, _DIGEST, "64 lower-case hex digits"),
        size=size,
        format=_string(data, "format", where, ""),
        config=config,
    )


def _string(data: Mapping[str, object], key: str, where: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or (not value and default != ""):
        raise RequestInvalid(f"{ENV_REQUEST}: {f'{where}.' if where else ''}{key} must be a non-empty string")
    return value


def _flag(data: Mapping[str, object], key: str) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise RequestInvalid(f"{ENV_REQUEST}: {key} must be true or false")
    return value


def _matching(data: Mapping[str, object], key: str, where: str, pattern: re.Pattern[str], what: str) -> str:
    value = _string(data, key, where)
    if pattern.fullmatch(value) is None:
        raise RequestInvalid(f"{ENV_REQUEST}: {where}.{key} must be {what}")
    return value
