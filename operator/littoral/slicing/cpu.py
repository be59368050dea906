"""The node's own cores and memory, for models that need no accelerator.

Isolation None: the grant is the pod's request, by which the scheduler and the kernel's CPU weights go, and no limit.
Percent are of the node's allocatable cores.
"""

from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.api.quantity import from_thousandths
from littoral.slicing import budget, refusals
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request


class Cpu:
    """Cuts anything to size."""

    name: Final = "cpu"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """Requests are shares, not walls."""
        return "None"

    def picker(self, device: Device) -> DevicePicker:  # noqa: ARG002 (the protocol's signature)
        """A node has one set of cores."""
        return "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give exactly what is asked while memory and percent last."""
        device = state.device
        if refusal := refusals.weaker(device, "None", request):
            return refusal
        if refusal := budget.room(state, request.memory, request.compute):
            return refusal
        return Grant(request.memory, request.compute, "None", _cores(device.cpu * request.compute // 100))


def _cores(thousandths: int) -> dict[str, str]:
    """A cpu request as the API server prints it; none where nothing was asked."""
    return {"cpu": from_thousandths(thousandths)} if thousandths else {}
