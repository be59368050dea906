"""What a sharing mechanism says it gave goes before what it was asked for: the ledger takes it over."""

from dataclasses import replace
from unittest.mock import patch

from tests.placement.world import catalogue, granted, node, pod, world

from littoral.accelerators.device import Device, Discovery
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.workload import Reported
from littoral.placement import world as worlds
from littoral.placement.world import World

KEY = ("ns", "s1")
ASKED = Allocation(node="a", device="t4-0", profile="emulated-t4", provider="hami", memory="1Gi", compute=30)


def cards() -> tuple[Device, ...]:
    its = catalogue()
    platform = its.platform(its.profiles["emulated-t4"])
    return tuple(
        Device(f"t4-{number}", platform, 4096, "hami", 10, 1, "nvidia.com/gpu", 10, uuid=f"GPU-{number}")
        for number in range(2)
    )


def charged(reported: Reported | None) -> dict[str, tuple[int, int]]:
    slice_ = GPUSlice.model_validate(
        {"metadata": {"name": KEY[1], "namespace": KEY[0]}, "spec": {"memory": "1Gi"}, "status": {"allocation": ASKED}}
    )
    snapshot = world([node("a")], slices=[slice_])
    snapshot = replace(snapshot, pods={KEY: replace(pod(KEY, granted(slice_)), reported=reported)})
    with patch.object(worlds, "discovery", lambda *_: Discovery(cards(), (), "", "")):
        slots = World(snapshot).ledger.slots["a"]
    return {name: (slot.account.charged, slot.compute) for name, slot in slots.items()}


def test_without_a_report_the_grant_is_charged() -> None:
    assert charged(None) == {"t4-0": (1024, 30), "t4-1": (0, 0)}


def test_another_card_than_was_asked_for_is_the_one_that_is_full() -> None:
    assert charged(Reported("GPU-1", 1024, 30)) == {"t4-0": (0, 0), "t4-1": (1024, 30)}


def test_more_than_was_asked_for_is_gone_and_less_is_still_promised() -> None:
    assert charged(Reported("GPU-0", 2048, 10)) == {"t4-0": (2048, 30), "t4-1": (0, 0)}


def test_a_card_that_nobody_knows_changes_nothing() -> None:
    assert charged(Reported("GPU-9", 2048, 10)) == {"t4-0": (1024, 30), "t4-1": (0, 0)}
