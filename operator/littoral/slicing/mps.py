"""NVIDIA MPS by the device plugin: processes of several pods run on a GPU at once, each within limits that CUDA keeps.

The plugin's control daemon sets, for each GPU, a memory limit of total / replicas and 100 / replicas percent of its
threads, so all shares are alike, on a single GPU too: nobody can have 30% of the memory and 70% of the threads. Both
are limits of a CUDA client, which is a process and not a pod (NVIDIA/k8s-device-plugin#720): a server whose model opens
CUDA in processes of its own, as a python model may, gets a share for each. What a model does cannot be known here.

Isolation Soft: memory and threads are limited, faults are not contained. A client's fatal error ends all clients of
that GPU.

An MPS server takes 48 clients at most on compute capability 7.5 and later, else 16 (mps-control-daemon, device.go); the
plugin then advertises nothing. There is no MPS by the plugin on Jetson (#1412).

The plugin mounts the daemon's /dev/shm in the container, through which clients reach the server; the pod needs no IPC
namespace of the host's, but must mount nothing of its own there.
"""

from typing import Final

from littoral.accelerators.device import Device
from littoral.accelerators.sharing import mps_clients
from littoral.api.gpuslice import Isolation
from littoral.slicing import budget
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request

_MOUNTED: Final = ("/dev/shm",)  # noqa: S108 (where CUDA looks for it)


class Mps:
    """Gives one of the shares that the control daemon enforces."""

    name: Final = "mps"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """Limits that CUDA keeps; a fault passes them."""
        return "Soft"

    def picker(self, device: Device) -> DevicePicker:
        """With several GPUs the kubelet chooses, and does not say."""
        return "Blind" if device.count > 1 else "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give one share, if one is left."""
        return _impossible(state.device) or budget.share(state, request, "Soft", mounted=_MOUNTED)


def _impossible(device: Device) -> Refusal | None:
    name = device.profile.name
    if device.shares_node_memory and device.provider not in device.profile.unsupported:
        sentence = f"whose {name} cannot be shared by mps: its memory is the node's, which no client can be limited in"
        return Refusal("SharingUnsupported", sentence)
    most = mps_clients(device.profile.compute_capability)
    if device.shares > most:
        return Refusal(
            "TooManyClients",
            f"whose {name} is cut into {device.shares} shares, where its MPS server takes {most} clients at most",
            near=most / device.shares,
        )
    return None
