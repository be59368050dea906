"""A planner that follows a fleet gives at every step what a plan from nothing gives."""

from collections.abc import Mapping
from dataclasses import fields, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.fleet import EVENTS, cut_off, demand, fleet, joined, machine, recut, respecified, rng
from tests.placement.world import apply, model, settled, t4

from littoral.api.inferencemodel import Server
from littoral.placement.plan import plan
from littoral.placement.planner import Planner
from littoral.placement.snapshot import Snapshot


def kept(old: Snapshot, new: Snapshot) -> Snapshot:
    """The new snapshot with the old one's objects where they are equal, as the store keeps what nobody wrote."""

    def same(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[Any, Any]:
        return {key: before[key] if before.get(key) == value else value for key, value in after.items()}

    maps: dict[str, Any] = {
        each.name: getattr(new, each.name) for each in fields(new) if isinstance(getattr(new, each.name), Mapping)
    }
    same_maps: dict[str, Any] = {name: same(getattr(old, name), after) for name, after in maps.items()}
    return replace(new, **same_maps)


def grouped(draw: Random, snapshot: Snapshot) -> Snapshot:
    """Some models share a server from now on, or no longer."""
    models = dict(snapshot.models)
    for key, each in models.items():
        if each.spec.slice_ref is None and draw.random() < 0.5:
            server = Server(group=draw.choice([None, "vision", "sound"]))
            models[key] = each.model_copy(update={"spec": each.spec.model_copy(update={"server": server})})
    return replace(snapshot, models=models)


def widened(draw: Random, snapshot: Snapshot) -> Snapshot:
    """A machine is added, or one whose EdgeNode is taken away."""
    if draw.random() < 0.3 and snapshot.edge_nodes:
        name = draw.choice(sorted(snapshot.edge_nodes))
        return replace(snapshot, edge_nodes={key: each for key, each in snapshot.edge_nodes.items() if key != name})
    facts, edge = machine(draw, f"n{draw.randint(0, 9)}")
    nodes, edges = {**snapshot.nodes, facts.name: facts}, {**snapshot.edge_nodes, facts.name: edge}
    return replace(snapshot, nodes=nodes, edge_nodes=edges)


def partly(draw: Random, snapshot: Snapshot, after: Snapshot) -> Snapshot:
    """Of what the plan writes only some has been written yet."""
    maps: dict[str, Any] = {}
    for name in ("slices", "pods", "deployments"):
        old, new = getattr(snapshot, name), getattr(after, name)
        late = {key for key in old.keys() | new.keys() if draw.random() < 0.3}
        maps[name] = {
            key: each for key, each in (*new.items(), *old.items()) if (key in old if key in late else key in new)
        }
        maps[name] |= {key: each for key, each in new.items() if key not in late}
    return replace(after, **maps)


def lively(draw: Random) -> Snapshot:
    snapshot = fleet(draw)
    for index in range(draw.randint(0, 6)):
        snapshot = widened(draw, snapshot)
        key = ("ns", f"k{index}")
        snapshot = replace(snapshot, models={**snapshot.models, key: demand(draw, key[1])})
    return snapshot


MORE = (*EVENTS, grouped, widened, respecified, joined, cut_off, recut)


@given(st.integers(0, 2**64))
@settings(deadline=None, max_examples=300)
def test_it_gives_at_every_step_what_a_plan_from_nothing_gives(seed: int) -> None:
    draw = rng(seed)
    planner, snapshot = Planner(), lively(draw)
    for minute in range(8):
        found = planner.plan(snapshot)
        assert found == plan(snapshot)
        after = snapshot
        if draw.random() < 0.7:
            after = kept(snapshot, apply(snapshot, found, minute=minute, started=draw.random() < 0.7))
            after = partly(draw, snapshot, after) if draw.random() < 0.4 else after
        for event in draw.sample(MORE, draw.choice([0, 1, 1, 2])):
            after = kept(after, event(draw, after))
        snapshot = after


def test_a_plan_that_failed_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settled([t4("a"), t4("b")], [model("m")])
    after = replace(before, models={("ns", "m"): model("m", replicas=3)})
    planner = Planner()
    planner.plan(before)

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("littoral.placement.planner.draw_up", fail)
        with pytest.raises(ZeroDivisionError):
            planner.plan(after)
    assert planner.plan(replace(after)) == plan(after)
