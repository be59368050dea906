"""A single device by its container runtime alone."""

import pytest
from tests.slicing.devices import Table, answer, device, profile, state, taking

from littoral.api.gpuslice import PodPatch
from littoral.slicing.provider import Grant, Request

ORIN = profile(name="orin", family="jetson-orin", unified=True, sharing=["runtime"])
JETSON = device("runtime", its=ORIN, memory=8192, resource=None, units=0, runtime_class="nvidia")
VISIBLE = PodPatch(env={"NVIDIA_VISIBLE_DEVICES": "all"}, runtime_class_name="nvidia")

CASES: Table = {
    "exactly what is asked, and no resource": (state(JETSON), Request(3000, 40), Grant(3000, 40, "None", {}, VISIBLE)),
    "the last of it": (state(JETSON, 6144, 60, slices=7), Request(2048, 40), Grant(2048, 40, "None", {}, VISIBLE)),
    "units are not looked at": (
        state(device("runtime", its=ORIN, units=0, runtime_class="nvidia"), slices=3),
        Request(1),
        Grant(1, 0, "None", {}, VISIBLE),
    ),
    "where its runtime is the node's default": (
        state(device("runtime", its=ORIN, resource=None)),
        Request(1),
        Grant(1, 0, "None", {}, PodPatch(env={"NVIDIA_VISIBLE_DEVICES": "all"})),
    ),
    "an Ascend": (
        state(device("runtime", its=profile(vendor="huawei"), resource=None, runtime_class="ascend")),
        Request(1),
        Grant(1, 0, "None", {}, PodPatch(env={"ASCEND_VISIBLE_DEVICES": "0"}, runtime_class_name="ascend")),
    ),
    "another maker's": (
        state(device("runtime", its=profile(vendor="sophgo"), resource=None)),
        Request(1),
        Grant(1, 0, "None", {}),
    ),
    "memory that others of the node hold": (
        state(JETSON, 8000),
        Request(1024),
        ("InsufficientMemory", "with 192Mi free of 1Gi needed"),
    ),
    "compute": (
        state(JETSON, 0, 80),
        Request(1, 40),
        ("InsufficientCompute", "with 20% compute free of 40% needed"),
    ),
    "isolation": (
        state(JETSON),
        Request(1, 0, "Soft"),
        ("InsufficientIsolation", "whose orin (runtime) has isolation None, not Soft"),
    ),
    "two devices that nobody can tell apart": (
        state(device("runtime", count=2, resource=None)),
        Request(1),
        ("NoDevicePlugin", "with 2 t4 and no device plugin to choose one by"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str) -> None:
    its, request, expected = CASES[case]
    assert answer(its, request) == expected


def test_takes_any_number_of_slices_that_fit() -> None:
    *given, last = taking(JETSON, [Request(1024)] * 9)

    assert all(isinstance(each, Grant) for each in given)
    assert last == ("InsufficientMemory", "with 0Mi free of 1Gi needed")
