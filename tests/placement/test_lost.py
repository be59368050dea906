"""Devices that disappear under what is bound to them."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import apply, edge, model, node, reservation, settled, t4, the, world

from littoral.api.workload import NodeFacts
from littoral.placement.plan import plan

GONE = "emulated-t4-0 has disappeared from a: what is bound to it stays bound until it is back"
SILENT = "a no longer advertises nvidia.com/gpu for emulated-t4-0: see that its device plugin runs"


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (t4("a"), ""),
        (t4("a", count=2), ""),
        (t4("a", shares=1), ""),
        (node("a"), GONE),
        (replace(t4("a"), resources={"nvidia.com/gpu": 0}), SILENT),
        (replace(t4("a"), resources={}), SILENT),
        (node("a", ready="Unknown"), ""),
        (node("a", ready="False"), GONE),
    ],
)
def test_a_replica_whose_device_is_gone_stays_and_says_so(now: NodeFacts, sentence: str) -> None:
    snapshot = settled([t4("a")], [model("m", accelerators=["t4"])])
    found = the(replace(snapshot, nodes={"a": now}))
    assert [(a.node, a.lost, a.target == a.current) for a in found.assignments] == [("a", sentence, True)]
    assert (found.releases, found.leaving, found.waiting) == ((), (), 0)


@pytest.mark.parametrize(("now", "lost"), [(t4("a"), False), (node("a"), True), (node("a", ready="Unknown"), False)])
def test_a_reservation_whose_device_is_gone_stays_bound(now: NodeFacts, lost: bool) -> None:
    snapshot = world([t4("a")], slices=[reservation("mine", "1Gi", accelerators=["t4"])])
    bound = apply(snapshot, plan(snapshot))
    found = plan(replace(bound, nodes={"a": now})).slices["ns", "mine"]
    assert (found.lost, found.reason, found.node) == (lost, "DeviceLost" if lost else "Bound", "a")
    assert found.allocation == bound.slices["ns", "mine"].status.allocation
    assert (found.message == GONE) is lost


def test_a_device_of_the_runtime_is_lost_with_its_declaration() -> None:
    declared: dict[str, Any] = {"accelerators": [{"profile": "emulated-nano"}]}
    snapshot = settled([node("a")], [model("m", accelerators=["jetson-orin"])], edges=[edge("a", **declared)])
    assert [a.lost for a in the(snapshot).assignments] == [""]
    found = the(replace(snapshot, edge_nodes={"a": edge("a")}))
    assert [a.lost for a in found.assignments] == [
        "emulated-nano-0 has disappeared from a: what is bound to it stays bound until it is back"
    ]
