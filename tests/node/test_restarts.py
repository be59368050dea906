"""A server that dies is the kubelet's to restart; the operator only says what it sees, and may itself come and go."""

import time

import pytest
from tests.node.edge import JETSON, T4, Edge, condition
from tests.node.models import multiplier

from littoral.api.group import LEASE_NAME, OPERATOR_NAMESPACE

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


def test_an_operator_that_is_told_to_stop_ends_at_once_and_gives_its_lease_back(edge: Edge, namespace: str) -> None:
    edge.serve(namespace, "stays", multiplier(3), node=T4)
    edge.await_ready(namespace, "stays")
    pod, deployment = edge.pod(namespace, "stays"), edge.deployment(namespace, "stays", T4)
    begun = time.monotonic()
    edge.operator.stop()
    try:
        assert time.monotonic() - begun < 4
        lease = edge.kubectl(
            "get", "lease", LEASE_NAME, f"--namespace={OPERATOR_NAMESPACE}", "-o=jsonpath={.spec.holderIdentity}"
        )
        assert lease == ""
        assert edge.infer(pod, "stays", 2) == 6
    finally:
        edge.operator.start()
    edge.patch(namespace, "stays", {"paused": True})
    edge.await_model(
        namespace, "stays", lambda m: condition(m, "Ready")["status"] == "True", "seen by the next operator"
    )
    assert edge.pod(namespace, "stays").metadata.uid == pod.metadata.uid
    assert edge.deployment(namespace, "stays", T4).metadata.generation == deployment.metadata.generation
