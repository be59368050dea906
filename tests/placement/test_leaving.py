"""Placement by example: what goes, when, and why."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import apply, edge, granted, model, node, places, pod, settled, t4, the, world

from littoral.api.workload import ContainerFacts
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

    def test_scale_down_keeps_what_answers(self) -> None:
        snapshot = settled([node("a"), node("b")], [model("m", accelerators=["cpu"], replicas=2)])
        for key, silent in snapshot.pods.items():
            pods = {**snapshot.pods, key: replace(silent, server=ContainerFacts(running=True))}
            found = self.moved(replace(snapshot, pods=pods), accelerators=["cpu"])
            assert found.releases == (key[1],)

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


class TestBoundBeforeReleased:
    """What serves and may not stay goes when another answers in its place."""

    POOLS = ({"littoral.dev/pool": "x"}, {"littoral.dev/pool": "y"})

    def sent(self, replicas: int = 1, **more: Any) -> Snapshot:
        """Replicas serve in pool x, and their user sends them to pool y."""
        nodes = [t4("a", labels=self.POOLS[0]), t4("b", labels=self.POOLS[1], **more)]
        snapshot = settled(nodes, [model("m", replicas=replicas, pools=["x"])])
        return replace(snapshot, models={KEY: model("m", replicas=replicas, pools=["y"])})

    def test_the_cause_is_told(self) -> None:
        (move,) = the(self.sent()).moves
        assert (move.node, move.cause) == ("a", "a is a node in other pools")

    def test_it_goes_when_the_other_answers(self) -> None:
        snapshot = self.sent()
        bound = apply(snapshot, plan(snapshot), started=False)
        assert (the(bound).leaving, the(bound).releases) == ((slice_name("m", "a", 0),), ())
        answers = apply(snapshot, plan(snapshot))
        assert (the(answers).leaving, the(answers).releases) == ((), (slice_name("m", "a", 0),))

    def test_one_goes_for_each_that_answers(self) -> None:
        snapshot = self.sent(replicas=2)
        bound = apply(snapshot, plan(snapshot), started=False)
        first = min(bound.slices.keys() - snapshot.slices.keys())
        answers = {**bound.pods, first: pod(first, granted(bound.slices[first]), model="m")}
        found = the(replace(bound, pods=answers))
        assert (len(found.leaving), len(found.releases)) == (1, 1)

    def test_without_another_place_it_serves_on(self) -> None:
        found = the(self.sent(unschedulable=True))
        assert (found.leaving, found.releases, found.waiting) == ((slice_name("m", "a", 0),), (), 1)
        assert found.message == ("1 of 1 waiting: 2 nodes: 1 in other pools, 1 cordoned; 1 to go when others answer")

    def test_what_never_started_goes_at_once(self) -> None:
        nodes = [t4("a", labels=self.POOLS[0]), t4("b", labels=self.POOLS[1])]
        snapshot = world(nodes, [model("m", pools=["x"])])
        snapshot = apply(snapshot, plan(snapshot), started=False)
        found = the(replace(snapshot, models={KEY: model("m", pools=["y"])}))
        assert (found.leaving, len(found.releases)) == ((), 1)

    def test_what_is_wanted_no_more_is_not_waited_for(self) -> None:
        snapshot = self.sent(replicas=2)
        found = the(replace(snapshot, models={KEY: model("m", replicas=1, pools=["y"])}))
        assert (len(found.leaving), len(found.releases)) == (1, 1)
        none = the(replace(snapshot, models={KEY: model("m", replicas=0, pools=["y"])}))
        assert (none.leaving, len(none.releases)) == ((), 2)

    def test_under_per_node_there_is_nothing_to_wait_for(self) -> None:
        nodes = [t4("a", labels=self.POOLS[0]), t4("b", labels=self.POOLS[1])]
        snapshot = settled(nodes, [model("m", mode="PerNode", pools=["x"])])
        found = the(replace(snapshot, models={KEY: model("m", mode="PerNode", pools=["y"])}))
        assert (found.leaving, len(found.releases)) == ((), 1)

    @pytest.mark.parametrize(
        ("change", "cause"),
        [
            ({"nodeSelector": {"rack": "7"}}, "a is a node without the labels of nodeSelector"),
            ({"accelerators": ["cpu"], "pools": []}, "a is a node without a variant for emulated-t4"),
        ],
    )
    def test_whatever_the_user_wants_otherwise(self, change: dict[str, Any], cause: str) -> None:
        nodes = [t4("a", labels=self.POOLS[0]), t4("b", labels={**self.POOLS[1], "rack": "7"})]
        snapshot = settled(nodes, [model("m", pools=["x"])])
        found = the(replace(snapshot, models={KEY: model("m", **change)}))
        assert (len(found.assignments), [move.cause for move in found.moves]) == (1, [cause])
        assert found.leaving == (slice_name("m", "a", 0),)

    def test_a_machine_that_its_owner_closes_is_left(self) -> None:
        snapshot = settled([node("a"), node("b")], [model("m", accelerators=["cpu"])])
        (there,) = (a.node for a in the(snapshot).assignments)
        closed = edge(there, allowedNamespaces={"selector": {"matchLabels": {"team": "other"}}})
        found = the(replace(snapshot, edge_nodes={**snapshot.edge_nodes, there: closed}))
        assert (len(found.assignments), len(found.leaving)) == (1, 1)
        assert found.moves[0].cause == f"{there} is a node closed to its namespace"


class TestFiguresThatDoNotFit:
    """New figures for which a replica's own device has no room."""

    def grown(self, *, other: int) -> Snapshot:
        """It asks for 2Gi where 1.2Gi are; beside its node there is one of so many MiB."""
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        wider = world([node("a", memory=1200), node("b", memory=other)])
        grown = {KEY: model("m", accelerators=["cpu"], memory="2Gi")}
        return replace(snapshot, nodes=wider.nodes, edge_nodes=wider.edge_nodes, models=grown)

    def test_are_had_elsewhere_before_the_old_ones_go(self) -> None:
        snapshot = self.grown(other=4000)
        found = the(snapshot)
        assert ([(a.node, a.blocked) for a in found.assignments], found.waiting) == ([("b", "")], 0)
        assert (found.leaving, found.releases) == ((slice_name("m", "a", 0),), ())
        assert found.moves[0].cause == "no room on a (with 1.2Gi free of 2.1Gi needed)"
        bound = apply(snapshot, found=plan(snapshot), started=False)
        assert [a.node for a in the(bound).assignments] == ["b"]
        assert the(bound).leaving == found.leaving
        answers = apply(snapshot, plan(snapshot))
        assert (the(answers).leaving, the(answers).releases) == ((), found.leaving)
        done = apply(answers, plan(answers))
        assert ([a.node for a in the(done).assignments], the(done).moves) == (["b"], ())

    def test_without_another_place_it_stays_as_it_is(self) -> None:
        (replica,) = the(self.grown(other=1000)).assignments
        assert (replica.node, replica.target) == ("a", None)
        assert replica.blocked == "stays as it is: no room on a (with 1.2Gi free of 2.1Gi needed)"

    def test_a_user_who_thinks_better_of_it_keeps_what_served(self) -> None:
        snapshot = self.grown(other=4000)
        bound = apply(snapshot, plan(snapshot), started=False)
        found = the(replace(bound, models={KEY: model("m", accelerators=["cpu"])}))
        assert ([a.node for a in found.assignments], found.releases) == (["a"], (slice_name("m", "b", 0),))

    def test_one_that_never_started_is_not_waited_for(self) -> None:
        snapshot = world([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        starting = apply(snapshot, plan(snapshot), started=False)
        wider = self.grown(other=4000)
        found = the(replace(wider, slices=starting.slices, pods={}, deployments=starting.deployments))
        assert ([a.node for a in found.assignments], found.releases) == (["b"], (slice_name("m", "a", 0),))

    def test_figures_that_no_platform_here_meets_are_sought_elsewhere_too(self) -> None:
        old = node("a", labels={"littoral.dev/profile": "emulated-nano", "littoral.dev/stack": "jetpack-5.1"})
        variants: list[dict[str, Any]] = [{"name": "x", "accelerators": ["jetson-orin"]}]
        snapshot = settled([old], [model("m", variants=variants)])
        wants = {KEY: model("m", variants=[{**variants[0], "requires": {"jetpack": "6.2"}}])}
        blocked = the(replace(snapshot, models=wants)).assignments[0].blocked
        assert blocked == "stays as it is: it cannot be served on a (with jetpack 5.1, 6.2 needed)"
        wider = world([old, replace(old, name="b", labels={**old.labels, "littoral.dev/stack": "jetpack-6.2"})])
        found = the(replace(snapshot, models=wants, nodes=wider.nodes, edge_nodes=wider.edge_nodes))
        assert ([a.node for a in found.assignments], found.leaving) == (["b"], (slice_name("m", "a", 0),))
