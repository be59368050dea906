"""Devices in any state, and what is expected of a mechanism: a grant, or the reason and the sentence of a refusal."""

from collections.abc import Mapping
from typing import Any

from littoral.accelerators.device import Device
from littoral.accelerators.profile import Mechanism, Profile
from littoral.slicing.provider import Charge, DeviceState, Grant, Refusal, Request
from littoral.slicing.registry import PROVIDERS

Answer = Grant | tuple[str, str]
Table = Mapping[str, tuple[DeviceState, Request, Answer]]
UNIT = {"nvidia.com/gpu": "1"}


def profile(**changes: Any) -> Profile:
    """A T4, unless said otherwise."""
    its = {
        "name": "t4",
        "family": "t4",
        "vendor": "nvidia",
        "computeCapability": "7.5",
        "sharing": ["whole"],
        "stacks": [{}],
        **changes,
    }
    return Profile.model_validate(its)


def device(
    provider: Mechanism, *, memory: int = 4096, shares: int = 1, count: int = 1, its: Profile | None = None, **more: Any
) -> Device:
    if provider == "cpu":
        cpu = profile(name="cpu", family="cpu", vendor="", computeCapability="", sharing=["cpu"])
        return Device("cpu", cpu.platform(), memory, "cpu", cpu=4000)
    fields = {"resource": "nvidia.com/gpu", "units": shares * count, **more}
    return Device("t4-0", (its or profile()).platform(), memory, provider, shares, count, **fields)


def state(
    its: Device,
    memory: int = 0,
    compute: int = 0,
    units: int = 0,
    *,
    slices: int = 0,
    largest: int = 0,
    largest_compute: int = 0,
    templates: tuple[str, ...] = (),
    uncounted: bool = False,
) -> DeviceState:
    return DeviceState(its, Charge(memory, compute, units, templates), slices, largest, largest_compute, uncounted)


def answer(its: DeviceState, request: Request) -> Answer:
    """What the device's provider says, a refusal without how near it came."""
    found = PROVIDERS[its.device.provider].grant(its, request)
    return (found.reason, found.message) if isinstance(found, Refusal) else found


def taking(its: Device, requests: list[Request]) -> list[Answer]:
    """The answers to requests one after another, each grant charged before the next."""
    answers: list[Answer] = []
    held: list[Charge] = []
    for request in requests:
        total = Charge(
            sum(charge.memory for charge in held),
            sum(charge.compute for charge in held),
            sum(charge.units for charge in held),
            tuple(sorted(name for charge in held for name in charge.templates)),
        )
        found = answer(DeviceState(its, total, len(held)), request)
        answers.append(found)
        if isinstance(found, Grant):
            held.append(charge(its, found))
    return answers


def charge(its: Device, granted: Grant) -> Charge:
    """What the ledger charges for a grant."""
    templates = its.profile.partitions.templates if its.profile.partitions else ()
    names = tuple(each.name for each in templates if each.resource in granted.resources)
    units = int(granted.resources.get(its.resource, "0")) if its.resource else 0
    return Charge(granted.memory, granted.compute, units, names)
