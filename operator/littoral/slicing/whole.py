"""A whole device for one slice: one unit of a device-plugin resource that is not shared.

Isolation Hard: nobody else is on the device. On a unified device it is None, because its memory is the node's and every
pod of the node draws on it; there the grant is the memory that was asked, since the device brings none of its own.
"""

from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.slicing import budget, refusals
from littoral.slicing.pod import patch
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request


class Whole:
    """Gives all or nothing."""

    name: Final = "whole"

    def isolation(self, device: Device) -> Isolation:
        """Hard, unless the device has no memory of its own."""
        return "None" if device.shares_node_memory else "Hard"

    def picker(self, device: Device) -> DevicePicker:
        """With several alike the kubelet chooses; any of them is as good."""
        return "Blind" if device.count > 1 else "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give one device that holds no slice."""
        device, isolation = state.device, self.isolation(state.device)
        if refusal := refusals.never(device, isolation, request):
            return refusal
        if not device.shares_node_memory and request.memory > device.memory:
            return refusals.memory(device.memory, request)
        # Slices of an earlier sharing may each lie on a device of its own: so many are not free.
        if state.slices >= device.count or state.charged.units >= device.units:
            in_use = f"its {device.profile.name}" if device.count == 1 else f"all {device.count} {device.profile.name}"
            return Refusal("DeviceInUse", f"with {in_use} in use", near=0.5)
        if refusal := budget.uncounted(state):
            return refusal
        memory = device.memory
        if device.shares_node_memory:
            free = device.memory - state.charged.memory
            if request.memory > free:
                return refusals.memory(free, request)
            memory = request.memory
        return Grant(memory, 100, isolation, {str(device.resource): budget.UNIT}, patch(device))
