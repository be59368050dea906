"""What a source may use beside its URI: credentials and settings, as the kubelet mounts them.

A Secret and a ConfigMap are folders with a file for each key. Either may be missing: what is in the cache is served
without them, and what is not says itself what it lacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Access:
    """The keys of a source's Secret and of its ConfigMap, each with its text."""

    secret: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


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
