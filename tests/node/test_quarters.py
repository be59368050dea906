"""What the ledger grants and what the kubelet counts are the same: a T4 under time-slicing in four serves four."""

import pytest
from tests.node.edge import T4, Edge, condition
from tests.node.models import manifest, multiplier, variant

from rig.waiting import until

pytestmark = pytest.mark.node

QUARTER = {"memory": "3Gi", "compute": 25}


def test_the_fifth_quarter_waits_with_its_reason_and_starts_when_one_is_deleted(edge: Edge, namespace: str) -> None:
    artifact = multiplier(2)
    variants = [variant("any", ["t4"], edge.models.add(artifact), artifact.sha256)]
    names = [f"quarter-{number}" for number in range(4)]
    for name in names:
        edge.apply(namespace, manifest(name, variants, slice=QUARTER, node=T4))
    for name in names:
        edge.await_ready(namespace, name)
    held = [unit for units in edge.units(namespace).values() for unit in units["nvidia.com/gpu"]]
    assert sorted(held) == [f"emulated-0::{replica}" for replica in range(4)]
    assert edge.handed_out(namespace) == edge.granted(namespace)

    edge.apply(namespace, manifest("fifth", variants, slice=QUARTER, node=T4))
    waiting = edge.await_reason(namespace, "fifth", "NoUnitLeft")
    assert condition(waiting, "Placed")["message"].endswith("with all 4 nvidia.com/gpu in use")
    assert edge.pods(namespace, "fifth") == []

    edge.delete(namespace, names[0])
    edge.await_ready(namespace, "fifth")
    for name in names[1:]:
        edge.await_ready(namespace, name)
    assert edge.infer(edge.pod(namespace, "fifth"), "fifth", 3) == 6
    refused = [
        p for p in edge.core.list_namespaced_pod(namespace).items if p.status.reason == "UnexpectedAdmissionError"
    ]
    assert refused == []
    until(
        lambda: len(edge.core.list_namespaced_pod(namespace).items) == 4,
        timeout=30,
        failure=lambda: AssertionError("the deleted model's pod is still there"),
    )
