"""NVIDIA time-slicing: the device plugin advertises each GPU as several units, whose processes take turns on it.

The resource is nvidia.com/gpu, or nvidia.com/gpu.shared under renameByDefault; discovery finds which. A pod asks for
one unit, always: more is access twice and no larger part, and with failRequestsGreaterThanOne the pod fails for good
(k8s-device-plugin, README, "Shared Access to GPUs").

Isolation None: equal turns, no memory limit, one fault domain. It is the one sharing that works on a Jetson
(NVIDIA/k8s-device-plugin#1412).

Since nothing enforces a size, none is given by the mechanism either: on a node with one GPU the ledger cuts memory and
percent to what is asked. With several GPUs the kubelet chooses and nobody says which, so there every unit is one share.
"""

from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.slicing import budget, refusals
from littoral.slicing.pod import patch
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request


class TimeSlicing:
    """Gives one unit, and of a single GPU exactly what is asked."""

    name: Final = "time-slicing"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """Taking turns keeps nobody apart."""
        return "None"

    def picker(self, device: Device) -> DevicePicker:
        """With several GPUs the kubelet chooses, and does not say."""
        return "Blind" if device.count > 1 else "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give one unit and what was asked, or one share where the kubelet chooses the GPU."""
        device = state.device
        if device.count > 1:
            return budget.share(state, request, "None")
        refusal = (
            refusals.never(device, "None", request)
            or budget.unit(state)
            or budget.room(state, request.memory, request.compute)
        )
        if refusal:
            return refusal
        return Grant(request.memory, request.compute, "None", {str(device.resource): budget.UNIT}, patch(device))
