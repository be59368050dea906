"""What holds for every group, whoever is in it and whatever its devices are."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.test_groups import VISION, carried_out, member, orin
from tests.placement.world import catalogue, granted, sure, t4, world

from littoral.api.gpuslice import ISOLATION_ORDER
from littoral.api.inferencemodel import InferenceModel
from littoral.api.quantity import to_mib
from littoral.placement.plan import plan
from littoral.placement.snapshot import Snapshot

FOR = st.sampled_from([["*"], ["t4"], ["jetson-orin"], ["t4", "jetson-orin"], ["nothing"]])
MEMBERS = st.lists(
    st.fixed_dictionaries({
        "memory": st.sampled_from(["0", "100Mi", "600Mi", "3Gi"]),
        "compute": st.sampled_from([0, 10, 45, 70]),
        "isolation": st.sampled_from(["None", "None", "Hard"]),
        "accelerators": FOR,
    }),
    min_size=1,
    max_size=5,
)  # fmt: skip
NODES = st.lists(st.sampled_from(["t4", "t4 in two", "orin"]), min_size=1, max_size=4)
always = settings(deadline=None, max_examples=150)


def models(drawn: list[dict[str, Any]], mode: str) -> list[InferenceModel]:
    return [member("abcde"[number], mode=mode, **each) for number, each in enumerate(drawn)]


def fleet(kinds: list[str]) -> list[Any]:
    made = {"t4": lambda name: t4(name, shares=1), "t4 in two": lambda name: t4(name, shares=2), "orin": orin}
    return [made[kind](f"n{number}") for number, kind in enumerate(kinds)]


@given(MEMBERS, NODES, st.sampled_from(["Replicas", "PerNode"]))
@always
def test_each_slice_holds_all_that_are_served_there_and_nobody_is_forgotten(
    drawn: list[dict[str, Any]], kinds: list[str], mode: str
) -> None:
    asked = {model.metadata.name: model for model in models(drawn, mode)}
    found = plan(world(fleet(kinds), asked.values()))
    for assignment in found.groups[VISION].assignments:
        requests = [asked[part.model].spec.request(asked[part.model].spec.variants[0]) for part in assignment.members]
        overhead = sure(catalogue().get(assignment.profile)).overhead_mib
        needed = sum(to_mib(each.memory or "0") for each in requests) + overhead
        allocation = sure(assignment.target)
        assert to_mib(assignment.request.memory) == needed
        assert to_mib(allocation.memory) >= needed
        assert allocation.compute >= sum(each.compute or 0 for each in requests)
        weakest = ISOLATION_ORDER.index(allocation.isolation)
        assert all(weakest >= ISOLATION_ORDER.index(each.isolation or "None") for each in requests)
        there = [part.model for part in assignment.members], [left.model for left in assignment.left_out]
        assert Counter([*there[0], *there[1]]) == Counter(asked.keys())
    for its in found.nodes.values():
        assert not any(device.overcommitted for device in its.devices)


@given(MEMBERS, NODES, st.sampled_from(["Replicas", "PerNode"]), st.randoms(use_true_random=False))
@always
def test_the_same_models_in_another_order_share_in_the_same_way(
    drawn: list[dict[str, Any]], kinds: list[str], mode: str, order: Any
) -> None:
    asked = models(drawn, mode)
    expected = plan(world(fleet(kinds), asked))
    order.shuffle(asked)
    assert plan(world(fleet(kinds), asked)) == expected


@given(MEMBERS, MEMBERS, NODES, st.sampled_from(["Replicas", "PerNode"]))
@always
def test_whoever_joined_or_left_it_comes_to_rest(
    before: list[dict[str, Any]], after: list[dict[str, Any]], kinds: list[str], mode: str
) -> None:
    snapshot: Snapshot = world(fleet(kinds), models(before, mode))
    snapshot = carried_out(snapshot, plan(snapshot))
    snapshot = replace(snapshot, models={each.metadata.key: each for each in models(after, mode)})
    for _ in range(4):
        found = plan(snapshot)
        snapshot = carried_out(snapshot, found)
    again = plan(snapshot)
    assert again.groups[VISION].releases == ()
    assert [a.slice for a in again.groups[VISION].assignments] == [a.slice for a in found.groups[VISION].assignments]
    for assignment in again.groups[VISION].assignments:
        if not assignment.blocked:
            assert assignment.target == granted(snapshot.slices["ns", assignment.slice])
