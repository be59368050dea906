"""Which cluster `make cluster` takes: the one that is named, else the best that this machine can carry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rig.errors import NothingToRunOn

_DOCKER_SECONDS = 3


class Kind(Enum):
    """What there is to choose from."""

    EXPLICIT = "the cluster of LITTORAL_KUBECONFIG"
    KIND = "kind, in Docker"
    EMBEDDED = "the embedded cluster: real nodes in namespaces of this machine"


@dataclass(frozen=True)
class Machine:
    """What decides."""

    linux: bool
    root: bool
    docker: bool  # a daemon answers, not only a client is installed
    kind: bool  # the command is on PATH


@dataclass(frozen=True)
class Choice:
    """The kind of cluster, and for an explicit one its kubeconfig."""

    kind: Kind
    kubeconfig: Path | None = None


def choose(env: Mapping[str, str], machine: Machine) -> Choice:
    """The cluster to use. LITTORAL_CLUSTER=kind or embedded overrides what would be taken by itself.

    Raises NothingToRunOn, saying what the choices are.
    """
    named = env.get("LITTORAL_KUBECONFIG")
    if named:
        return Choice(Kind.EXPLICIT, Path(named).expanduser())
    possible = {
        "kind": machine.docker and machine.kind,
        "embedded": machine.linux and machine.root,
    }
    wanted = env.get("LITTORAL_CLUSTER")
    if wanted and not possible.get(wanted, False):
        raise NothingToRunOn(f"LITTORAL_CLUSTER={wanted} cannot be had here.\n{_choices(machine)}")
    for name, kind in (("kind", Kind.KIND), ("embedded", Kind.EMBEDDED)):
        if possible[name] and wanted in {None, "", name}:
            return Choice(kind)
    raise NothingToRunOn(f"there is nothing here that a cluster could run on.\n{_choices(machine)}")


def this_machine() -> Machine:
    """Look; takes three seconds at most, for a Docker that hangs."""
    return Machine(
        linux=sys.platform == "linux",
        root=os.geteuid() == 0,
        docker=_docker_answers(),
        kind=shutil.which("kind") is not None,
    )


def why_no_embedded_cluster() -> str | None:
    """Why real nodes cannot run here, or None if they can: the reason that a skipped test gives."""
    if sys.platform != "linux":
        return "real nodes need Linux (namespaces and control groups)"
    if os.geteuid() != 0:
        return "real nodes need root (namespaces and control groups)"
    return None


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=_DOCKER_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _choices(machine: Machine) -> str:
    def here(yes: bool) -> str:
        return "yes" if yes else "no"

    return (
        "Choices:\n"
        "  1. a cluster of yours: LITTORAL_KUBECONFIG=/path/to/kubeconfig\n"
        f"  2. kind: a running Docker (here: {here(machine.docker)}) and the command kind (here:"
        f" {here(machine.kind)})\n"
        f"  3. the embedded cluster: Linux (here: {here(machine.linux)}) and root (here: {here(machine.root)}),"
        " for example: sudo make cluster"
    )
