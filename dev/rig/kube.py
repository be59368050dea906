"""What the local cluster itself asks of the API server: are the nodes there, and a label that only it may give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes

from rig.errors import RigError
from rig.nodefiles import NodeSpec
from rig.waiting import until


def client(kubeconfig: Path) -> Any:
    """A client of the cluster that `kubeconfig` names; close it, or use it in a `with`."""
    return kubernetes.config.new_client_from_config(str(kubeconfig))


def await_nodes(kubeconfig: Path, nodes: Sequence[NodeSpec], *, timeout: float) -> None:
    """Wait until all of `nodes` are Ready and offer their devices; raises RigError naming those that are not."""
    waiting = {node.name: node.units for node in nodes}

    def probe() -> bool:
        for node in core.list_node().items:
            wanted = waiting.get(node.metadata.name)
            if wanted is not None and is_ready(node.status) and offers(node.status.allocatable or {}, wanted):
                del waiting[node.metadata.name]
        return not waiting

    with client(kubeconfig) as api:
        core = kubernetes.client.CoreV1Api(api)
        until(
            probe,
            timeout=timeout,
            interval=0.3,
            failure=lambda: RigError(
                f"not Ready, or without its devices, after {timeout:.0f} s: node {', node '.join(sorted(waiting))};"
                f" logs: {kubeconfig.parent / 'nodes'}/*/logs"
            ),
        )


def offers(allocatable: Mapping[str, str], units: Mapping[str, int]) -> bool:
    """True if a Node's allocatable has exactly these `units` of each resource."""
    return all(allocatable.get(resource) == str(count) for resource, count in units.items())


def is_ready(status: Any) -> bool:
    """True if a Node's or a Pod's status has the condition Ready=True."""
    return any(item.type == "Ready" and item.status == "True" for item in status.conditions or ())


def label_node(kubeconfig: Path, name: str, labels: Mapping[str, str]) -> None:
    """Put labels on a Node."""
    with client(kubeconfig) as api:
        kubernetes.client.CoreV1Api(api).patch_node(name, {"metadata": {"labels": dict(labels)}})
