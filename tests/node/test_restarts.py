"""A server that dies is the kubelet's to restart; the operator only says what it sees."""

import pytest
from tests.node.edge import JETSON, Edge
from tests.node.models import multiplier

pytestmark = pytest.mark.node


def test_a_killed_triton_is_restarted_in_place_with_the_operator_at_rest(edge: Edge, namespace: str) -> None:
    edge.serve(namespace, "killed", multiplier(2), node=JETSON)
    edge.await_ready(namespace, "killed")
    before = edge.pod(namespace, "killed")
    deployment = edge.deployment(namespace, "killed", JETSON)
    edge.server_process(before).kill()
    gone = edge.await_model(namespace, "killed", lambda m: m["status"]["readyReplicas"] == 0, "seen to have died")
    assert gone["status"]["conditions"]
    edge.await_ready(namespace, "killed")
    after = edge.pod(namespace, "killed")
    assert edge.infer(after, "killed", 4) == 8
    assert after.metadata.uid == before.metadata.uid
    assert (
        after.status.container_statuses[0].restart_count,
        after.status.init_container_statuses[0].restart_count,
    ) == (1, 0)
    assert edge.deployment(namespace, "killed", JETSON).metadata.generation == deployment.metadata.generation
