"""HAMi on NVIDIA GPUs: what its pods ask for, and what is read of what it did. Nobody has run HAMi here."""

import pytest
from tests.slicing.devices import Table, answer, device, state

from littoral.api.gpuslice import PodPatch
from littoral.api.workload import Reported
from littoral.slicing import hami
from littoral.slicing.provider import Grant, Request

CARD = device("hami", shares=10, memory=15360, uuid="GPU-7a3c")
POD = PodPatch(annotations={"nvidia.com/use-gpuuuid": "GPU-7a3c"}, scheduler_name="hami-scheduler")


def asked(memory: int, compute: int = 0) -> dict[str, str]:
    resources = {"nvidia.com/gpu": "1", "nvidia.com/gpumem": str(memory)}
    return resources | ({"nvidia.com/gpucores": str(compute)} if compute else {})


CASES: Table = {
    "memory as a plain number of MiB": (state(CARD), Request(4096, 30), Grant(4096, 30, "Soft", asked(4096, 30), POD)),
    "memory is always written out": (state(CARD), Request(0), Grant(1, 0, "Soft", asked(1), POD)),
    "no compute asked, none written": (state(CARD), Request(300), Grant(300, 0, "Soft", asked(300), POD)),
    "all compute of an empty card": (state(CARD), Request(300, 100), Grant(300, 100, "Soft", asked(300, 100), POD)),
    "limits are more than a budget": (state(CARD), Request(300, 0, "Soft"), Grant(300, 0, "Soft", asked(300), POD)),
    "the one card that there is needs no name": (
        state(device("hami", shares=10)),
        Request(300),
        Grant(300, 0, "Soft", asked(300), PodPatch(scheduler_name="hami-scheduler")),
    ),
    "all compute of a card that is in use": (
        state(CARD, 300, 0, 1, slices=1),
        Request(300, 100),
        ("DeviceInUse", "with its t4 in use, of which all is needed"),
    ),
    "anything on a card whose compute is taken": (
        state(CARD, 300, 100, 1, slices=1),
        Request(300),
        ("InsufficientCompute", "with 0% compute free, where HAMi places nothing more"),
    ),
    "memory": (
        state(CARD, 15000, 0, 1, slices=1),
        Request(1024),
        ("InsufficientMemory", "with 360Mi free of 1Gi needed"),
    ),
    "compute": (
        state(CARD, 300, 80, 1, slices=1),
        Request(300, 30),
        ("InsufficientCompute", "with 20% compute free of 30% needed"),
    ),
    "as many pods as the card is registered for": (
        state(CARD, 3000, 0, 10, slices=10),
        Request(300),
        ("NoUnitLeft", "with all 10 nvidia.com/gpu in use"),
    ),
    "several cards without ids": (
        state(device("hami", shares=10, count=2)),
        Request(300),
        ("NoDeviceId", "whose 2 t4 HAMi has not registered on its Node by their ids"),
    ),
    "walls": (
        state(CARD),
        Request(1, 0, "Hard"),
        ("InsufficientIsolation", "whose t4 (hami) has isolation Soft, not Hard"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str) -> None:
    its, request, expected = CASES[case]
    assert answer(its, request) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPU-7a3c,NVIDIA,4096,30:;", Reported("GPU-7a3c", 4096, 30)),
        (";GPU-7a3c,NVIDIA,4096,0:;", Reported("GPU-7a3c", 4096, 0)),
        (";;GPU-7a3c,NVIDIA,4096,30,more:;", Reported("GPU-7a3c", 4096, 30)),
        ("", None),
        (";;", None),
        ("GPU-7a3c,NVIDIA,4096:;", None),
        ("GPU-7a3c,NVIDIA,4Gi,30:;", None),
        ("GPU-7a3c,NVIDIA,-1,30:;", None),
    ],
)
def test_reads_what_a_pod_was_given(text: str, expected: Reported | None) -> None:
    assert hami.reported({"hami.io/vgpu-devices-allocated": text}) == expected


def test_a_pod_that_says_nothing_was_given_nothing() -> None:
    assert hami.reported({}) is None


GIVEN = {"hami.io/vgpu-devices-allocated": "GPU-7a3c,NVIDIA,4096,30:;"}


@pytest.mark.parametrize(
    ("annotations", "scheduler", "expected"),
    [
        (GIVEN, "hami-scheduler", ""),
        (
            GIVEN,
            "default-scheduler",
            "its scheduler is default-scheduler, not hami-scheduler: HAMi limits nothing in it",
        ),
        (GIVEN, "", "its scheduler is the default, not hami-scheduler: HAMi limits nothing in it"),
        (
            {},
            "hami-scheduler",
            "it has no annotation hami.io/vgpu-devices-allocated: HAMi's webhook passed it over, nothing limits it",
        ),
    ],
)
def test_says_when_the_webhook_did_not_act(annotations: dict[str, str], scheduler: str, expected: str) -> None:
    assert hami.bypassed(annotations, scheduler) == expected
