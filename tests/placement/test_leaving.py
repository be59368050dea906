"""Placement by example: what goes, when, and why."""

from dataclasses import replace
from typing import Any

from tests.placement.world import (
    apply,
    model,
    node,
    places,
    settled,
    t4,
    the,
)

from littoral.placement.plan import ModelPlan, plan
from littoral.placement.replicas import slice_name
from littoral.placement.snapshot import Snapshot

KEY = ("ns", "m")


class TestWhatGoes:
    def moved(self, snapshot: Snapshot, **changes: Any) -> ModelPlan:
        return the(replace(snapshot, models={KEY: model("m", **changes)}))

    def test_another_pool_replaces_a_replica_on_a_connected_node(self) -> None:
        nodes = [t4("a", labels={"littoral.dev/pool": "x"}), t4("b", labels={"littoral.dev/pool": "y"})]
        snapshot = settled(nodes, [model("m", pools=["x"])])
        found = self.moved(snapshot, pools=["y"])
        assert ([a.node for a in found.assignments], found.leaving) == (["b"], (slice_name("m", "a", 0),))

    def test_a_variant_that_is_gone_replaces_a_replica(self) -> None:
        snapshot = settled([t4("a")], [model("m", accelerators=["t4"])])
        found = self.moved(snapshot, accelerators=["cpu"])
        assert (places(found), found.leaving) == ([("a", "cpu")], (slice_name("m", "a", 0),))
        assert found.assignments[0].slice == slice_name("m", "a", 1)

    def test_scale_down_takes_what_never_started_then_the_youngest(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"])])
        grown = replace(snapshot, models={KEY: model("m", accelerators=["cpu"], replicas=2)})
        grown = apply(grown, plan(grown), minute=2)
        grown = replace(grown, models={KEY: model("m", accelerators=["cpu"], replicas=3)})
        grown = apply(grown, plan(grown), minute=0, started=False)
        names = [slice_name("m", "a", ordinal) for ordinal in range(3)]
        shrink = {n: self.moved(grown, accelerators=["cpu"], replicas=n).releases for n in (2, 1, 0)}
        assert shrink == {2: (names[2],), 1: tuple(sorted(names[1:])), 0: tuple(sorted(names))}

    def test_per_node_leaves_one_on_each_node(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"], replicas=3)])
        found = self.moved(snapshot, accelerators=["cpu"], mode="PerNode")
        assert (len(found.assignments), len(found.releases)) == (1, 2)

    def test_what_is_released_stays_charged_until_it_has_ended(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        models = [model("m", replicas=0), model("next", accelerators=["cpu"], memory="1Gi", created=1)]
        found = plan(replace(snapshot, models={each.metadata.key: each for each in models})).models
        assert len(found["ns", "m"].releases) == 1
        assert found["ns", "next"].waiting == 1
