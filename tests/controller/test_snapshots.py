"""What of the store a plan sees, and when it would see something else without any event."""

from datetime import timedelta
from typing import Any

from littoral.accelerators.capacity import HOLD
from littoral.accelerators.catalogue import load
from littoral.controller import kinds
from littoral.controller.snapshots import Snapshots
from littoral.controller.store import Store
from littoral.controller.work import utcnow


def body(name: str, version: int, **rest: Any) -> Any:
    return {"metadata": {"name": name, "uid": "u", "resourceVersion": str(version)}, **rest}


def node(version: int, units: int) -> Any:
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "allocatable": {"nvidia.com/gpu": str(units)},
    }
    return body("a", version, status=status)


def excluded(version: int, seconds: float) -> Any:
    now = utcnow()
    exclusion = {
        "device": "t4-0",
        "reason": "Unschedulable",
        "since": now.isoformat(),
        "until": (now + timedelta(seconds=seconds)).isoformat(),
    }
    return body("a", version, spec={}, status={"exclusions": [exclusion]})


def test_a_capacity_that_falls_to_nothing_is_held_and_looked_at_again() -> None:
    store = Store()
    snapshots = Snapshots(store, load)
    store.apply(kinds.NODES, node(1, 4))
    assert snapshots.draw()[1] is None
    store.apply(kinds.NODES, node(2, 0))
    snapshot, due = snapshots.draw()
    assert snapshot.nodes["a"].resources == {"nvidia.com/gpu": 4}
    assert due is not None
    assert 0 < due <= HOLD
    store.apply(kinds.NODES, node(3, 2))
    snapshot, due = snapshots.draw()
    assert (snapshot.nodes["a"].resources, due) == ({"nvidia.com/gpu": 2}, None)


def test_an_exclusion_is_in_the_snapshot_for_as_long_as_it_holds() -> None:
    store = Store()
    snapshots = Snapshots(store, load)
    store.apply(kinds.EDGENODES, excluded(1, 50))
    snapshot, due = snapshots.draw()
    assert [each.device for each in snapshot.exclusions["a"]] == ["t4-0"]
    assert due is not None
    assert 45 < due <= 50
    store.apply(kinds.EDGENODES, excluded(2, -1))
    snapshot, due = snapshots.draw()
    assert (snapshot.exclusions, due) == ({}, None)


def test_namespaces_priorities_and_runtime_classes_are_there() -> None:
    store = Store()
    labelled = body("line", 1)
    store.apply(kinds.NAMESPACES, {"metadata": {**labelled["metadata"], "labels": {"team": "press"}}})
    store.apply(kinds.PRIORITYCLASSES, body("first", 2, value=7))
    store.apply(kinds.RUNTIMECLASSES, body("nvidia", 3, handler="nvidia"))
    snapshot, _ = Snapshots(store, load).draw()
    assert snapshot.namespaces == {"line": {"team": "press"}}
    assert snapshot.priorities == {"first": 7}
    assert snapshot.runtime_classes == frozenset({"nvidia"})


def test_a_node_whose_edge_node_is_yet_to_be_made_is_planned_for_all_the_same() -> None:
    store = Store()
    labels = {"labels": {"nvidia.com/gpu.product": "Tesla-T4"}}
    for name in ("a", "b", "c"):
        store.apply(kinds.NODES, {"metadata": {"name": name, "uid": name, "resourceVersion": "1", **labels}})
    store.apply(kinds.NODES, body("plain", 1))
    store.apply(kinds.EDGENODES, body("a", 1, spec={"pool": "its-own"}))
    store.apply(kinds.EDGENODES, body("b", 1, spec={"pool": ["cannot be read"]}))
    edge_nodes = Snapshots(store, load).draw()[0].edge_nodes
    assert {name: edge.spec.pool for name, edge in edge_nodes.items()} == {"a": "its-own", "c": None}
