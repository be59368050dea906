"""What a source may use beside its URI: credentials and settings, as the kubelet mounts them.

A Secret and a ConfigMap are folders with a file for each key. Either may be missing: what is in the cache is served
without them, and what is not says itself what it lacks.

Credentials are read from the Secret alone, settings from the ConfigMap and, where it has no such key, from the Secret:
a proxy's address may hold a password, and Secrets of the type kubernetes.io/tls bring their ca.crt along.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Access:
    """The keys of a source's Secret and of its ConfigMap, each with its text. Never shown: see __repr__."""

    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def credential(self, key: str) -> str:
        """Return what the Secret holds under `key`, without white space around it; "" where it has no such key.

        A Secret made from a file mostly ends with the file's line break, which is part of no token.
        """
        return self.secret.get(key, "").strip()

    def setting(self, *keys: str) -> str:
        """Return the first of `keys` that is set, each looked up in the ConfigMap and then in the Secret; else ""."""
        found = (held[key].strip() for key in keys for held in (self.settings, self.secret) if key in held)
        return next((value for value in found if value), "")


NO_ACCESS: Final = Access()


def read(secret: Path | None, settings: Path | None) -> Access:
    """Return what lies in the two folders; of one that is missing, nothing. Raises OSError."""
    return Access(_keys(secret), _keys(settings))


def _keys(folder: Path | None) -> dict[str, str]:
    """Return the files of a mounted folder; the kubelet's own begin with two dots."""
    if folder is None or not folder.is_dir():
        return {}
    files = (path for path in folder.iterdir() if not path.name.startswith("..") and path.is_file())
    return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files}
