"""The fetch container's whole input: one JSON object in one environment variable.

It travels in the pod template, so a container that restarts with the control plane gone still knows what it needs.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

from littoral.api.group import CACHE_MOUNT, REPOSITORY_MOUNT
from littoral.modelstore.errors import RequestInvalid

ENV_REQUEST: Final = "LITTORAL_FETCH"
ENV_TERMINATION_LOG: Final = "LITTORAL_TERMINATION_LOG"
"""Where the termination message is written, for tests; default: what the kubelet mounts."""
ENV_MOUNTS: Final = "LITTORAL_MOUNTS"
"""The folder that takes the place of /etc/littoral, for tests."""

ENTRIES: Final = "sha256"
"""The folder of the cache that holds what is verified; Triton sees this one alone."""
BUNDLE: Final = "model.sig"
"""Where `model_signing` puts a signature's bundle, at the root of what it signs."""
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PART: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LAYOUTS: Final = ("Model", "Repository")
_ALWAYS: Final = frozenset({"name", "uri", "sha256", "size", "format", "config"})
"""Fields of a model that are written even where they are empty."""
ENV_SLICE: Final = "LITTORAL_SLICE"
"""The GPUSlice for which the container fetches: the name of its pin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One model: `name` as Triton's clients call it, `size` the most bytes the artifact may have (None: undeclared).

    `sha256` is the digest of the file, of the folder's listing (see modelstore.listing) or of the OCI manifest.
    `format` names the model file where the artifact is a single file; `config` is the generated config.pbtxt, of which
    the artifact's own takes the place field by field. `layout` is "Model" or "Repository". `secret` and `settings` name
    folders below SECRETS_MOUNT and SETTINGS_MOUNT; empty: none. With `signed` it is not laid out unless a trusted key
    signed it; `signature` is the URI of the bundle, empty for model.sig in the artifact.
    """

    name: str
    uri: str
    sha256: str
    size: int | None = None
    format: str = ""
    config: str | None = None
    layout: str = "Model"
    secret: str = ""
    settings: str = ""
    signed: bool = False
    signature: str = ""

    @property
    def kind(self) -> Literal["File", "Folder", "Manifest"]:
        """What `sha256` is of, by the URI: bytes, the listing of a folder, or an OCI manifest."""
        if self.uri.startswith("oci:"):
            return "Manifest"
        listed = self.uri.endswith("/") and not self.uri.startswith(("http:", "https:"))
        return "Folder" if listed else "File"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """What one run of the container delivers, and between which two mounts."""

    models: tuple[ModelRequest, ...]
    repository: str = REPOSITORY_MOUNT
    cache: str = CACHE_MOUNT
    partial: bool = False
    """For a shared server: one model that does not arrive holds none of the others back."""
    prefetch: bool = False
    """The artifacts are brought into the cache and laid out for a trial: what a slice is to serve next."""
    slices: tuple[str, ...] | None = None
    """The slices of the namespace that are on the node; what another's pin holds may be collected. None: unknown."""
    listed: int | None = None
    """When that list was drawn, by the operator's clock, in seconds since the epoch. None: it is not acted on."""
    last: tuple[str, ...] = ()
    """Of a prefetch: the digests of what last answered, which the slice is put back to; empty: what it says already."""
    quota: int | None = None
    """Bytes that the namespace's cache may take on the node; None: the default (see modelstore.quota)."""

    def dump(self) -> str:
        """Return the value of the environment variable; the same request always gives the same text.

        It stands in pod templates, so what came to be asked for later is written only where it is.
        """
        fields = asdict(self)
        fields["models"] = [
            {key: model[key] for key in model if key in _ALWAYS or model[key]} for model in fields["models"]
        ]
        for key in ("partial", "prefetch", "slices", "listed", "last", "quota"):
            if fields[key] in (None, False) or (key == "last" and not fields[key]):
                del fields[key]
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
        prefetch=_flag(data, "prefetch"),
        slices=_slices(data),
        listed=_size(data, "listed", "", "seconds since the epoch"),
        last=_digests(data),
        quota=_size(data, "quota", ""),
    )
    names = [model.name for model in request.models]
    if len(set(names)) != len(names):
        raise RequestInvalid(f"{ENV_REQUEST}: two models have the same name: {', '.join(sorted(names))}")
    return request


def parse_slice(environ: Mapping[str, str]) -> str:
    """Return the slice for which the container fetches, "" where none is named. Raises RequestInvalid."""
    name = environ.get(ENV_SLICE, "")
    if name and _PART.fullmatch(name) is None:
        raise RequestInvalid(f"{ENV_SLICE} must be the name of a GPUSlice")
    return name


def _model(data: object, where: str) -> ModelRequest:
    if not isinstance(data, dict):
        raise RequestInvalid(f"{ENV_REQUEST}: {where} must be an object")
    config, layout = data.get("config"), data.get("layout", "Model")
    if layout not in _LAYOUTS:
        raise RequestInvalid(f"{ENV_REQUEST}: {where}.layout must be one of {', '.join(_LAYOUTS)}")
    if config is not None and not isinstance(config, str):
        raise RequestInvalid(f"{ENV_REQUEST}: {where}.config must be the text of a config.pbtxt, or null")
    # The name and the digest become path components.
    return ModelRequest(
        name=_matching(
            data, "name", where, _NAME, "a model name: letters, digits, '_', '.', '-', no leading '.' or '-'"
        ),
        uri=_string(data, "uri", where),
        sha256=_matching(data, "sha256", where, _DIGEST, "64 lower-case hex digits"),
        size=_size(data, "size", where),
        format=_string(data, "format", where, ""),
        config=config,
        layout=layout,
        secret=_folder(data, "secret", where),
        settings=_folder(data, "settings", where),
        signed=_flag(data, "signed"),
        signature=_string(data, "signature", where, ""),
    )


def _size(data: Mapping[str, object], key: str, where: str, what: str = "a positive number of bytes") -> int | None:
    value = data.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
        place = f"{where}.{key}" if where else key
        raise RequestInvalid(f"{ENV_REQUEST}: {place} must be {what}, or null")
    return value


def _folder(data: Mapping[str, object], key: str, where: str) -> str:
    """The name of a Secret or a ConfigMap, which becomes a path component."""
    return _matching(data, key, where, _PART, "the name of an object") if data.get(key) else ""


def _slices(data: Mapping[str, object]) -> tuple[str, ...] | None:
    value = data.get("slices")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) and _PART.fullmatch(name) for name in value):
        raise RequestInvalid(f"{ENV_REQUEST}: slices must be a list of names of GPUSlices, or null")
    return tuple(value)


def _digests(data: Mapping[str, object]) -> tuple[str, ...]:
    value = data.get("last", [])
    if not isinstance(value, list) or not all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in value):
        raise RequestInvalid(f"{ENV_REQUEST}: last must be a list of digests: 64 lower-case hex digits each")
    return tuple(value)


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
