"""A device-plugin resource with several units for each device, as under NVIDIA time-slicing: one unit a slice.

Isolation None: the plugin counts, nothing enforces. Asking for more than one unit buys nothing (NVIDIA's plugin gives
access, not a larger part), so a slice is one unit and every unit is alike: memory / shares of the smallest device,
100 / shares percent. That also makes the kubelet's choice harmless where the node has several devices: any unit of any
device fits. A unified device has no memory to cut: there each slice is granted what it asks of the node's.
"""

from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.api.quantity import short_mib
from littoral.slicing import refusals
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request


class Counted:
    """Gives one unit."""

    name: Final = "counted"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """Counting keeps nobody apart."""
        return "None"

    def picker(self, device: Device) -> DevicePicker:
        """With several devices the kubelet chooses, and does not say."""
        return "Blind" if device.count > 1 else "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give one unit, if one is left and the device can honour its share."""
        device, charged = state.device, state.charged
        if refusal := refusals.weaker(device, "None", request) or refusals.unusable(device):
            return refusal
        memory = request.memory if device.shares_node_memory else device.memory // device.shares
        compute = 100 // device.shares
        if refusal := _beyond_share(device, memory, compute, request):
            return refusal
        if charged.units >= device.units:
            return Refusal("NoUnitLeft", f"with all {device.units} {device.resource} in use", near=0.5)
        if refusal := _uneven(state, memory):
            return refusal
        if memory > (free := device.total_memory - charged.memory):
            return refusals.memory(free, Request(memory))
        if compute > (left := 100 * device.count - charged.compute):
            return refusals.compute(left, Request(memory, compute))
        return Grant(memory, compute, "None", {str(device.resource): "1"})


def _uneven(state: DeviceState, memory: int) -> Refusal | None:
    """A larger grant from before the device was cut like this: where the kubelet chooses, no device is safe from it."""
    device = state.device
    if device.count == 1 or device.shares_node_memory or state.largest <= memory:
        return None
    return Refusal("UnevenGrants", f"with a grant on one of its {device.profile.name} larger than a share, from before")


def _beyond_share(device: Device, memory: int, compute: int, request: Request) -> Refusal | None:
    """A request above a share can never be met here: two units would be no larger part."""
    name, shares = device.profile.name, device.shares
    if request.memory > memory:
        have, need = short_mib(memory), short_mib(request.memory)
        return Refusal(
            "ShareTooSmall",
            f"whose {name} is cut into {shares} shares of {have}, {need} needed",
            near=memory / request.memory,
        )
    if request.compute > compute:
        return Refusal(
            "ShareTooSmall",
            f"whose {name} is cut into {shares} shares of {compute}% compute, {request.compute}% needed",
            near=compute / request.compute,
        )
    return None
