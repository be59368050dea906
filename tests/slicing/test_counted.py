"""Shares of a counted resource, and Ascend's shareDevCount, which is one."""

from dataclasses import replace

import pytest
from tests.slicing.devices import UNIT, Table, answer, device, profile, state

from littoral.accelerators.profile import Mechanism
from littoral.slicing.provider import Grant, Request

HALVES = device("counted", shares=2)
PAIR = device("counted", shares=2, count=2)
SHARED_ORIN = device("counted", shares=2, its=profile(unified=True))

CASES: Table = {
    "one share": (state(HALVES), Request(1000, 10), Grant(2048, 50, "None", UNIT)),
    "exactly a share": (state(HALVES), Request(2048, 50), Grant(2048, 50, "None", UNIT)),
    "the last unit": (
        state(HALVES, 2048, 50, 1, slices=1, largest=2048),
        Request(1),
        Grant(2048, 50, "None", UNIT),
    ),
    "the last unit of several": (
        state(PAIR, 6144, 150, 3, slices=3, largest=2048, largest_compute=50),
        Request(1),
        Grant(2048, 50, "None", UNIT),
    ),
    "a unified device has no memory to cut": (state(SHARED_ORIN, 1000), Request(3000), Grant(3000, 50, "None", UNIT)),
    "more memory than a share": (
        state(HALVES),
        Request(3072),
        ("ShareTooSmall", "whose t4 is cut into 2 shares of 2Gi, 3Gi needed"),
    ),
    "more compute than a share": (
        state(HALVES),
        Request(1, 60),
        ("ShareTooSmall", "whose t4 is cut into 2 shares of 50% compute, 60% needed"),
    ),
    "no unit left": (
        state(HALVES, 0, 0, 2, slices=2),
        Request(1),
        ("NoUnitLeft", "with all 2 nvidia.com/gpu in use"),
    ),
    "not advertised": (
        state(device("counted", shares=2, units=0)),
        Request(1),
        ("NoCapacity", "without usable nvidia.com/gpu (its EdgeNode says why)"),
    ),
    "not isolated": (
        state(HALVES),
        Request(1, 0, "Soft"),
        ("InsufficientIsolation", "whose t4 (counted) has isolation None, not Soft"),
    ),
    "a whole device from before leaves none of its memory": (
        state(HALVES, 4096, 50, 1, slices=1, largest=4096),
        Request(1),
        ("InsufficientMemory", "with 0Mi free of 2Gi needed"),
    ),
    "nor of its compute": (
        state(HALVES, 0, 100, 1, slices=1),
        Request(1),
        ("InsufficientCompute", "with 0% compute free of 50% needed"),
    ),
    "the kubelet may choose the device with the larger grant": (
        state(PAIR, 4096, 100, 1, slices=1, largest=4096),
        Request(1),
        ("UnevenGrants", "with a grant on one of its t4 larger than a share, from before"),
    ),
    "or the one with more compute granted": (
        state(PAIR, 100, 80, 1, slices=1, largest=100, largest_compute=80),
        Request(1),
        ("UnevenGrants", "with a grant on one of its t4 larger than a share, from before"),
    ),
    "or the one with a slice that is no unit to it": (
        state(PAIR, 100, 0, 1, slices=1, uncounted=True),
        Request(1),
        ("UncountedSlice", "with a slice from before on its t4, of which nvidia.com/gpu does not know"),
    ),
    "node memory taken by others": (
        state(SHARED_ORIN, 4000),
        Request(1024),
        ("InsufficientMemory", "with 96Mi free of 1Gi needed"),
    ),
}


@pytest.mark.parametrize("mechanism", ["counted", "share-dev-count"])
@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str, mechanism: Mechanism) -> None:
    its, request, expected = CASES[case]
    its = replace(its, device=replace(its.device, provider=mechanism))
    if isinstance(expected, tuple):
        expected = (expected[0], expected[1].replace("(counted)", f"({mechanism})"))
    assert answer(its, request) == expected
