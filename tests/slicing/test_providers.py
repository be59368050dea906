"""Each sharing mechanism by a table: what a device in this state gives for this request, or why not, in words."""

import pytest

from littoral.accelerators.device import Device
from littoral.accelerators.profile import Mechanism, Profile
from littoral.api.gpuslice import Isolation
from littoral.slicing.provider import Charge, DeviceState, Grant, Refusal, Request
from littoral.slicing.registry import PROVIDERS


def device(
    provider: Mechanism, *, memory: int = 4096, shares: int = 1, count: int = 1, unified: bool = False
) -> Device:
    if provider == "cpu":
        profile = Profile.model_validate({"name": "cpu", "family": "cpu", "sharing": ["cpu"], "stacks": [{}]})
        return Device("cpu", profile.platform(), memory, "cpu", cpu=4000)
    profile = Profile.model_validate(
        {
            "name": "t4",
            "family": "t4",
            "unified": unified,
            "memory": None,
            "sharing": ["whole", "counted"],
            "stacks": [{}],
        }
    )
    return Device("t4-0", profile.platform(), memory, provider, shares, count, "nvidia.com/gpu", shares * count)


def state(
    its: Device, memory: int = 0, compute: int = 0, units: int = 0, *, slices: int = 0, largest: int = 0
) -> DeviceState:
    return DeviceState(its, Charge(memory, compute, units), slices, largest)


UNIT = {"nvidia.com/gpu": "1"}
HALVES = device("counted", shares=2)
PAIR = device("counted", shares=2, count=2)
WHOLE = device("whole")
TWO = device("whole", count=2)
ORIN = device("whole", unified=True)
SHARED_ORIN = device("counted", shares=2, unified=True)
CPU = device("cpu")

GRANTED: dict[str, tuple[DeviceState, Request, Grant]] = {
    "cpu: to size": (state(CPU), Request(1000, 25), Grant(1000, 25, "None", {"cpu": "1"})),
    "cpu: parts of a core": (state(CPU), Request(1000, 10), Grant(1000, 10, "None", {"cpu": "400m"})),
    "cpu: no compute asked, no cpu requested": (state(CPU), Request(1000), Grant(1000, 0, "None", {})),
    "cpu: the last of it": (state(CPU, 3096, 75), Request(1000, 25), Grant(1000, 25, "None", {"cpu": "1"})),
    "whole: all of it, whatever was asked": (state(WHOLE), Request(1, 1), Grant(4096, 100, "Hard", UNIT)),
    "whole: isolated": (state(WHOLE), Request(1, 0, "Hard"), Grant(4096, 100, "Hard", UNIT)),
    "whole: the second of two": (state(TWO, 4096, 100, 1, slices=1), Request(4096), Grant(4096, 100, "Hard", UNIT)),
    "whole: a unified device brings no memory": (state(ORIN, 3096), Request(1000), Grant(1000, 100, "None", UNIT)),
    "counted: one share": (state(HALVES), Request(1000, 10), Grant(2048, 50, "None", UNIT)),
    "counted: exactly a share": (state(HALVES), Request(2048, 50), Grant(2048, 50, "None", UNIT)),
    "counted: the last unit": (
        state(HALVES, 2048, 50, 1, slices=1, largest=2048),
        Request(1),
        Grant(2048, 50, "None", UNIT),
    ),
    "counted: the last unit of several": (
        state(PAIR, 6144, 150, 3, slices=3, largest=2048),
        Request(1),
        Grant(2048, 50, "None", UNIT),
    ),
    "counted: a unified device has no memory to cut": (
        state(SHARED_ORIN, 1000),
        Request(3000),
        Grant(3000, 50, "None", UNIT),
    ),
}

