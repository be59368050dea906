"""Somebody who is not ours took the last unit: the scheduler refuses our pod, the model goes elsewhere or says why."""

from collections.abc import Iterator

import pytest
from tests.node.edge import Edge, Object, at, condition
from tests.node.models import manifest, multiplier, variant
from tests.node.unlike.nodes import NPU, PAIR, VIR04

from rig import kube
from rig.images import IMAGES
from rig.waiting import until

pytestmark = pytest.mark.node

INSUFFICIENT = f"Insufficient {VIR04}"


@pytest.fixture(scope="module")
def taken(edge: Edge, namespace: str) -> Iterator[None]:
    """A pod of a stranger's holds the NPU's one partition of four cores; the operator watches no such pods."""
    container = {
        "name": "main",
        "image": IMAGES["littoral"].tag,
        "command": ["sleep", "infinity"],
        "resources": {"limits": {VIR04: "1"}},
        "securityContext": {"runAsUser": 1000},
    }
    spec = {"nodeName": NPU, "containers": [container], "terminationGracePeriodSeconds": 0}
    # What earlier tests had there may still be ending: the kubelet would refuse the stranger, the ledger our model.
    until(lambda: free(edge), timeout=60, interval=0.5, failure=lambda: AssertionError(edge.edge_node(NPU)["status"]))
    edge.core.create_namespaced_pod(namespace, {"metadata": {"name": "stranger"}, "spec": spec})

    def runs() -> bool:
        return kube.is_ready(edge.core.read_namespaced_pod("stranger", namespace).status)

    until(runs, timeout=60, failure=lambda: AssertionError(edge.core.read_namespaced_pod("stranger", namespace)))
    assert holders(edge) == ["stranger"]
    yield
    edge.core.delete_namespaced_pod("stranger", namespace)


def holders(edge: Edge) -> list[str]:
    """The pods that have the partition, by the kubelet's account."""
    return [each.pod for each in edge.cluster.nodes[NPU].allocated() if each.resource == VIR04]


def free(edge: Edge) -> bool:
    """Whether neither the kubelet nor the ledger has given anything of the NPU away."""
    return not holders(edge) and edge.edge_node(NPU)["status"]["devices"][0]["granted"] in {"0", "0Mi"}


def npu_only(edge: Edge) -> Object:
    """A variant that takes no less than four cores."""
    artifact = multiplier(3)
    found = variant("davinci", ["ascend-310p"], edge.models.add(artifact), artifact.sha256)
    return {**found, "slice": {"memory": "10Gi"}}


def test_a_model_that_is_refused_goes_where_its_next_variant_fits(edge: Edge, namespace: str, taken: None) -> None:
    artifact = multiplier(2)
    turing = variant("turing", ["t4"], edge.models.add(artifact), artifact.sha256)
    placement = {"mode": "Replicas"}
    edge.apply(namespace, manifest("goes", [npu_only(edge), turing], replicas=1, placement=placement))
    found = edge.await_ready(namespace, "goes")
    assert at(found, PAIR)["variant"] == "turing"
    assert edge.infer(edge.pod(namespace, "goes", PAIR), "goes", 3) == 6
    (exclusion,) = edge.edge_node(NPU)["status"]["exclusions"]
    assert (exclusion["device"], exclusion["reason"]) == ("emulated-310p-vnpu", "Unschedulable")
    assert INSUFFICIENT in exclusion["message"]
    until(
        lambda: edge.handed_out(namespace) == edge.granted(namespace),
        timeout=30,
        failure=lambda: AssertionError("the refused pod is still there"),
    )


def test_a_model_with_nowhere_else_to_go_says_why(edge: Edge, namespace: str, taken: None) -> None:
    # "goes" has left the device, or it would be the one that is in the way.
    assert {each["node"] for each in edge.allocations(namespace).values()} == {PAIR}
    edge.apply(namespace, manifest("waits", [npu_only(edge)], replicas=1, placement={"mode": "Replicas"}))
    waiting = edge.await_reason(namespace, "waits", "Excluded")
    assert INSUFFICIENT in condition(waiting, "Placed")["message"]
    assert edge.pods(namespace, "waits") == []
