"""A slice's life on real kubelets: it grows where it is, is left for a larger one elsewhere, and waits for its user."""

import pytest
from tests.node.edge import Edge, at, condition
from tests.node.models import manifest, multiplier, variant
from tests.node.unlike.nodes import GPU, NPU, ORIN, PAIR, VIR04

from littoral.api import group
from rig.waiting import until

pytestmark = pytest.mark.node


def test_a_model_grows_in_place_into_a_larger_partition(edge: Edge, namespace: str) -> None:
    artifact = multiplier(3)
    davinci = variant("davinci", ["ascend-310p"], edge.models.add(artifact), artifact.sha256)
    edge.apply(namespace, manifest("grows", [davinci], slice={"memory": "5Gi"}, node=NPU))
    edge.await_ready(namespace, "grows")
    (before,) = edge.allocations(namespace).items()
    assert before[1]["memory"] == "6Gi"
    assert edge.handed_out(namespace) == edge.granted(namespace)

    edge.patch(namespace, "grows", {"slice": {"memory": "10Gi"}})
    until(
        lambda: edge.handed_out(namespace) == {before[0]: {VIR04: 1}},
        timeout=60,
        interval=0.5,
        failure=lambda: AssertionError(edge.handed_out(namespace)),
    )
    edge.await_ready(namespace, "grows")
    (after,) = edge.allocations(namespace).items()
    assert (after[0], after[1]["memory"], after[1]["boundAt"]) == (before[0], "12Gi", before[1]["boundAt"])
    assert edge.handed_out(namespace) == edge.granted(namespace)
    assert edge.infer(edge.pod(namespace, "grows"), "grows", 4) == 12
    edge.delete(namespace, "grows")  # ends beside the tests that follow: another module needs the partition


def test_a_model_that_outgrows_its_device_serves_elsewhere_before_it_leaves(edge: Edge, namespace: str) -> None:
    variants = []
    for factor, (name, family) in enumerate((("turing", "t4"), ("tegra", "jetson-orin")), 2):
        artifact = multiplier(factor)
        variants.append(variant(name, [family], edge.models.add(artifact), artifact.sha256))
    placement = {"mode": "Replicas"}
    edge.apply(namespace, manifest("leaves", variants, slice={"memory": "1Gi"}, placement=placement))
    edge.await_ready(namespace, "leaves")
    assert edge.pod(namespace, "leaves").spec.node_name == PAIR
    address = edge.core.read_namespaced_service("leaves", namespace).spec.cluster_ip
    with edge.traffic(PAIR, f"http://{address}:{group.HTTP_PORT}", "leaves") as said:
        # More than a share of the T4s.
        edge.patch(namespace, "leaves", {"slice": {"memory": "5Gi"}})

        def left() -> bool:
            pods = edge.core.list_namespaced_pod(namespace, label_selector=f"{group.LABEL_MODEL}=leaves").items
            return [pod.spec.node_name for pod in pods] == [ORIN]

        until(left, timeout=60, interval=0.5, failure=lambda: AssertionError("it is still on the T4s"))
    edge.await_ready(namespace, "leaves")
    assert [answer for answer in said if "error" in answer] == []
    assert {answer["answer"] for answer in said} == {2, 3}


def test_a_reserved_slice_serves_the_model_that_names_it_and_outlives_it(edge: Edge, namespace: str) -> None:
    spec = {"memory": "2Gi", "compute": 20, "accelerators": ["t4"]}
    body = {"apiVersion": group.API_VERSION, "kind": "GPUSlice", "metadata": {"name": "kept"}, "spec": spec}
    edge.apply(namespace, body)
    artifact = multiplier(2)
    turing = variant("turing", ["t4"], edge.models.add(artifact), artifact.sha256)
    edge.apply(namespace, manifest("guest", [turing], sliceRef={"name": "kept"}, placement={"mode": "Replicas"}))
    found = edge.await_ready(namespace, "guest")
    assert at(found, PAIR)["slice"] == "kept"
    assert edge.infer(edge.pod(namespace, "guest"), "guest", 4) == 8
    assert edge.units(namespace)["kept"].keys() == {GPU}
    before = edge.allocations(namespace)["kept"]

    edge.delete(namespace, "guest")
    until(
        lambda: "kept" not in edge.units(namespace),
        timeout=60,
        interval=0.5,
        failure=lambda: AssertionError("the guest's pod is still there"),
    )
    after = edge.allocations(namespace)["kept"]
    assert (after["node"], after["boundAt"]) == (before["node"], before["boundAt"])
    kept = edge.custom.get_namespaced_custom_object(group.GROUP, group.VERSION, namespace, "gpuslices", "kept")
    assert condition(kept, "Bound")["status"] == "True"
