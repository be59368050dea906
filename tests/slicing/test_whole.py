"""A whole device for one slice."""

import pytest
from tests.slicing.devices import UNIT, Table, answer, device, profile, state

from littoral.slicing.provider import Grant, Request

WHOLE = device("whole")
TWO = device("whole", count=2)
ORIN = device("whole", its=profile(unified=True))

CASES: Table = {
    "all of it, whatever was asked": (state(WHOLE), Request(1, 1), Grant(4096, 100, "Hard", UNIT)),
    "isolated": (state(WHOLE), Request(1, 0, "Hard"), Grant(4096, 100, "Hard", UNIT)),
    "the second of two": (state(TWO, 4096, 100, 1, slices=1), Request(4096), Grant(4096, 100, "Hard", UNIT)),
    "a unified device brings no memory": (state(ORIN, 3096), Request(1000), Grant(1000, 100, "None", UNIT)),
    "in use": (state(WHOLE, 1, 1, 1, slices=1), Request(1), ("DeviceInUse", "with its t4 in use")),
    "both in use": (state(TWO, 2, 2, 2, slices=2), Request(1), ("DeviceInUse", "with all 2 t4 in use")),
    "in use by two slices that shared one once": (
        state(TWO, 2, 2, 1, slices=2),
        Request(1),
        ("DeviceInUse", "with all 2 t4 in use"),
    ),
    "a slice on one of two of which the kubelet does not know": (
        state(TWO, 100, 0, 1, slices=1, uncounted=True),
        Request(1),
        ("UncountedSlice", "with a slice from before on its t4, of which nvidia.com/gpu does not know"),
    ),
    "too small": (state(WHOLE), Request(8192), ("InsufficientMemory", "with 4Gi free of 8Gi needed")),
    "not advertised": (
        state(device("whole", units=0)),
        Request(1),
        ("NoCapacity", "without usable nvidia.com/gpu (its EdgeNode says why)"),
    ),
    "node memory is no wall": (
        state(ORIN),
        Request(1, 0, "Hard"),
        ("InsufficientIsolation", "whose t4 (whole) has isolation None, not Hard"),
    ),
    "node memory taken by others": (
        state(ORIN, 4000),
        Request(1024),
        ("InsufficientMemory", "with 96Mi free of 1Gi needed"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str) -> None:
    its, request, expected = CASES[case]
    assert answer(its, request) == expected
