"""A namespace's folder on the nodes: how much it may take, read by nobody else, and gone when the namespace is."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.node.conftest import Namespaces
from tests.node.edge import JETSON, T4, Edge, condition
from tests.node.fetching import entry, fetched
from tests.node.models import heavy, multiplier, variant

from littoral.api import group
from rig.waiting import until

pytestmark = pytest.mark.node


QUOTA = "2500Ki"
"""Of models of 1 MiB: two, and not three."""
FIRST, SECOND, OTHER, THIRD = (heavy(factor, mib=1) for factor in (71, 72, 73, 74))


@pytest.fixture(scope="module")
def crowded(namespaces: Namespaces) -> str:
    """A namespace with a quota."""
    return namespaces(annotations={group.ANNOTATION_CACHE_QUOTA: QUOTA})


def test_collection_spares_what_is_in_use_and_where_all_is_the_model_waits_in_words(edge: Edge, crowded: str) -> None:
    namespace = crowded
    edge.serve(namespace, "one", FIRST, node=T4)
    edge.serve(namespace, "other", OTHER, node=T4)
    for name in ("one", "other"):
        edge.await_ready(namespace, name)
    edge.delete(namespace, "other")
    until(
        lambda: len(edge.core.list_namespaced_pod(namespace).items) == 1,
        timeout=60,
        failure=lambda: AssertionError("the deleted model's pod is still there"),
    )

    # A pin outlives its slice by five minutes, for a list of slices may be older than the slice.
    for pin in (edge.node_folder(T4, namespace) / "pins").glob("other-*"):
        os.utime(pin, (0, 0))

    # What nobody serves any more makes room for the update of what does.
    edge.patch(namespace, "one", {"variants": [variant("any", ["cpu"], edge.models.add(SECOND), SECOND.sha256)]})
    edge.await_ready(namespace, "one")
    pod = edge.pod(namespace, "one")
    assert edge.infer(pod, "one", 1) == 72
    assert fetched(pod)["kept"] == sorted([FIRST.sha256, SECOND.sha256])
    assert not entry(edge, T4, namespace, OTHER.sha256).exists()

    # What is left serves, or served last: none of it goes.
    edge.serve(namespace, "third", THIRD, node=T4)
    told = condition(edge.await_reason(namespace, "third", "CacheFull"), "Ready")["message"]
    assert "may take 2.4 MiB of this node and take 2.0 MiB" in told
    assert group.ANNOTATION_CACHE_QUOTA in told
    assert edge.infer(pod, "one", 1) == 72
    assert edge.pod(namespace, "one").metadata.uid == pod.metadata.uid
    for artifact in (FIRST, SECOND):
        assert entry(edge, T4, namespace, artifact.sha256).exists()

    # More room helps without anybody touching the model; the last test here sees it.
    edge.core.patch_namespace(namespace, {"metadata": {"annotations": {group.ANNOTATION_CACHE_QUOTA: "4Mi"}}})


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


def test_a_deleted_namespace_leaves_no_folder_and_an_offline_node_is_cleaned_once_it_is_back(
    edge: Edge, namespaces: Namespaces
) -> None:
    namespace = namespaces()
    edge.serve(namespace, "short", multiplier(5))
    edge.await_ready(namespace, "short")
    folders = {name: edge.node_folder(name, namespace) for name in (T4, JETSON)}
    edge.delete(namespace, "short")
    until(
        lambda: not edge.core.list_namespaced_pod(namespace).items,
        timeout=60,
        failure=lambda: AssertionError("the deleted model's pods are still there"),
    )
    assert all(folder.exists() and folder.name in noted(edge, name) for name, folder in folders.items())
    node = edge.cluster.nodes[JETSON]
    node.cut()
    try:
        until(
            lambda: _connected(edge, JETSON) == "False",
            timeout=60,
            failure=lambda: AssertionError(edge.edge_node(JETSON)["status"]),
        )
        edge.core.delete_namespace(namespace)
        await_removed(edge, T4, folders[T4])
        assert folders[JETSON].exists()
        assert folders[JETSON].name in noted(edge, JETSON)
    finally:
        node.restore()
    await_removed(edge, JETSON, folders[JETSON])


def test_a_model_that_the_cache_had_no_room_for_arrives_once_there_is(edge: Edge, crowded: str) -> None:
    edge.await_ready(crowded, "third", timeout=150)
    assert edge.infer(edge.pod(crowded, "third"), "third", 1) == 74


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
