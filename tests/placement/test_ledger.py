"""What is charged, and what becomes of more than there is."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import (
    apply,
    granted,
    model,
    node,
    pod,
    settled,
    sure,
    t4,
    the,
    world,
)

from littoral.api.gpuslice import GPUSliceStatus
from littoral.api.workload import ContainerFacts
from littoral.placement.plan import plan
from littoral.placement.replicas import slice_name
from littoral.placement.snapshot import Snapshot

KEY = ("ns", "m")


class TestLedger:
    def test_a_terminating_pod_is_charged_after_its_slice_is_gone(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        ending = {key: replace(each, deleting=True) for key, each in snapshot.pods.items()}
        later = replace(snapshot, slices={}, deployments={}, pods=ending, models={})
        later = replace(later, models={("ns", "n"): model("n", accelerators=["cpu"], memory="1Gi")})
        assert the(later, "n").message == "1 of 1 waiting: 1 node: 1 with 624Mi free of 1.1Gi needed"

    def test_a_pod_of_an_older_larger_grant_is_charged_in_place_of_the_slice(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"])])
        (key, mine), *_ = snapshot.pods.items()
        larger = replace(mine, grant=sure(mine.grant).model_copy(update={"memory": "2Gi"}))
        assert plan(replace(snapshot, pods={key: larger})).nodes["a"].devices[-1].memory == 2048

    def test_on_different_devices_both_are_charged(self) -> None:
        snapshot = settled([t4("a"), node("b")], [model("m", accelerators=["t4"])])
        (key, mine), *_ = snapshot.pods.items()
        elsewhere = sure(mine.grant).model_copy(
            update={"node": "b", "device": "cpu", "profile": "cpu", "resources": {}}
        )
        found = plan(replace(snapshot, pods={key: replace(mine, grant=elsewhere)})).nodes
        assert (found["a"].devices[0].memory, found["b"].devices[0].memory) == (1024, 1024)

    @pytest.mark.parametrize("witness", ["pods", "deployments"])
    def test_a_lost_status_is_adopted_from_the_workload(self, witness: str) -> None:
        snapshot = settled([t4("a"), t4("b")], [model("m", replicas=3)])
        lost = {key: each.model_copy(update={"status": GPUSliceStatus()}) for key, each in snapshot.slices.items()}
        other = {"pods", "deployments"} - {witness}
        gone: dict[str, Any] = {name: {} for name in other}
        blind = replace(snapshot, slices=lost, **gone)
        before, after = the(snapshot), the(blind)
        assert [a.current for a in after.assignments] == [None] * 3
        assert [a.target for a in after.assignments] == [
            sure(a.current).model_copy(update={"started_at": sure(a.target).started_at}) for a in before.assignments
        ]
        assert plan(blind).nodes == plan(snapshot).nodes

    def test_a_unified_device_and_the_cores_draw_on_one_account(self) -> None:
        orin = node("a", resources={"nvidia.com/gpu": 2}, labels={"littoral.dev/profile": "emulated-orin"})
        orin = replace(orin, labels={**orin.labels, "nvidia.com/gpu.replicas": "2"}, memory=2000)
        models = [model("m", memory="1000Mi"), model("n", accelerators=["cpu"], memory="900Mi", created=1)]
        found = plan(world([orin], models))
        assert found.models["ns", "m"].waiting == 0
        assert found.models["ns", "n"].message == "1 of 1 waiting: 1 node: 1 with 900Mi free of 964Mi needed"
        assert {load.memory for load in found.nodes["a"].devices} == {1100}

    def test_a_device_known_by_another_name_still_pays(self) -> None:
        snapshot = settled([t4("a")], [model("m", replicas=4)])
        second = t4("a", count=2)
        (load, _) = plan(replace(snapshot, nodes={"a": second})).nodes["a"].devices
        assert (load.device.id, load.units, load.device.units) == ("emulated-t4", 4, 8)


class TestOverCommitment:
    def twice(self, *, started: bool) -> Snapshot:
        """Two operators, each with half the picture, gave the same memory away."""
        one = settled([node("a", memory=1000)], [model("m", accelerators=["cpu"])])
        two = world([node("a", memory=1000)], [model("n", accelerators=["cpu"])])
        two = apply(two, plan(two), minute=2, started=started)
        merged: dict[str, Any] = {
            name: {**getattr(one, name), **getattr(two, name)} for name in ("slices", "pods", "deployments", "models")
        }
        return replace(one, **merged)

    def test_the_youngest_that_never_started_goes(self) -> None:
        found = plan(self.twice(started=False)).models
        assert found["ns", "n"].releases == (slice_name("n", "a", 0),)
        assert (found["ns", "n"].waiting, found["ns", "m"].releases) == (1, ())
        (move,) = found["ns", "n"].moves
        assert move.cause == "more of a was given away than it has, and this is the youngest that never started"

    def test_what_started_stays_and_is_shown(self) -> None:
        found = plan(self.twice(started=True))
        assert [its.releases for its in found.models.values()] == [(), ()]
        assert found.nodes["a"].devices[-1].overcommitted

    def test_a_start_that_nobody_noted_shows_in_its_pods(self) -> None:
        snapshot = self.twice(started=False)
        key = ("ns", slice_name("n", "a", 0))
        seen = pod(key, granted(snapshot.slices[key]), fetch=ContainerFacts(running=True))
        assert plan(replace(snapshot, pods={**snapshot.pods, key: seen})).models["ns", "n"].releases == ()
        waiting = pod(
            key,
            granted(snapshot.slices[key]),
            phase="Pending",
            fetch=ContainerFacts(),
            server=ContainerFacts(),
        )
        assert plan(replace(snapshot, pods={**snapshot.pods, key: waiting})).models["ns", "n"].releases

    def test_an_offline_node_gives_nothing_up_that_may_run_there(self) -> None:
        snapshot = self.twice(started=False)
        cut = replace(snapshot, nodes={"a": replace(snapshot.nodes["a"], ready="Unknown")})
        assert [its.releases for its in plan(cut).models.values()] == [(), ()]

    def test_a_plugin_that_restarts_is_no_over_commitment(self) -> None:
        snapshot = world([t4("a")], [model("m", replicas=2)])
        starting = apply(snapshot, plan(snapshot), started=False)
        flapped = replace(starting, nodes={"a": replace(starting.nodes["a"], resources={"nvidia.com/gpu": 0})})
        assert the(flapped).releases == ()
