"""Two T4s under one resource name: the kubelet picks the device and nobody says which, so every grant is a share."""

from collections import Counter

import pytest
from tests.node.edge import Edge, condition
from tests.node.models import manifest, multiplier, variant
from tests.node.unlike.nodes import GPU, PAIR

from littoral.api.quantity import to_mib

pytestmark = pytest.mark.node

SHARE = "3840Mi"
"""A quarter of a T4."""


@pytest.fixture(scope="module")
def six(edge: Edge, namespace: str) -> str:
    """Six replicas of a model, more than one of the T4s has units for, Ready."""
    artifact = multiplier(2)
    turing = variant("turing", ["t4"], edge.models.add(artifact), artifact.sha256)
    placement = {"mode": "Replicas"}
    edge.apply(namespace, manifest("six", [turing], slice={"memory": "1Gi"}, replicas=6, placement=placement))
    edge.await_ready(namespace, "six")
    return "six"


def test_more_replicas_run_than_one_device_has_units(edge: Edge, namespace: str, six: str) -> None:
    pods = edge.pods(namespace, six, PAIR)
    assert [edge.infer(pod, six, 4) for pod in pods] == [8] * 6
    held = [unit for units in edge.units(namespace).values() for unit in units[GPU]]
    assert len(held) == len(set(held)) == 6
    assert {unit.partition("::")[0] for unit in held} == {"emulated-0", "emulated-1"}
    assert edge.handed_out(namespace) == edge.granted(namespace)


def test_whichever_device_the_kubelet_picked_no_device_is_over_committed(edge: Edge, namespace: str, six: str) -> None:
    granted = edge.allocations(namespace)
    assert {each["memory"] for each in granted.values()} == {SHARE}
    devices: Counter[str] = Counter()
    for name, units in edge.units(namespace).items():
        (unit,) = units[GPU]
        devices[unit.partition("::")[0]] += to_mib(granted[name]["memory"])
    assert max(devices.values()) <= to_mib("15360Mi")


def test_what_is_larger_than_a_share_is_refused_though_a_device_could_hold_it(edge: Edge, namespace: str) -> None:
    artifact = multiplier(2)
    turing = variant("turing", ["t4"], edge.models.add(artifact), artifact.sha256)
    edge.apply(namespace, manifest("large", [turing], slice={"memory": "5Gi"}, node=PAIR))
    waiting = edge.await_reason(namespace, "large", "ShareTooSmall")
    assert "cut into 4 shares of 3.8Gi, 5.1Gi needed" in condition(waiting, "Placed")["message"]
