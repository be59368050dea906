"""NVIDIA time-slicing."""

import pytest
from tests.slicing.devices import UNIT, Table, answer, device, profile, state, taking

from littoral.api.gpuslice import PodPatch
from littoral.slicing.provider import Grant, Request

ONE = device("time-slicing", shares=4)
PAIR = device("time-slicing", shares=4, count=2)
ORIN = device("time-slicing", shares=4, its=profile(unified=True))

CASES: Table = {
    "of one GPU exactly what is asked": (state(ONE), Request(3000, 70), Grant(3000, 70, "None", UNIT)),
    "more than a share of it": (state(ONE, 1000, 20, 1, slices=1), Request(3096, 80), Grant(3096, 80, "None", UNIT)),
    "of a Jetson as well": (state(ORIN, 1000), Request(3000, 40), Grant(3000, 40, "None", UNIT)),
    "of several GPUs a share, for the kubelet chooses": (state(PAIR), Request(500, 5), Grant(1024, 25, "None", UNIT)),
    "more than a share of several": (
        state(PAIR),
        Request(2048),
        ("ShareTooSmall", "whose t4 is cut into 4 shares of 1Gi, 2Gi needed"),
    ),
    "no unit left, though memory is": (
        state(ONE, 400, 0, 4, slices=4),
        Request(100),
        ("NoUnitLeft", "with all 4 nvidia.com/gpu in use"),
    ),
    "no memory left, though a unit is": (
        state(ONE, 4000, 0, 1, slices=1),
        Request(1024),
        ("InsufficientMemory", "with 96Mi free of 1Gi needed"),
    ),
    "nor compute": (
        state(ONE, 100, 80, 1, slices=1),
        Request(100, 40),
        ("InsufficientCompute", "with 20% compute free of 40% needed"),
    ),
    "a GPU that holds more than a share from when it was alone": (
        state(PAIR, 3000, 70, 1, slices=1, largest=3000, largest_compute=70),
        Request(1),
        ("UnevenGrants", "with a grant on one of its t4 larger than a share, from before"),
    ),
    "the plugin advertises none": (
        state(device("time-slicing", shares=4, units=0)),
        Request(1),
        ("NoCapacity", "without usable nvidia.com/gpu (its EdgeNode says why)"),
    ),
    "isolation": (
        state(ONE),
        Request(1, 0, "Soft"),
        ("InsufficientIsolation", "whose t4 (time-slicing) has isolation None, not Soft"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str) -> None:
    its, request, expected = CASES[case]
    assert answer(its, request) == expected


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/gpu.shared"])
def test_asks_for_one_unit_of_the_resource_that_the_plugin_has(resource: str) -> None:
    its = device("time-slicing", shares=4, resource=resource)

    for given in taking(its, [Request(1024, 25)] * 4):
        assert given == Grant(1024, 25, "None", {resource: "1"})


def test_runs_in_the_nodes_runtime_class() -> None:
    its = device("time-slicing", shares=4, runtime_class="nvidia")

    given = answer(state(its), Request(1))

    assert isinstance(given, Grant)
    assert given.pod == PodPatch(runtime_class_name="nvidia")
