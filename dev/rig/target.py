"""`make cluster` and `make cluster-down`: from the choice of a cluster to a kubeconfig that answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig import choice, cluster, explicit, kind, paths, preflight, states
from rig.binaries import Binaries
from rig.choice import Kind
from rig.errors import RigError
from rig.nodefiles import NodeSpec
from rig.progress import Progress

_KIND_KUBECONFIG = "kind.kubeconfig"


@dataclass(frozen=True)
class Target:
    """A cluster to work with. `nodes` are its edge nodes' names; those of a cluster of the user's own are not known."""

    kind: Kind
    kubeconfig: Path
    nodes: tuple[str, ...] = ()


def ensure(nodes: Sequence[NodeSpec], progress: Progress) -> Target:
    """Have a cluster with `nodes`: taken as it is, found running, or brought up. Raises RigError."""
    chosen = choice.choose(os.environ, choice.this_machine())
    progress(f"using {chosen.kind.value}")
    if chosen.kubeconfig is not None:
        return _explicit(chosen.kubeconfig, progress)
    if chosen.kind is Kind.KIND:
        kubeconfig = paths.state_root() / _KIND_KUBECONFIG
        kind.up(nodes, kubeconfig, progress)
        return Target(Kind.KIND, kubeconfig, tuple(kind.worker_names(len(nodes))))
    log = paths.state_root() / "logs" / "preflight.log"
    preflight.check(progress, yes=os.environ.get("YES") == "1", log=log)
    running = cluster.up(paths.cluster_state(), nodes, progress=progress)
    return Target(Kind.EMBEDDED, running.kubeconfig, tuple(running.nodes))


def down() -> list[str]:
    """Remove every cluster that was brought up from here, and what killed test runs left; returns what was removed."""
    removed = []
    root = paths.state_root()
    if (root / _KIND_KUBECONFIG).exists():
        kind.run(kind.down_step())
        (root / _KIND_KUBECONFIG).unlink()
        removed.append(f"kind cluster {kind.NAME}")
    for state in (paths.cluster_state(), *states.abandoned()):
        removed += cluster.down(state)
    if (root / "logs").exists():
        shutil.rmtree(root / "logs")
    if root.exists() and not any(root.iterdir()):
        root.rmdir()
    return removed


def _explicit(kubeconfig: Path, progress: Progress) -> Target:
    described = explicit.describe(kubeconfig)
    progress(described)
    if not explicit.may_install_crds(described, os.environ):
        raise RigError("littoral's CustomResourceDefinitions were not installed: say yes, or set YES=1")
    kubectl = Binaries().kubectl(progress)
    command = [str(kubectl), f"--kubeconfig={kubeconfig}", "apply", "--server-side", f"-f={paths.REPOSITORY / 'crds'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RigError(f"the CustomResourceDefinitions could not be installed: {done.stderr.strip()}")
    return Target(Kind.EXPLICIT, kubeconfig)
