"""A single device that its container runtime gives to any pod which asks, with no device plugin: the usual Jetson.

The pod names the device in a variable of its environment, and the runtime (NVIDIA's or Ascend's, by a RuntimeClass or
as the node's default) puts it into the container. Nobody counts and nothing is limited: the ledger is the only budget.

Isolation None. More than one device is refused: each pod would see all of them.

Of NVIDIA's runtime: NVIDIA_VISIBLE_DEVICES=all; what of the driver is put in, NVIDIA_DRIVER_CAPABILITIES, is left to
the image, and to the runtime's default, "compute,utility" (nvidia-container-toolkit, internal/config/image). Of
Ascend's: ASCEND_VISIBLE_DEVICES, physical ids.
"""

from collections.abc import Mapping
from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.slicing import budget, refusals
from littoral.slicing.pod import Pairs, patch
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request

_VISIBLE: Final[Mapping[str, Pairs]] = {
    "nvidia": (("NVIDIA_VISIBLE_DEVICES", "all"),),
    "huawei": (("ASCEND_VISIBLE_DEVICES", "0"),),
}
"""By the profile's vendor."""


class Runtime:
    """Cuts the one device to size."""

    name: Final = "runtime"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """Nothing keeps pods apart, not even a count."""
        return "None"

    def picker(self, device: Device) -> DevicePicker:  # noqa: ARG002 (the protocol's signature)
        """There is one."""
        return "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give exactly what is asked while memory and percent last."""
        device = state.device
        refusal = (
            refusals.unsupported(device)
            or refusals.weaker(device, "None", request)
            or _several(device)
            or budget.room(state, request.memory, request.compute)
        )
        if refusal:
            return refusal
        visible = _VISIBLE.get(device.profile.vendor, ())
        return Grant(request.memory, request.compute, "None", pod=patch(device, env=visible))


def _several(device: Device) -> Refusal | None:
    if device.count == 1:
        return None
    return Refusal("NoDevicePlugin", f"with {device.count} {device.profile.name} and no device plugin to choose one by")