REFUSED: dict[str, tuple[DeviceState, Request, str, str]] = {
    "cpu: memory": (state(CPU, 2048), Request(3072), "InsufficientMemory", "with 2Gi free of 3Gi needed"),
    "cpu: memory, by less than a person sees": (
        state(CPU, 1024),
        Request(3073),
        "InsufficientMemory",
        "with 3072Mi free of 3073Mi needed",
    ),
    "cpu: compute": (state(CPU, 0, 80), Request(1, 30), "InsufficientCompute", "with 20% compute free of 30% needed"),
    "cpu: isolation": (
        state(CPU),
        Request(1, 0, "Soft"),
        "InsufficientIsolation",
        "whose cpu (cpu) has isolation None, not Soft",
    ),
    "whole: in use": (state(WHOLE, 1, 1, 1, slices=1), Request(1), "DeviceInUse", "with its t4 in use"),
    "whole: both in use": (state(TWO, 2, 2, 2, slices=2), Request(1), "DeviceInUse", "with all 2 t4 in use"),
    "whole: in use by two slices that shared one once": (
        state(TWO, 2, 2, 1, slices=2),
        Request(1),
        "DeviceInUse",
        "with all 2 t4 in use",
    ),
    "whole: too small": (state(WHOLE), Request(8192), "InsufficientMemory", "with 4Gi free of 8Gi needed"),
    "whole: not advertised": (
        state(Device("t4-0", WHOLE.platform, 4096, "whole", resource="nvidia.com/gpu")),
        Request(1),
        "NoCapacity",
        "without usable nvidia.com/gpu",
    ),
    "whole: node memory is no wall": (
        state(ORIN),
        Request(1, 0, "Hard"),
        "InsufficientIsolation",
        "whose t4 (whole) has isolation None, not Hard",
    ),
    "whole: node memory taken by others": (
        state(ORIN, 4000),
        Request(1024),
        "InsufficientMemory",
        "with 96Mi free of 1Gi needed",
    ),
    "counted: more memory than a share": (
        state(HALVES),
        Request(3072),
        "ShareTooSmall",
        "whose t4 is cut into 2 shares of 2Gi, 3Gi needed",
    ),
    "counted: more compute than a share": (
        state(HALVES),
        Request(1, 60),
        "ShareTooSmall",
        "whose t4 is cut into 2 shares of 50% compute, 60% needed",
    ),
    "counted: no unit left": (
        state(HALVES, 0, 0, 2, slices=2),
        Request(1),
        "NoUnitLeft",
        "with all 2 nvidia.com/gpu in use",
    ),
    "counted: not isolated": (
        state(HALVES),
        Request(1, 0, "Soft"),
        "InsufficientIsolation",
        "whose t4 (counted) has isolation None, not Soft",
    ),
    "counted: a whole device from before leaves none of its memory": (
        state(HALVES, 4096, 50, 1, slices=1, largest=4096),
        Request(1),
        "InsufficientMemory",
        "with 0Mi free of 2Gi needed",
    ),
    "counted: nor of its compute": (
        state(HALVES, 0, 100, 1, slices=1),
        Request(1),
        "InsufficientCompute",
        "with 0% compute free of 50% needed",
    ),
    "counted: the kubelet may choose the device with the larger grant": (
        state(PAIR, 4096, 100, 1, slices=1, largest=4096),
        Request(1),
        "UnevenGrants",
        "with a grant on one of its t4 larger than a share, from before",
    ),
    "counted: node memory taken by others": (
        state(SHARED_ORIN, 4000),
        Request(1024),
        "InsufficientMemory",
        "with 96Mi free of 1Gi needed",
    ),
}


@pytest.mark.parametrize("case", GRANTED)
def test_grants(case: str) -> None:
    its, request, granted = GRANTED[case]
    assert PROVIDERS[its.device.provider].grant(its, request) == granted


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    its, request, reason, message = REFUSED[case]
    refusal = PROVIDERS[its.device.provider].grant(its, request)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.message) == (reason, message)


def test_a_nearer_miss_is_nearer() -> None:
    far, near = (PROVIDERS["cpu"].grant(state(CPU, charged), Request(3000)) for charged in (4000, 2000))
    assert isinstance(far, Refusal)
    assert isinstance(near, Refusal)
    assert 0 <= far.near < near.near < 1


@pytest.mark.parametrize(
    ("its", "picker", "isolation"),
    [
        (CPU, "Directed", "None"),
        (WHOLE, "Directed", "Hard"),
        (TWO, "Blind", "Hard"),
        (ORIN, "Directed", "None"),
        (HALVES, "Directed", "None"),
        (PAIR, "Blind", "None"),
    ],
)
def test_says_who_picks_the_device_and_how_strong_its_walls_are(its: Device, picker: str, isolation: Isolation) -> None:
    provider = PROVIDERS[its.provider]
    assert (provider.picker(its), provider.isolation(its)) == (picker, isolation)


def test_there_is_a_provider_for_each_mechanism_that_the_catalogue_may_name() -> None:
    assert set(PROVIDERS) == set(Mechanism.__args__)  # type: ignore[attr-defined]
    assert all(name == provider.name for name, provider in PROVIDERS.items())
