"""A capacity that flaps: what is planned with while a device plugin is away, and for how long."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.accelerators.capacity import HOLD, Steady, next_due, settle, steady
from littoral.api.workload import NodeFacts

GPU, SHARED, NPU = "nvidia.com/gpu", "nvidia.com/gpu.shared", "huawei.com/Ascend310P"


def node(resources: Mapping[str, int], *, uid: str = "1", boot: str = "b", ready: str = "True") -> NodeFacts:
    return NodeFacts("n", uid=uid, boot_id=boot, resources=resources, ready="True" if ready == "True" else "Unknown")


def after(*steps: tuple[float, NodeFacts]) -> Steady:
    state = None
    for now, facts in steps:
        state = steady(state, facts, now)
    assert state is not None
    return state


class TestAFall:
    @pytest.mark.parametrize("fallen", [{GPU: 0}, {}])
    def test_to_nothing_is_held(self, fallen: dict[str, int]) -> None:
        state = after((0, node({GPU: 4})), (10, node(fallen)))
        assert state.facts.resources[GPU] == 4
        assert state.due(now=10) == HOLD
        assert state.due(now=40) == HOLD - 30

    def test_ends_when_its_time_is_over(self) -> None:
        fallen = node({GPU: 0})
        steps = (0, node({GPU: 4})), (10, fallen), (10 + HOLD - 1, fallen)
        assert after(*steps).facts.resources == {GPU: 4}
        over = after(*steps, (10 + HOLD, fallen))
        assert (over.facts, over.due(now=10 + HOLD)) == (fallen, None)

    def test_does_not_begin_anew_with_every_report(self) -> None:
        reports = [(10.0 + second, node({GPU: 0})) for second in range(0, 95, 5)]
        assert after((0, node({GPU: 4})), *reports).facts.resources == {GPU: 0}

    def test_to_another_figure_passes(self) -> None:
        """A card has died: that is no restart."""
        state = after((0, node({GPU: 4})), (10, node({GPU: 2})))
        assert (state.facts.resources, state.due(now=10)) == ({GPU: 2}, None)

    def test_is_held_for_each_resource(self) -> None:
        state = after((0, node({GPU: 4, NPU: 2})), (10, node({GPU: 0, NPU: 2})), (50, node({GPU: 0, NPU: 0})))
        assert state.facts.resources == {GPU: 4, NPU: 2}
        assert state.due(now=50) == HOLD - 40
        later = steady(state, node({GPU: 0, NPU: 0}), 10 + HOLD)
        assert later.facts.resources == {GPU: 0, NPU: 2}


class TestWhatPassesAtOnce:
    @pytest.mark.parametrize("units", [1, 4, 8])
    def test_a_rise(self, units: int) -> None:
        state = after((0, node({GPU: 4})), (10, node({})), (20, node({GPU: units})))
        assert (state.facts.resources, state.due(now=20)) == ({GPU: units}, None)

    @pytest.mark.parametrize("other", [node({}, uid="2"), node({}, boot="c")])
    def test_a_node_made_again_or_rebooted(self, other: NodeFacts) -> None:
        assert after((0, node({GPU: 4})), (10, other)).facts is other

    @pytest.mark.parametrize("between", [[], [(5.0, node({GPU: 0}))]])
    def test_another_resource_of_the_same_plugin(self, between: list[tuple[float, NodeFacts]]) -> None:
        state = after((0, node({GPU: 1})), *between, (10, node({GPU: 0, SHARED: 4})))
        assert state.facts.resources == {GPU: 0, SHARED: 4}

    def test_what_is_no_capacity(self) -> None:
        labelled = replace(node({GPU: 0}), labels={"a": "b"})
        assert after((0, node({GPU: 4})), (10, labelled)).facts == replace(labelled, resources={GPU: 4})


def test_an_offline_node_keeps_what_it_had() -> None:
    away = node({GPU: 0}, ready="Unknown")
    state = after((0, node({GPU: 4})), (10, away), (10 + 10 * HOLD, away))
    assert state.facts.resources == {GPU: 4}
    assert steady(state, node({GPU: 0}), 10 + 10 * HOLD).facts.resources == {GPU: 0}


def test_what_has_not_changed_is_the_same_value() -> None:
    """What is worked out about a Node is kept by the identity of its facts."""
    facts, fallen = node({GPU: 4}), node({GPU: 0})
    first = steady(None, facts, 0)
    assert steady(first, facts, 5) is first
    held = steady(first, fallen, 10)
    assert steady(held, fallen, 20) is held


def test_a_fleet() -> None:
    before = settle({}, {"a": node({GPU: 4}), "b": node({GPU: 1}), "c": node({})}, 0)
    states = settle(before, {"a": node({GPU: 0}), "b": node({GPU: 1})}, 10)
    assert [states[name].facts.resources[GPU] for name in ("a", "b")] == [4, 1]
    assert set(states) == {"a", "b"}
    assert next_due(states.values(), 20) == HOLD - 10
    assert next_due(before.values(), 20) is None


REPORTS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=30)


@given(REPORTS)
def test_at_any_moment(reports: list[tuple[int, int, int]]) -> None:
    """Never above the last figure that the Node itself gave, never held past HOLD, and looked at again in time."""
    state, now = None, 0.0
    last = {GPU: 0, NPU: 0}
    for seconds, gpu, npu in reports:
        now += seconds
        seen = node({GPU: gpu, NPU: npu})
        state = steady(state, seen, now)
        for name, units in seen.resources.items():
            planned = state.facts.resources[name]
            assert planned in ({units} if units else {0, last[name]})
            assert planned == units or now - state.held[name] < HOLD
            last[name] = units or last[name]
        due = state.due(now)
        assert due is None or 0 < due <= HOLD
        assert (due is None) == (state.facts is seen)
