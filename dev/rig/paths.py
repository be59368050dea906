"""Where the local cluster keeps things: state in one folder, what is worth keeping between runs in another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GOMODS = REPOSITORY / "dev" / "gomods"


def state_root(env: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds every cluster of this checkout: LITTORAL_STATE, else .state/."""
    return Path(env.get("LITTORAL_STATE") or REPOSITORY / ".state").absolute()


def cluster_state(env: Mapping[str, str] = os.environ) -> Path:
    """The state folder of the cluster that `make cluster` brings up."""
    return state_root(env) / "cluster"


def cache_root(env: Mapping[str, str] = os.environ) -> Path:
    """What outlives a cluster (binaries, images): LITTORAL_CACHE, else the user's cache folder."""
    explicit = env.get("LITTORAL_CACHE")
    base = env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or Path.home()) / ".cache"
    return (Path(explicit) if explicit else Path(base) / "littoral").absolute()


def cluster_id(state: Path) -> str:
    """A short name, stable for a state folder, for what lives outside it: namespaces, interfaces, cgroups.

    Nine characters, because an interface's name has at most fifteen.
    """
    return "lit" + hashlib.sha256(str(state.absolute()).encode()).hexdigest()[:6]
