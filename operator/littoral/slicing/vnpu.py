"""Ascend static vNPU: partitions of a chip, made beforehand by npu-smi in the sizes of its templates.

Each template is an extended resource of its own (vir02 of a 310P: huawei.com/Ascend310P-2c), one partition a pod, asked
for as 1. The grant is the smallest template that covers what is asked and of which one is left.

A template takes AI cores, memory and AI CPUs, and each chip has so many of each, seven AI CPUs on a 310P: vir04 with
vir04 does not fit on one, vir04 with vir04_3c does. What all partitions of a node hold must fit on its chips, each
whole on one; the chips are alike, so it is asked whether any way of laying them out exists. A slice from before the
chips were split may hold a whole one, which is then none to lay out on.

Isolation Hard: SR-IOV keeps partitions apart. Two of one core take turns on one pair of cores.

With several chips the kubelet chooses (Blind) among partitions of the size that the pod names; they exist, and all are
alike. `Device.templates` says how many of each the node advertises, none of any while its plugin is away. Empty means
that nobody can say, which discovery never concludes: then the chips alone limit what is granted.

Shared as vNPU a chip cannot be used whole, and an .om runs on a partition only if it was built for one (the variant's
virtualNPU): both are placement's to keep.
"""

from collections import Counter
from functools import lru_cache
from typing import Final

from littoral.accelerators import packing
from littoral.accelerators.device import Device
from littoral.accelerators.packing import Vector
from littoral.accelerators.profile import Partitions, Template
from littoral.api.gpuslice import Isolation
from littoral.api.quantity import short_mib, to_mib
from littoral.slicing import refusals
from littoral.slicing.pod import patch
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request

UNIT: Final = "1"
_mib = lru_cache(maxsize=256)(to_mib)
"""to_mib, remembered: a plan asks for the same few sizes thousands of times."""
_AXES: Final = ("AI cores", "memory", "AICPU")
"""Of a Vector, in words."""


class Vnpu:
    """Gives one partition."""

    name: Final = "vnpu"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """A partition of the hardware."""
        return "Hard"

    def picker(self, device: Device) -> DevicePicker:
        """With several chips the kubelet chooses, among partitions of one size that are all alike."""
        return "Blind" if device.count > 1 else "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give the smallest partition that covers the request, is left, and fits on the chips."""
        device = state.device
        partitions = device.profile.partitions
        if refusal := refusals.never(device, "Hard", request):
            return refusal
        if partitions is None:
            return Refusal("NoCapacity", f"whose {device.profile.name} has no partition templates in the catalogue")
        if device.templates and not any(device.templates.values()):
            return Refusal(
                "NoCapacity", f"without usable partitions of its {device.profile.name} (its EdgeNode says why)"
            )
        covering = [each for each in _ascending(partitions) if _covers(each, partitions, request)]
        if not covering:
            return _too_large(device, partitions, request)
        misses = []
        for template in covering:
            refusal = _none_left(state, template) or _no_room(state, partitions, template)
            if refusal is None:
                compute = _compute(template, partitions)
                return Grant(_mib(template.memory), compute, "Hard", {template.resource: UNIT}, patch(device))
            misses.append(refusal)
        # The smallest size that the node has is the one to tell of.
        return next((miss for miss in misses if miss.reason != "NoSuchPartition"), misses[0])


def _ascending(partitions: Partitions) -> list[Template]:
    return sorted(partitions.templates, key=lambda each: (_mib(each.memory), each.cores, each.cpus))


def _compute(template: Template, partitions: Partitions) -> int:
    """Percent of the chip's AI cores, rounded down: a partition gives no more."""
    return 100 * template.cores // partitions.cores


def _covers(template: Template, partitions: Partitions, request: Request) -> bool:
    return _mib(template.memory) >= request.memory and _compute(template, partitions) >= request.compute


def _too_large(device: Device, partitions: Partitions, request: Request) -> Refusal:
    """No template covers the request, whatever the load."""
    name = device.profile.name
    memory = max(_mib(each.memory) for each in partitions.templates)
    compute = max(_compute(each, partitions) for each in partitions.templates)
    if request.memory > memory:
        has, needed, near = short_mib(memory), short_mib(request.memory), memory / request.memory
    else:
        has, needed, near = f"{compute}% compute", f"{request.compute}%", compute / request.compute
    return Refusal("PartitionTooSmall", f"whose {name} has no partition above {has}, {needed} needed", near=near)


def _none_left(state: DeviceState, template: Template) -> Refusal | None:
    """Every partition of this size that the node advertises is held."""
    advertised = state.device.templates
    if not advertised:
        return None
    units = advertised.get(template.name, 0)
    if units == 0:
        has = ", ".join(f"{count} {name}" for name, count in sorted(advertised.items()) if count)
        return Refusal("NoSuchPartition", f"without a partition of {template.name} (it has {has})")
    if state.charged.templates.count(template.name) < units:
        return None
    return Refusal("NoUnitLeft", f"with all {units} {template.resource} in use", near=0.5)


def _no_room(state: DeviceState, partitions: Partitions, template: Template) -> Refusal | None:
    """The chips cannot hold this one beside what they hold: the axis that lacks, or that no single chip has enough."""
    device = state.device
    sizes = {each.name: _vector(each) for each in partitions.templates}
    held = [sizes[name] for name in state.charged.templates if name in sizes]
    chips = device.count - _whole(state, sum(memory for _, memory, _ in held))
    chip = Vector(partitions.cores, device.memory, partitions.cpus)
    wanted = _vector(template)
    if packing.fits(chip, chips, Counter((*held, wanted))):
        return None
    name = device.profile.name
    if chips <= 0:
        in_use = f"its {name}" if device.count == 1 else f"all {device.count} {name}"
        return Refusal("DeviceInUse", f"with {in_use} in use as a whole, from before the split", near=0.5)
    for axis, word in enumerate(_AXES):
        total, need = chip[axis] * chips, wanted[axis]
        free = total - sum(each[axis] for each in held)
        if free < need:
            show = short_mib if word == "memory" else str
            sentence = f"with {show(free)} of {show(total)} {word} free of {show(need)} that {template.name} needs"
            return Refusal("InsufficientPartition", sentence, near=max(0, free) / need)
    sentence = f"with room for {template.name} on none of its {chips} {name} alone"
    return Refusal("InsufficientPartition", sentence, near=0.5)


def _vector(template: Template) -> Vector:
    return Vector(template.cores, _mib(template.memory), template.cpus)


def _whole(state: DeviceState, partitioned: int) -> int:
    """Chips that slices from before hold whole: those without a partition, or by memory that no partition explains."""
    without = state.slices - len(state.charged.templates)
    unexplained = max(0, state.charged.memory - partitioned)
    return max(0, without, -(-unexplained // max(1, state.device.memory)))
