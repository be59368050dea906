"""Updates on a real Triton, with clients that never stop asking."""

import pytest
from tests.node.edge import JETSON, T4, Edge, at, condition
from tests.node.models import Artifact, multiplier, variant

from littoral.api import group

pytestmark = pytest.mark.node

BROKEN = multiplier(9, initialize="raise ValueError('this camera is not known')")
SOON = {"serving": {"startupTimeout": "25s"}}
"""For the update that fails; those that succeed have the two minutes of every model here."""


@pytest.fixture(scope="module")
def updated(edge: Edge, namespace: str) -> str:
    """A model that serves on both nodes; its name."""
    edge.serve(namespace, "updated", multiplier(2))
    edge.await_ready(namespace, "updated")
    return "updated"


def to(edge: Edge, artifact: Artifact) -> dict[str, object]:
    """The change of spec that asks for another artifact."""
    return {"variants": [variant("any", ["cpu"], edge.models.add(artifact), artifact.sha256)]}


def test_a_model_that_does_not_load_is_put_back_and_reaches_no_second_node(
    edge: Edge, namespace: str, updated: str
) -> None:
    # Whichever node has what it needs first is updated first.
    pods = {node: edge.pod(namespace, updated, node) for node in (T4, JETSON)}
    deployments = {node: edge.deployment(namespace, updated, node) for node in pods}
    urls = {node: f"http://{pod.status.pod_ip}:{group.HTTP_PORT}" for node, pod in pods.items()}
    good = at(edge.model(namespace, updated), T4)["revision"]
    with edge.traffic(T4, urls[T4], updated) as at_t4, edge.traffic(JETSON, urls[JETSON], updated) as at_jetson:
        edge.patch(namespace, updated, {**SOON, **to(edge, BROKEN)})
        edge.await_reason(namespace, updated, "ModelLoadFailed", timeout=45)
        found = edge.await_reason(namespace, updated, "UpdateFailed", timeout=60)
        edge.await_model(namespace, updated, lambda m: m["status"]["readyReplicas"] == 2, "served as before")
    stalled = condition(found, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "UpdateFailed")
    (touched,) = [node for node in pods if f"node {node}" in stalled["message"]]
    (untouched,) = pods.keys() - {touched}
    said = {T4: at_t4, JETSON: at_jetson}[untouched]
    assert len(said) > 20
    assert [answer for answer in said if answer.get("answer") != 2] == []
    assert edge.pod(namespace, updated, untouched).metadata.uid == pods[untouched].metadata.uid
    after = edge.deployment(namespace, updated, untouched)
    assert after.metadata.generation == deployments[untouched].metadata.generation
    for sentence in (
        stalled["message"],
        condition(found, "Ready")["message"],
        found["status"]["lastFailure"]["message"],
    ):
        assert "ValueError: this camera is not known" in sentence
    settled = edge.model(namespace, updated)
    assert at(settled, JETSON)["revision"] == at(settled, T4)["revision"] == good
    assert edge.infer(edge.pod(namespace, updated, touched), updated, 1) == 2
    assert list(settled["status"]["failedRevisions"]) == [found["status"]["lastFailure"]["revision"]]


def test_a_good_update_waits_while_paused_then_goes_node_by_node_and_fails_no_request(
    edge: Edge, namespace: str, updated: str
) -> None:
    before = {node: edge.pod(namespace, updated, node).metadata.uid for node in (T4, JETSON)}
    spec = {"serving": {"startupTimeout": "2m"}, **to(edge, multiplier(3))}
    address = edge.core.read_namespaced_service(updated, namespace).spec.cluster_ip
    with edge.traffic(T4, f"http://{address}:{group.HTTP_PORT}", updated) as said:
        edge.patch(namespace, updated, {"paused": True, **spec})
        edge.await_reason(namespace, updated, "Paused")
        assert {node: edge.pod(namespace, updated, node).metadata.uid for node in (T4, JETSON)} == before
        edge.patch(namespace, updated, {"paused": False})
        found = edge.await_ready(namespace, updated)
    # Through the Service's address, which leads to whoever is ready.
    assert [answer for answer in said if "error" in answer] == []
    assert {answer["answer"] for answer in said} == {2, 3}
    started = {node: edge.pod(namespace, updated, node).metadata.creation_timestamp for node in (T4, JETSON)}
    ready = {node: _ready_since(edge.pod(namespace, updated, node)) for node in (T4, JETSON)}
    first, second = sorted(started, key=lambda node: started[node])
    assert ready[first] <= started[second]
    assert condition(found, "Stalled")["status"] == ""
    assert "lastFailure" not in found["status"]
    assert edge.infer(edge.pod(namespace, updated, T4), updated, 1) == 3


def _ready_since(pod: object) -> object:
    conditions = pod.status.conditions  # type: ignore[attr-defined]
    return next(c.last_transition_time for c in conditions if c.type == "Ready")
