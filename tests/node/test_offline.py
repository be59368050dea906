"""A node that is cut off goes on serving, and nothing of it is touched until it is back."""

import json

import pytest
from tests.node.edge import JETSON, T4, Edge, at, condition
from tests.node.models import multiplier, variant

from littoral.api import group

pytestmark = pytest.mark.node


def test_an_offline_node_serves_is_left_alone_and_catches_up(edge: Edge, namespace: str) -> None:
    edge.serve(namespace, "steady", multiplier(2))
    edge.await_ready(namespace, "steady")
    node = edge.cluster.nodes[T4]
    pod = edge.pod(namespace, "steady", T4)
    url = f"http://{pod.status.pod_ip}:{group.HTTP_PORT}"
    before = edge.deployment(namespace, "steady", T4)
    node.cut()
    try:
        found = edge.await_model(
            namespace, "steady", lambda m: condition(m, "Ready")["reason"] == "ServingNodesOffline", "served offline"
        )
        assert condition(found, "Ready")["status"] == "True"
        assert condition(found, "NodesConnected")["status"] == "False"
        assert (at(found, T4)["connected"], at(found, T4)["ready"]) == (False, True)
        connected = json.loads(edge.kubectl("get", "edgenode", T4, "-o", "json"))
        assert condition(connected, "Connected")["reason"] == "NodeOffline"
        assert edge.infer_from(T4, url, "steady", 5) == 10

        newer = multiplier(3)
        edge.patch(namespace, "steady", {"variants": [variant("any", ["cpu"], edge.models.add(newer), newer.sha256)]})
        found = edge.await_model(
            namespace,
            "steady",
            lambda m: condition(m, "Ready")["status"] == "True" and m["status"]["updatedReplicas"] == 1,
            "updated where it can be",
        )
        assert f"1 still owed revision {found['status']['revision']}" in condition(found, "Ready")["message"]
        assert edge.infer(edge.pod(namespace, "steady", JETSON), "steady", 5) == 15
        assert edge.deployment(namespace, "steady", T4).metadata.generation == before.metadata.generation
        left = edge.pod(namespace, "steady", T4)
        assert (left.metadata.uid, left.metadata.deletion_timestamp) == (pod.metadata.uid, None)
        assert edge.infer_from(T4, url, "steady", 5) == 10
    finally:
        node.restore()
    edge.await_model(
        namespace,
        "steady",
        lambda m: condition(m, "Ready")["reason"] == "Serving" and m["status"]["updatedReplicas"] == 2,
        "served everywhere at the new revision",
    )
    assert edge.infer(edge.pod(namespace, "steady", T4), "steady", 5) == 15
