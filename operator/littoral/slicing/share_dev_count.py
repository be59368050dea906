"""Ascend's shareDevCount: the device plugin advertises a chip as 2 to 100 units, which take turns on it.

The only fraction of an Ascend 310B (Atlas 200I A2, 200I DK A2, 500 A2), which cannot be split into vNPUs; the Atlas
300I Pro, 300V and 300V Pro have it as well (MindCluster, "virtual instances"; the driver needs `device-share true`).

Isolation None: the chip's time is shared, its memory neither divided nor limited. A task may ask for one unit, no more.
"""

from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.slicing import budget
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request


class ShareDevCount:
    """Gives one unit."""

    name: Final = "share-dev-count"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """Turns on a chip keep nobody apart."""
        return "None"

    def picker(self, device: Device) -> DevicePicker:
        """With several chips the kubelet chooses, and does not say."""
        return "Blind" if device.count > 1 else "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give one unit, if one is left and the chip can honour its share."""
        return budget.share(state, request, "None")
