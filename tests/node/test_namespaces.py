"""A namespace's folder on the nodes: read by nobody else, and gone when the namespace is."""

from pathlib import Path
from typing import Any

import pytest
from tests.node.conftest import Namespaces
from tests.node.edge import JETSON, T4, Edge
from tests.node.fetching import entry
from tests.node.models import multiplier

from littoral.api import group
from rig.waiting import until

pytestmark = pytest.mark.node


def test_two_namespaces_with_the_same_model_cannot_read_each_others_copy(edge: Edge, namespaces: Namespaces) -> None:
    artifact = multiplier(5)
    mine, theirs = namespaces(), namespaces()
    for name in (mine, theirs):
        edge.serve(name, "twice", artifact, node=T4)
    for name in (mine, theirs):
        edge.await_ready(name, "twice")
    assert edge.models.requests.count(f"/{artifact.name}") >= 2
    own, other = (entry(edge, T4, name, artifact.sha256) for name in (mine, theirs))
    pod = edge.pod(mine, "twice")
    seen = edge.exec(pod, "stat", "--format=%d:%i", f"{group.CACHE_MOUNT}/sha256/{artifact.sha256}").stdout.strip()
    assert seen == _identity(own) != _identity(other)
    assert edge.exec(pod, "ls", f"{group.CACHE_MOUNT}/sha256").stdout.split() == [artifact.sha256]
    # Neither by its path on the node, nor by way of any mount that the pod has.
    uid = edge.core.read_namespace(theirs).metadata.uid
    assert edge.exec(pod, "ls", f"{group.CACHE_ROOTS}/{uid}").returncode != 0
    assert uid not in edge.exec(pod, "cat", "/proc/self/mountinfo").stdout


def test_the_folder_of_a_deleted_namespace_is_removed_from_its_node(edge: Edge, namespaces: Namespaces) -> None:
    namespace = namespaces()
    edge.serve(namespace, "short", multiplier(5), node=T4)
    edge.await_ready(namespace, "short")
    folder = edge.node_folder(T4, namespace)
    assert folder.name in noted(edge, T4)
    edge.core.delete_namespace(namespace)
    await_removed(edge, T4, folder)


def test_a_node_that_was_offline_is_cleaned_when_it_is_back(edge: Edge, namespaces: Namespaces) -> None:
    namespace = namespaces()
    edge.serve(namespace, "short", multiplier(5), node=JETSON)
    edge.await_ready(namespace, "short")
    folder = edge.node_folder(JETSON, namespace)
    edge.delete(namespace, "short")
    until(
        lambda: not edge.core.list_namespaced_pod(namespace).items,
        timeout=60,
        failure=lambda: AssertionError("the deleted model's pod is still there"),
    )
    node = edge.cluster.nodes[JETSON]
    node.cut()
    try:
        until(
            lambda: _connected(edge, JETSON) == "False",
            timeout=60,
            failure=lambda: AssertionError(edge.edge_node(JETSON)["status"]),
        )
        edge.core.delete_namespace(namespace)
        until(
            lambda: namespace not in [each.metadata.name for each in edge.core.list_namespace().items],
            timeout=60,
            failure=lambda: AssertionError(edge.core.read_namespace(namespace).status),
        )
        assert folder.exists()
        assert folder.name in noted(edge, JETSON)
    finally:
        node.restore()
    await_removed(edge, JETSON, folder)


def noted(edge: Edge, node: str) -> list[str]:
    """The namespaces, by UID, that have a folder on a node as its EdgeNode says."""
    return [cache["uid"] for cache in edge.edge_node(node)["status"].get("caches", [])]


def await_removed(edge: Edge, node: str, folder: Path) -> None:
    """Wait until a namespace's folder is gone from a node, and the note of it."""
    until(
        lambda: not folder.exists() and folder.name not in noted(edge, node),
        timeout=90,
        interval=0.3,
        failure=lambda: AssertionError(f"{folder} exists: {folder.exists()}; noted: {noted(edge, node)}"),
    )


def _connected(edge: Edge, node: str) -> Any:
    conditions = edge.edge_node(node)["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == "Connected")


def _identity(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"
