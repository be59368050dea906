"""What each field of a GPUSlice that a user writes does."""

from typing import Any

import pytest
from tests.placement.world import node, reservation, t4, world

from littoral.placement.plan import plan
from littoral.placement.results import SlicePlan


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
