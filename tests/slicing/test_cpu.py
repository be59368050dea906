"""The node's own cores and memory."""

import pytest
from tests.slicing.devices import Table, answer, device, state

from littoral.slicing.provider import Grant, Refusal, Request
from littoral.slicing.registry import PROVIDERS

CPU = device("cpu")

CASES: Table = {
    "to size": (state(CPU), Request(1000, 25), Grant(1000, 25, "None", {"cpu": "1"})),
    "parts of a core": (state(CPU), Request(1000, 10), Grant(1000, 10, "None", {"cpu": "400m"})),
    "no compute asked, no cpu requested": (state(CPU), Request(1000), Grant(1000, 0, "None", {})),
    "the last of it": (state(CPU, 3096, 75), Request(1000, 25), Grant(1000, 25, "None", {"cpu": "1"})),
    "memory": (state(CPU, 2048), Request(3072), ("InsufficientMemory", "with 2Gi free of 3Gi needed")),
    "memory, by less than a person sees": (
        state(CPU, 1024),
        Request(3073),
        ("InsufficientMemory", "with 3072Mi free of 3073Mi needed"),
    ),
    "compute": (state(CPU, 0, 80), Request(1, 30), ("InsufficientCompute", "with 20% compute free of 30% needed")),
    "no compute asked where more is granted than there is": (
        state(CPU, 0, 120),
        Request(1),
        ("InsufficientCompute", "with more compute granted than there is"),
    ),
    "isolation": (
        state(CPU),
        Request(1, 0, "Soft"),
        ("InsufficientIsolation", "whose cpu (cpu) has isolation None, not Soft"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str) -> None:
    its, request, expected = CASES[case]
    assert answer(its, request) == expected


def test_a_nearer_miss_is_nearer() -> None:
    far, near = (PROVIDERS["cpu"].grant(state(CPU, charged), Request(3000)) for charged in (4000, 2000))
    assert isinstance(far, Refusal)
    assert isinstance(near, Refusal)
    assert 0 <= far.near < near.near < 1
