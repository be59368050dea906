"""What a test asks of a fetch on a node: its process, its report, and what it left in the namespace's cache."""

import json
from pathlib import Path
from typing import Any

import psutil
from tests.node.edge import Edge

from littoral.api import group
from rig.waiting import until

_PROGRAM = "littoral.modelstore.fetch"


def fetched(pod: Any) -> dict[str, Any]:
    """The report of a pod's fetch container."""
    report: dict[str, Any] = json.loads(pod.status.init_container_statuses[0].state.terminated.message)
    return report


def entry(edge: Edge, node: str, namespace: str, digest: str) -> Path:
    """Where a node keeps the artifact of that digest for a namespace."""
    folder: Path = edge.node_folder(node, namespace)
    return folder / "sha256" / digest


def fetching(edge: Edge, namespace: str, name: str) -> psutil.Process | None:
    """The process that fetches a model now."""
    for pod in edge.pods(namespace, name):
        for process in edge.processes(pod):
            try:
                if _PROGRAM in process.cmdline():
                    return process
            except psutil.NoSuchProcess:
                continue
    return None


def fetch_log(edge: Edge, pod: Any) -> str:
    """What the fetch container of a pod printed."""
    log: str = edge.core.read_namespaced_pod_log(
        pod.metadata.name, pod.metadata.namespace, container=group.FETCH_CONTAINER
    )
    return log


def replace_pod(edge: Edge, namespace: str, name: str) -> Any:
    """Delete a model's pod; the one that takes its place, once it is there."""
    before = edge.pod(namespace, name)
    edge.core.delete_namespaced_pod(before.metadata.name, namespace)
    return until(
        lambda: next((pod for pod in edge.pods(namespace, name) if pod.metadata.uid != before.metadata.uid), None),
        timeout=60,
        failure=lambda: AssertionError(f"no pod takes the place of {before.metadata.name}"),
    )
