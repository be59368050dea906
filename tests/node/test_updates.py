"""Updates on a real Triton, with clients that never stop asking."""

import pytest
from tests.node.edge import JETSON, T4, Edge, at, condition
from tests.node.models import Artifact, multiplier, variant

from littoral.api import group

pytestmark = pytest.mark.node

BROKEN = multiplier(9, initialize="raise ValueError('this camera is not known')")
TIMEOUT = {"startupTimeout": "25s"}


@pytest.fixture(scope="module")
def updated(edge: Edge, namespace: str) -> str:
    """A model that serves on both nodes; its name."""
    edge.serve(namespace, "updated", multiplier(2), serving=TIMEOUT)
    edge.await_ready(namespace, "updated")
    return "updated"


def to(edge: Edge, artifact: Artifact) -> dict[str, object]:
    """The change of spec that asks for another artifact."""
    return {"variants": [variant("any", ["cpu"], edge.models.add(artifact), artifact.sha256)]}


def test_a_model_that_does_not_load_is_put_back_and_reaches_no_second_node(
    edge: Edge, namespace: str, updated: str
) -> None:
    # Nodes are updated in the order of their names.
    untouched = edge.pod(namespace, updated, T4)
    deployment = edge.deployment(namespace, updated, T4)
    good = at(edge.model(namespace, updated), T4)["revision"]
    with edge.traffic(T4, f"http://{untouched.status.pod_ip}:{group.HTTP_PORT}", updated) as said:
        edge.patch(namespace, updated, to(edge, BROKEN))
        edge.await_reason(namespace, updated, "ModelLoadFailed", timeout=25)
        found = edge.await_reason(namespace, updated, "UpdateFailed", timeout=60)
        edge.await_model(namespace, updated, lambda m: m["status"]["readyReplicas"] == 2, "served as before")
    assert len(said) > 20
    assert {answer.get("answer") for answer in said} == {2}
    assert edge.pod(namespace, updated, T4).metadata.uid == untouched.metadata.uid
    assert edge.deployment(namespace, updated, T4).metadata.generation == deployment.metadata.generation
    stalled = condition(found, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "UpdateFailed")
    for sentence in (
        stalled["message"],
        condition(found, "Ready")["message"],
        found["status"]["lastFailure"]["message"],
    ):
        assert "ValueError: this camera is not known" in sentence
    assert f"node {JETSON}" in stalled["message"]
    settled = edge.model(namespace, updated)
    assert at(settled, JETSON)["revision"] == at(settled, T4)["revision"] == good
    assert edge.infer(edge.pod(namespace, updated, JETSON), updated, 1) == 2
    assert list(settled["status"]["failedRevisions"]) == [found["status"]["lastFailure"]["revision"]]


def test_a_good_update_goes_node_by_node_and_fails_no_request_through_the_service(
    edge: Edge, namespace: str, updated: str
) -> None:
    address = edge.core.read_namespaced_service(updated, namespace).spec.cluster_ip
    with edge.traffic(T4, f"http://{address}:{group.HTTP_PORT}", updated) as said:
        edge.patch(namespace, updated, to(edge, multiplier(3)))
        found = edge.await_ready(namespace, updated)
    assert [answer for answer in said if "error" in answer] == []
    assert {answer["answer"] for answer in said} <= {2, 3}
    started = {node: edge.pod(namespace, updated, node).metadata.creation_timestamp for node in (T4, JETSON)}
    ready = {node: _ready_since(edge.pod(namespace, updated, node)) for node in (T4, JETSON)}
    assert started[JETSON] <= ready[JETSON] <= started[T4]
    assert condition(found, "Stalled")["status"] == ""
    assert "lastFailure" not in found["status"]


def test_a_paused_update_waits_for_a_word_and_holds_up_nobody(edge: Edge, namespace: str) -> None:
    edge.serve(namespace, "paused", multiplier(2), node=JETSON)
    edge.await_ready(namespace, "paused")
    before = edge.pod(namespace, "paused").metadata.uid
    edge.patch(namespace, "paused", {"paused": True, **to(edge, multiplier(4))})
    edge.await_reason(namespace, "paused", "Paused")
    edge.serve(namespace, "other", multiplier(5), node=T4)
    edge.await_ready(namespace, "other")
    assert edge.pod(namespace, "paused").metadata.uid == before
    edge.patch(namespace, "paused", {"paused": False})
    edge.await_ready(namespace, "paused")
    assert edge.infer(edge.pod(namespace, "paused"), "paused", 1) == 4


def _ready_since(pod: object) -> object:
    conditions = pod.status.conditions  # type: ignore[attr-defined]
    return next(c.last_transition_time for c in conditions if c.type == "Ready")
