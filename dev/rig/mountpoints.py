"""The folders that a node's own are mounted over: they must exist on the host, and must not stay there.

Each cluster that needs one leaves an empty marker file in it, unless the folder was there before any cluster came. The
last marker to go takes the folder with it. (Removing one that another cluster still has mounted over would unmount it
there: the kernel detaches mounts from a folder that is removed.)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_PREFIX = ".littoral-"


def claim(cluster: str, folders: Iterable[Path]) -> None:
    """Make `folders` exist for `cluster`."""
    for folder in folders:
        if folder.is_dir() and not any(folder.glob(f"{_PREFIX}*")):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{_PREFIX}{cluster}").touch()


def release(cluster: str, folders: Iterable[Path]) -> list[str]:
    """Give up what `claim` claimed; returns the folders that were removed."""
    removed = []
    for folder in folders:
        marker = folder / f"{_PREFIX}{cluster}"
        if marker.exists():
            marker.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
                removed.append(f"folder {folder}")
    return removed
