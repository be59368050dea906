"""A device-plugin resource with several units for each device, whatever plugin it is of: one unit a slice.

Isolation None: the plugin counts, nothing enforces. Every unit is alike: memory / shares of the smallest device,
100 / shares percent. That also makes the kubelet's choice harmless where the node has several devices: any unit of any
device fits. A unified device has no memory to cut: there each slice is granted what it asks of the node's.
"""

from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.slicing import budget
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
        return budget.share(state, request, "None")
