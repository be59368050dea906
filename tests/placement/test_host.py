"""The machine beside its accelerators: what servers claim of it, and who comes too late."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import model, node, places, settled, t4, the, world

from littoral.placement.plan import plan

HTTP = {"http": 9000, "grpc": 9001, "metrics": 9002}
SOURCE = {"uri": "https://models/x", "sha256": "0" * 64, "size": "2Gi"}


@pytest.mark.parametrize("network", ["HostPort", "Host"])
@pytest.mark.parametrize(
    "ports", [{"http": 8001, "grpc": 1, "metrics": 2}, {"grpc": 8000}, {"metrics": 8001, "grpc": 3}]
)
def test_two_servers_with_a_port_in_common_are_on_two_nodes(network: str, ports: dict[str, int]) -> None:
    models = [
        model("one", serving={"network": network}),
        model("two", serving={"network": network, "ports": {**HTTP, **ports}}, created=1),
    ]
    found = plan(world([t4("a"), t4("b")], models)).models
    assert {a.node for its in found.values() for a in its.assignments} == {"a", "b"}


def test_other_ports_and_a_pods_own_are_no_hindrance() -> None:
    models = [
        model("one", serving={"network": "Host"}),
        model("two", serving={"network": "Host", "ports": HTTP}, created=1),
        model("three", serving={"network": "Pod"}, created=2),
    ]
    found = plan(world([t4("a")], models)).models
    assert [its.waiting for its in found.values()] == [0, 0, 0]


def test_a_port_is_held_by_what_is_bound() -> None:
    snapshot = settled([t4("a")], [model("one", serving={"network": "Host"}, created=9)])
    older = model("m", serving={"network": "Host"})
    found = the(replace(snapshot, models={**snapshot.models, older.metadata.key: older}))
    assert found.reason == "PortInUse"


def test_granted_cores_and_cores_beside_an_accelerator_are_the_same_cores() -> None:
    models = [
        model("gpu", accelerators=["t4"], serving={"resources": {"cpu": "5"}}),
        model("m", accelerators=["cpu"], compute=50, created=1),
    ]
    found = the(world([t4("a")], models))
    assert found.message == "1 of 1 waiting: 1 node: 1 with 3 cores free of 4 needed"


def test_memory_beside_a_unified_device_is_the_devices_own() -> None:
    orin = node("a", resources={"nvidia.com/gpu": 1}, labels={"littoral.dev/profile": "emulated-orin"}, memory=2000)
    asked: dict[str, Any] = {"memory": "1400Mi", "accelerators": ["jetson-orin"]}
    assert the(world([orin], [model("m", **asked)])).waiting == 0
    found = the(world([orin], [model("m", serving={"resources": {"memory": "600Mi"}}, **asked)]))
    assert found.message == "1 of 1 waiting: 1 node: 1 with 1.4Gi free of 1.5Gi needed"


def test_what_servers_take_of_node_memory_shows_on_the_node() -> None:
    found = plan(world([t4("a")], [model("m", serving={"resources": {"memory": "600Mi"}})]))
    assert found.nodes["a"].devices[-1].memory == 600


def test_a_models_artifact_is_on_a_nodes_disk_once() -> None:
    variants = [{"name": "x", "accelerators": ["t4"], "source": SOURCE}]
    two = [model("m", replicas=2, variants=variants), model("n", variants=variants, created=1)]
    snapshot = world([replace(t4("a"), disk=3000)], two)
    assert (the(snapshot).waiting, the(snapshot, "n").reason) == (0, "InsufficientDisk")
    serving = settled([replace(t4("a"), disk=3000)], two[:1])
    grown = replace(serving, models={("ns", "m"): model("m", replicas=3, variants=variants)})
    assert len(places(the(grown))) == 3


def test_what_a_node_does_not_say_limits_nothing() -> None:
    variants = [{"name": "x", "accelerators": ["t4"], "source": SOURCE}]
    silent = replace(t4("a"), disk=0, pods=0, cpu=0)
    found = the(world([silent], [model("m", replicas=4, variants=variants, serving={"resources": {"cpu": "4"}})]))
    assert found.waiting == 0


def test_a_pod_that_ends_late_is_a_pod_still() -> None:
    snapshot = settled([replace(t4("a"), pods=1)], [model("one")])
    ending = {key: replace(each, deleting=True) for key, each in snapshot.pods.items()}
    late = replace(snapshot, slices={}, deployments={}, pods=ending, models={("ns", "m"): model("m")})
    assert the(late).message == "1 of 1 waiting: 1 node: 1 with all 1 pods in use"


def test_cores_that_grow_in_place_are_gone_for_newcomers() -> None:
    snapshot = settled([t4("a")], [model("m", accelerators=["cpu"], compute=10)])
    grown = model("m", accelerators=["cpu"], compute=60)
    late = model("late", accelerators=["t4"], serving={"resources": {"cpu": "5"}}, created=1)
    found = plan(replace(snapshot, models={each.metadata.key: each for each in (grown, late)})).models
    assert (found["ns", "m"].assignments[0].blocked, found["ns", "late"].reason) == ("", "InsufficientCpu")
