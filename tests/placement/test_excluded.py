"""Devices that refused a pod of ours: what is placed elsewhere, and what stays and says why."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.placement.world import EPOCH, apply, model, node, settled, t4, the, world

from littoral.api.edgenode import Exclusion
from littoral.api.workload import ContainerFacts, PodFacts
from littoral.placement.plan import plan
from littoral.placement.replicas import slice_name
from littoral.placement.snapshot import Snapshot

SAYS = "UnexpectedAdmissionError: Allocate failed"
EXCLUSION = Exclusion(
    device="emulated-t4-0", reason="RefusedByKubelet", message=SAYS, since=EPOCH, until=EPOCH + timedelta(minutes=1)
)


def refused(pod: PodFacts, **more: Any) -> PodFacts:
    """The pod as the kubelet leaves it that would not admit it."""
    blank: dict[str, Any] = {"phase": "Failed", "fetch": ContainerFacts(), "server": ContainerFacts()}
    return replace(pod, **{**blank, "scheduling_message": SAYS, "refused_at": EPOCH, **more})


def excluded(snapshot: Snapshot, name: str = "a") -> Snapshot:
    return replace(snapshot, exclusions={name: (EXCLUSION,)})


def starting() -> Snapshot:
    """A replica bound on `a`, whose pod the kubelet refused."""
    snapshot = world([t4("a")], [model("m")])
    bound, pods = apply(snapshot, plan(snapshot), started=False), apply(snapshot, plan(snapshot)).pods
    return excluded(replace(bound, pods={key: refused(each) for key, each in pods.items()}))


def test_nothing_new_goes_to_a_device_that_refused_a_moment_ago() -> None:
    found = the(excluded(world([t4("a")], [model("m", accelerators=["t4"])])))
    assert found.message == f"1 of 1 waiting: 1 node: 1 whose emulated-t4-0 is not tried for a while: {SAYS}"


def test_another_device_of_the_node_is_none_the_worse() -> None:
    assert the(excluded(world([t4("a")], [model("m", accelerators=["cpu"])]))).waiting == 0


def test_what_never_ran_goes_elsewhere() -> None:
    snapshot = starting()
    wider = world([t4("a"), t4("b")])
    found = the(replace(snapshot, nodes=wider.nodes, edge_nodes=wider.edge_nodes))
    assert ([a.node for a in found.assignments], found.releases) == (["b"], (slice_name("m", "a", 0),))
    assert [move.cause for move in found.moves] == [f"a refused it before it ever ran: {SAYS}"]


def test_without_another_place_it_waits_until_it_is_tried_again() -> None:
    snapshot = starting()
    found = the(snapshot)
    assert (found.assignments, found.reason, len(found.releases)) == ((), "Excluded", 1)
    later = replace(apply(snapshot, plan(snapshot)), exclusions={})
    assert [a.node for a in the(later).assignments] == ["a"]


def test_what_ran_once_stays() -> None:
    snapshot = settled([t4("a"), t4("b")], [model("m")])
    (replica,) = the(snapshot).assignments
    again = {key: refused(each) for key, each in snapshot.pods.items()}
    found = the(excluded(replace(snapshot, pods=again), replica.node))
    assert ([a.node for a in found.assignments], found.releases, found.leaving) == ([replica.node], (), ())


def test_a_refused_pod_has_not_run_and_one_whose_container_ended_has() -> None:
    snapshot = starting()
    ran = {key: refused(each, server=ContainerFacts(exit_code=1)) for key, each in snapshot.pods.items()}
    assert the(replace(snapshot, pods=ran)).releases == ()


def test_under_per_node_an_excluded_node_is_waited_for() -> None:
    found = the(excluded(world([t4("a"), t4("b"), node("c")], [model("m", accelerators=["t4"], mode="PerNode")])))
    assert (found.wanted, found.waiting, found.reason) == (2, 1, "Excluded")
