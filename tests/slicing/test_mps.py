"""NVIDIA MPS by the device plugin."""

import pytest
from tests.slicing.devices import UNIT, Table, answer, device, profile, state

from littoral.api.gpuslice import PodPatch
from littoral.slicing.provider import Grant, Request

SHM = PodPatch(mounted=("/dev/shm",))
ONE = device("mps", shares=4)
PAIR = device("mps", shares=4, count=2)
NO_MPS = "Jetson devices have no MPS: the plugin's control daemon cannot find them"
ORIN = profile(name="orin", family="jetson-orin", unified=True, unsupported={"mps": NO_MPS})
XAVIER = profile(name="xavier", family="jetson-xavier", unified=True)

CASES: Table = {
    "a share of one GPU, for all are alike": (state(ONE), Request(1, 1), Grant(1024, 25, "Soft", UNIT, SHM)),
    "a share of several": (state(PAIR), Request(1024, 25), Grant(1024, 25, "Soft", UNIT, SHM)),
    "limits are more than a budget": (state(ONE), Request(1, 0, "Soft"), Grant(1024, 25, "Soft", UNIT, SHM)),
    "and less than walls": (
        state(ONE),
        Request(1, 0, "Hard"),
        ("InsufficientIsolation", "whose t4 (mps) has isolation Soft, not Hard"),
    ),
    "more than a share of one GPU": (
        state(ONE),
        Request(2048),
        ("ShareTooSmall", "whose t4 is cut into 4 shares of 1Gi, 2Gi needed"),
    ),
    "no unit left": (state(ONE, 0, 0, 4, slices=4), Request(1), ("NoUnitLeft", "with all 4 nvidia.com/gpu in use")),
    "as many clients as a server takes": (
        state(device("mps", shares=48, memory=4800)),
        Request(1),
        Grant(100, 2, "Soft", UNIT, SHM),
    ),
    "more clients than a server takes": (
        state(device("mps", shares=49)),
        Request(1),
        ("TooManyClients", "whose t4 is cut into 49 shares, where its MPS server takes 48 clients at most"),
    ),
    "more than an older GPU's takes": (
        state(device("mps", shares=17, its=profile(computeCapability="7.0"))),
        Request(1),
        ("TooManyClients", "whose t4 is cut into 17 shares, where its MPS server takes 16 clients at most"),
    ),
    "a capability that nobody knows is taken for an old one": (
        state(device("mps", shares=17, its=profile(computeCapability=""))),
        Request(1),
        ("TooManyClients", "whose t4 is cut into 17 shares, where its MPS server takes 16 clients at most"),
    ),
    "a later one than 9": (
        state(device("mps", shares=40, memory=4000, its=profile(computeCapability="11.0"))),
        Request(1),
        Grant(100, 2, "Soft", UNIT, SHM),
    ),
    "a Jetson": (
        state(device("mps", shares=4, its=ORIN)),
        Request(1),
        ("SharingUnsupported", f"whose orin cannot be shared by mps: {NO_MPS}"),
    ),
    "a unified device of which the catalogue does not say so": (
        state(device("mps", shares=4, its=XAVIER)),
        Request(1),
        (
            "SharingUnsupported",
            "whose xavier cannot be shared by mps: its memory is the node's, which no client can be limited in",
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str) -> None:
    its, request, expected = CASES[case]
    assert answer(its, request) == expected
