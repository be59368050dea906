"""State folders that belong to one process, such as a test run: found and taken down once that process is gone."""

from __future__ import annotations

import json
import os
import shutil
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
    # Renamed once its owner stands in it: a folder without one is anybody's to take down.
    folder = Path(tempfile.mkdtemp(prefix=".", dir=root))
    owner = {"pid": os.getpid(), "started": start_time(os.getpid())}
    (folder / _OWNER).write_text(json.dumps(owner), encoding="utf-8")
    return folder.rename(root / f"{_PREFIX}{folder.name[1:]}")


def abandoned() -> list[Path]:
    """The folders whose process ended without taking them down."""
    return [folder for folder in sorted(paths.state_root().glob(f"{_PREFIX}*")) if not is_owned(folder)]


def empty(folder: Path) -> list[str]:
    """Remove all that is in a folder but its owner's claim; returns what was removed."""
    left = [path for path in folder.iterdir() if path.name != _OWNER]
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return [f"the content of {folder}"] if left else []


def is_owned(folder: Path) -> bool:
    """Whether the process that made the folder still runs."""
    try:
        owner = json.loads((folder / _OWNER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    started = start_time(int(owner["pid"]))
    return started is not None and started == owner["started"]
