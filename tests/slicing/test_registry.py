"""What holds of all mechanisms: each is there, and honest about its walls and about who picks the device."""

from collections.abc import Mapping
from typing import get_args

import pytest
from tests.slicing.devices import answer, device, profile, state
from tests.slicing.test_vnpu import ASCEND

from littoral.accelerators.device import Device
from littoral.accelerators.profile import Mechanism
from littoral.api.gpuslice import Isolation
from littoral.slicing.provider import DevicePicker, Grant, Request
from littoral.slicing.registry import PROVIDERS

UNIFIED = profile(unified=True)
GPU = profile()


def of(mechanism: Mechanism, count: int = 1) -> Device:
    """A device that the mechanism can share."""
    its = ASCEND if mechanism == "vnpu" else GPU
    return device(mechanism, its=its, memory=24576, shares=2, count=count, uuid="GPU-0", runtime_class="class")


WORDS: Mapping[Mechanism, tuple[Isolation, DevicePicker, DevicePicker]] = {
    "cpu": ("None", "Directed", "Directed"),
    "whole": ("Hard", "Directed", "Blind"),
    "runtime": ("None", "Directed", "Directed"),
    "counted": ("None", "Directed", "Blind"),
    "time-slicing": ("None", "Directed", "Blind"),
    "mps": ("Soft", "Directed", "Blind"),
    "hami": ("Soft", "Directed", "Directed"),
    "vnpu": ("Hard", "Directed", "Blind"),
    "share-dev-count": ("None", "Directed", "Blind"),
}
"""Isolation; who picks where there is one device, and where there are several."""


@pytest.mark.parametrize("mechanism", WORDS)
def test_says_how_strong_its_walls_are_and_who_picks_the_device(mechanism: Mechanism) -> None:
    isolation, one, several = WORDS[mechanism]
    provider = PROVIDERS[mechanism]

    assert provider.isolation(of(mechanism)) == isolation
    assert (provider.picker(of(mechanism)), provider.picker(of(mechanism, 2))) == (one, several)


@pytest.mark.parametrize("mechanism", WORDS)
def test_grants_the_isolation_that_it_claims_in_the_devices_runtime_class(mechanism: Mechanism) -> None:
    given = answer(state(of(mechanism)), Request(100, 10))

    assert isinstance(given, Grant)
    assert given.isolation == PROVIDERS[mechanism].isolation(of(mechanism))
    assert given.pod.runtime_class_name == ("" if mechanism == "cpu" else "class")


def test_a_whole_device_of_node_memory_has_no_walls() -> None:
    assert PROVIDERS["whole"].isolation(device("whole", its=UNIFIED)) == "None"


def test_there_is_a_provider_for_each_mechanism_that_the_catalogue_may_name() -> None:
    assert set(PROVIDERS) == set(get_args(Mechanism)) == set(WORDS)
    assert all(name == provider.name for name, provider in PROVIDERS.items())
