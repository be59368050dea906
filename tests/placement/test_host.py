"""The machine beside its accelerators: what servers claim of it, and who comes too late."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import model, node, places, settled, t4, the, world

from littoral.api.inferencemodel import InferenceModel, Server
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


def stored(name: str, digest: str, size: str = "2Gi", **more: Any) -> InferenceModel:
    """A model whose artifact has this digest (one hex digit) and this declared size."""
    source = {"uri": "https://models/x", "sha256": digest * 64, "size": size}
    return model(name, variants=[{"name": "x", "accelerators": ["t4"], "source": source}], **more)


@pytest.mark.parametrize(
    ("second", "fits"),
    [
        ({}, False),
        ({"digest": "a"}, True),
        ({"digest": "a", "size": "2500Mi"}, True),
        ({"digest": "a", "size": "4Gi"}, False),
        ({"digest": "a", "namespace": "other"}, False),
        ({"size": "900Mi", "namespace": "other"}, True),
    ],
    ids=[
        "another artifact", "the same one", "declared larger", "declared much larger",
        "the same one in another namespace", "a small one",
    ],
)  # fmt: skip
def test_of_a_nodes_disk_models_take_a_quarter_and_each_artifact_once_in_a_namespace(
    second: dict[str, Any], fits: bool
) -> None:
    late = stored("n", **{"digest": "b", "created": 1, **second})
    snapshot = world([replace(t4("a"), disk=12_000)], [stored("m", "a", replicas=2), late])
    found = plan(snapshot).models
    assert found["ns", "m"].waiting == 0
    assert found[late.metadata.key].reason == ("Placed" if fits else "InsufficientDisk")


def test_what_has_its_artifact_on_the_disk_gets_further_replicas_whatever_is_left() -> None:
    serving = settled([replace(t4("a"), disk=12_000)], [stored("m", "a", "3000Mi", replicas=2)])
    grown = replace(serving, models={("ns", "m"): stored("m", "a", "3000Mi", replicas=3)})
    assert len(places(the(grown))) == 3


def test_what_serves_stays_on_a_disk_that_became_too_small() -> None:
    serving = settled([replace(t4("a"), disk=12_000)], [stored("m", "a")])
    smaller = replace(serving, nodes={"a": replace(t4("a"), disk=1_000)})
    shrunk = replace(smaller, models={("ns", "m"): stored("m", "a", memory="256Mi")})
    found = the(shrunk)
    assert (places(found), found.leaving) == (places(the(serving)), ())


def test_models_that_share_a_server_have_their_artifacts_on_the_disk_together() -> None:
    together = [stored(name, digest, memory="256Mi") for name, digest in (("m", "a"), ("n", "b"))]
    grouped = [
        each.model_copy(update={"spec": each.spec.model_copy(update={"server": Server(group="g")})})
        for each in together
    ]
    assert the(world([replace(t4("a"), disk=17_000)], grouped)).waiting == 0
    found = the(world([replace(t4("a"), disk=12_000)], grouped))
    assert found.message.endswith("1 with 2.9Gi free of 4Gi needed in the quarter of its disk that models may take")


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
