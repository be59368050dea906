"""State folders that belong to one process, such as a test run: found and taken down once that process is gone."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from rig import paths
from rig.processes import start_time

_OWNER = "owner.json"
_PREFIX = "run-"


def make() -> Path:
    """A state folder that belongs to this process."""
    root = paths.state_root()
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    owner = {"pid": os.getpid(), "started": start_time(os.getpid())}
    (folder / _OWNER).write_text(json.dumps(owner), encoding="utf-8")
    return folder


def abandoned() -> list[Path]:
    """The folders whose process ended without taking them down."""
    return [folder for folder in sorted(paths.state_root().glob(f"{_PREFIX}*")) if not _owned(folder)]


def _owned(folder: Path) -> bool:
    try:
        owner = json.loads((folder / _OWNER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    started = start_time(int(owner["pid"]))
    return started is not None and started == owner["started"]
