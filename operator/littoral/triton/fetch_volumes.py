"""What the fetch container alone is shown: credentials and settings of the sources, and the trusted keys.

All of them are optional, for what is in the cache is served without them: a Secret that was deleted holds up no start.
No other container of the pod mounts one.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from littoral.api import group
from littoral.modelstore.request import FetchRequest

_PRIVATE: Final = 0o400
"""Root's, which the fetch container is; without capabilities it reads what is its own."""
_PUBLIC: Final = 0o444


def volumes(request: FetchRequest) -> list[dict[str, Any]]:
    """One for each distinct Secret and ConfigMap, sorted by name."""
    return [dict(volume) for volume, _ in _all(request)]


def mounts(request: FetchRequest) -> list[dict[str, Any]]:
    """Where the fetch container finds them, read-only."""
    return [{"name": volume["name"], "mountPath": path, "readOnly": True} for volume, path in _all(request)]


def _all(request: FetchRequest) -> Iterator[tuple[Mapping[str, Any], str]]:
    # Numbered, for a Secret and a ConfigMap may have one name, and with a prefix it may be too long for a volume's.
    for number, name in enumerate(sorted({model.secret for model in request.models} - {""})):
        secret = {"secretName": name, "optional": True, "defaultMode": _PRIVATE}
        yield {"name": f"secret-{number}", "secret": secret}, f"{group.SECRETS_MOUNT}/{name}"
    for number, name in enumerate(sorted({model.settings for model in request.models} - {""})):
        yield {"name": f"settings-{number}", "configMap": _config_map(name)}, f"{group.SETTINGS_MOUNT}/{name}"
    if any(model.signed for model in request.models):
        yield {"name": "trusted-keys", "configMap": _config_map(group.TRUSTED_KEYS)}, group.KEYS_MOUNT


def _config_map(name: str) -> dict[str, Any]:
    return {"name": name, "optional": True, "defaultMode": _PUBLIC}
