"""The patch between two states, and whose object it is that has the name already."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.controller import kinds
from littoral.controller.errors import AlreadyExists
from littoral.controller.store import Store
from littoral.controller.work import PLAN, Work
from littoral.controller.writer import NameConflictError, Writer, merge_patch

VALUES = st.recursive(
    st.booleans() | st.integers(0, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def applied(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_the_patch_makes_the_new_out_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = merge_patch(old, new)
    assert applied(old, patch) == new
    assert (patch == {}) is (old == new)


def owner(uid: str) -> list[dict[str, Any]]:
    return [{"kind": "GPUSlice", "name": "s", "uid": uid, "controller": True}]


def named(uid: str = "", labels: Any = None, **more: Any) -> dict[str, Any]:
    meta = {"name": "s1", "namespace": "line", "uid": "x", "resourceVersion": "7", "labels": labels or {}}
    return {"metadata": {**meta, **({"ownerReferences": owner(uid)} if uid else {})}, "spec": {"memory": "1Gi"}, **more}


class Taken:
    """A client in whose cluster the name is taken."""

    def __init__(self, there: dict[str, Any]) -> None:
        self.there = there

    async def create(self, *_: Any) -> Any:
        raise AlreadyExists("create", "exists")

    async def get(self, *_: Any) -> Any:
        return self.there


CASES = {
    "ours, from an attempt whose answer was lost": (named("a"), named("a"), True),
    "of a slice that was made again": (named("a"), named("b"), False),
    "a stranger's": (named("a"), named(), False),
    "ours by its labels, where nothing owns it": (
        named(labels={"by": "us"}),
        named(labels={"by": "us", "x": "y"}),
        True,
    ),
    "a stranger's, where nothing owns ours": (named(labels={"by": "us"}), named(), False),
    "nothing tells whose": (named(), named(), False),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_name_that_is_taken_is_ours_or_a_conflict(case: str) -> None:
    desired, there, ours = CASES[case]
    writer = Writer(Taken(there), Store(), list)  # type: ignore[arg-type]
    if ours:
        assert await writer.create(kinds.SLICES, desired) == there
    else:
        with pytest.raises(NameConflictError, match="GPUSlice s1 exists and is not Littoral's"):
            await writer.create(kinds.SLICES, desired)


def test_an_answer_asks_for_a_plan_only_for_what_others_changed() -> None:
    """A bind carries a plan out; the answer to a status may be the first to show that somebody cordoned the node."""
    store, work = Store(), set[Work]()
    writer = Writer(Taken({}), store, work.update)  # type: ignore[arg-type]
    allocation = {"node": "a", "device": "d", "profile": "t4", "provider": "counted", "memory": "1Gi"}
    writer.seen(kinds.SLICES, named(status={"allocation": allocation}))
    assert work == {Work("Slice", "line", "s1")}
    edge = {"metadata": {"name": "a", "uid": "e", "resourceVersion": "1"}, "spec": {}}
    store.apply(kinds.EDGENODES, edge)
    writer.seen(kinds.EDGENODES, {**edge, "metadata": {**edge["metadata"], "resourceVersion": "2"}})
    assert PLAN not in work
    writer.seen(kinds.EDGENODES, {"metadata": {**edge["metadata"], "resourceVersion": "3"}, "spec": {"cordoned": True}})
    assert PLAN in work


async def test_a_users_change_that_shows_first_in_the_answer_to_our_stamp_is_planned_for() -> None:
    """Its own event comes late, and is then no news."""
    store, work = Store(), set[Work]()
    store.apply(kinds.SLICES, named())
    answer = {**named(), "spec": {"memory": "2Gi"}}
    answer["metadata"] |= {"resourceVersion": "9", "generation": 2}
    writer = Writer(Stamped(answer), store, work.update)  # type: ignore[arg-type]
    await writer.patch_status(kinds.SLICES, ("line", "s1"), {}, uid="x")
    assert work == {Work("Slice", "line", "s1"), PLAN}


class Stamped(Taken):
    """A client whose answer to a status shows what is there."""

    async def patch_status(self, *_: Any, **__: Any) -> Any:
        return self.there


async def test_what_was_right_of_children_that_are_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("littoral.controller.writer._ROOM", 3)
    store = Store()
    writer = Writer(Taken({}), store, list)  # type: ignore[arg-type]
    for number in range(20):
        name, version = f"s{number}", str(10 + number)
        body = {"metadata": {"namespace": "line", "name": name, "uid": name, "resourceVersion": version}, "spec": {}}
        store.apply(kinds.SERVICES, body)
        await writer.ensure(kinds.SERVICES, ("line", name), (), lambda: {"metadata": {}, "spec": {}})
        store.apply(kinds.SERVICES, body, deleted=True)
    assert len(writer._right) <= 6
