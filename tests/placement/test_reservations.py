"""Slices that users write to reserve capacity: what each field does, and what becomes of them."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import (
    apply,
    model,
    node,
    reservation,
    sure,
    t4,
    world,
)

from littoral.placement.plan import SlicePlan, plan


def placed(**spec: Any) -> SlicePlan:
    """Where a slice of 512Mi goes of two machines, one with a shared T4 and one with cores alone."""
    return plan(world([t4("rack"), node("box")], slices=[reservation("mine", "512Mi", **spec)])).slices["ns", "mine"]


@pytest.mark.parametrize(
    ("accelerators", "device"),
    [((), "emulated-t4"), (("t4",), "emulated-t4"), (("emulated-t4",), "emulated-t4"), (("cpu",), "cpu")],
)
def test_accelerators_choose_the_device(accelerators: tuple[str, ...], device: str) -> None:
    found = placed(accelerators=accelerators)
    assert found.allocation is not None
    assert found.allocation.profile == device


def test_an_accelerator_that_nobody_has_is_waited_for() -> None:
    assert (placed(accelerators=["ascend-310p"]).allocation, placed(accelerators=["ascend-310p"]).node) == (None, "")


def test_compute_is_charged() -> None:
    found = placed(accelerators=["cpu"], compute=60)
    assert found.allocation is not None
    assert found.allocation.compute == 60
    both = [reservation(name, "512Mi", accelerators=["cpu"], compute=60) for name in ("one", "two")]
    plans = plan(world([node("box")], slices=both)).slices
    assert [plans["ns", name].reason for name in ("one", "two")] == ["Bound", "InsufficientCompute"]


@pytest.mark.parametrize(("isolation", "reason"), [("None", "Bound"), ("Hard", "InsufficientIsolation")])
def test_isolation_is_a_floor(isolation: str, reason: str) -> None:
    assert placed(accelerators=["t4"], isolation=isolation).reason == reason


class TestReservations:
    def test_is_bound_before_newcomers_and_kept(self) -> None:
        snapshot = world([t4("a", shares=1)], [model("m")], [reservation("mine", "2Gi", created=9)])
        found = plan(snapshot)
        mine = found.slices["ns", "mine"]
        assert (mine.node, mine.device, mine.reason, sure(mine.allocation).memory) == (
            "a",
            "emulated-t4-0",
            "Bound",
            "4Gi",
        )
        assert found.models["ns", "m"].waiting == 1
        again = plan(apply(snapshot, found))
        assert again.slices == found.slices

    def test_waits_with_a_reason(self) -> None:
        found = plan(world([t4("a")], slices=[reservation("mine", "2Gi")])).slices["ns", "mine"]
        assert (found.allocation, found.reason) == (None, "ShareTooSmall")

    def test_has_no_server_and_so_no_overhead(self) -> None:
        found = plan(world([node("a")], slices=[reservation("mine", "1Gi", accelerators=["cpu"])]))
        assert sure(found.slices["ns", "mine"].allocation).memory == "1Gi"

    def test_grows_in_place_or_says_why_not(self) -> None:
        snapshot = world([node("a", memory=2048)], slices=[reservation("mine", "1Gi", accelerators=["cpu"])])
        bound = apply(snapshot, plan(snapshot))

        def ask(memory: str) -> SlicePlan:
            spec = bound.slices["ns", "mine"].spec.model_copy(update={"memory": memory})
            slice_ = bound.slices["ns", "mine"].model_copy(update={"spec": spec})
            return plan(replace(bound, slices={("ns", "mine"): slice_})).slices["ns", "mine"]

        assert (sure(ask("2Gi").allocation).memory, sure(ask("512Mi").allocation).memory) == ("2Gi", "512Mi")
        assert (sure(ask("3Gi").allocation).memory, ask("3Gi").reason) == ("1Gi", "InsufficientMemory")
        assert ask("3Gi").message == "keeps 1Gi as before: no room on a (with 2Gi free of 3Gi needed)"

    def test_a_smaller_one_is_not_forgotten_while_its_node_is_offline(self) -> None:
        snapshot = world([node("a")], slices=[reservation("mine", "2Gi", accelerators=["cpu"])])
        bound = apply(snapshot, plan(snapshot))
        old = bound.slices["ns", "mine"]
        meta = old.metadata.model_copy(update={"generation": 2})
        asked = old.model_copy(update={"metadata": meta, "spec": old.spec.model_copy(update={"memory": "1Gi"})})
        back = replace(bound, slices={("ns", "mine"): asked})
        cut = replace(back, nodes={"a": replace(back.nodes["a"], ready="Unknown")})
        its = plan(cut).slices["ns", "mine"]
        assert (sure(its.allocation).memory, its.judged) == ("2Gi", False)
        its = plan(back).slices["ns", "mine"]
        assert (sure(its.allocation).memory, its.judged) == ("1Gi", True)
