"""The arithmetic that mechanisms have in common: what is left of a device, and shares of one that is cut evenly.

Where the kubelet chooses among several devices (Blind) only even shares are safe: whatever it chooses, a device with
all its units handed out holds no more than its whole. Where there is one device the ledger may cut to size.
"""

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.api.quantity import short_mib
from littoral.slicing import refusals
from littoral.slicing.pod import patch
from littoral.slicing.provider import DeviceState, Grant, Refusal, Request

UNIT = "1"
"""Never more: two units of a shared resource are access twice, not a larger part."""


def room(state: DeviceState, memory: int, compute: int) -> Refusal | None:
    """Whether so much memory and compute is left of the device, or of all that are alike."""
    device, charged = state.device, state.charged
    if memory > (free := device.total_memory - charged.memory):
        return refusals.memory(free, Request(memory))
    if compute > (left := 100 * device.count - charged.compute):
        return refusals.compute(left, Request(memory, compute))
    return None


def unit(state: DeviceState) -> Refusal | None:
    """Whether a unit of the counted resource is left."""
    device = state.device
    if state.charged.units < device.units:
        return None
    return Refusal("NoUnitLeft", f"with all {device.units} {device.resource} in use", near=0.5)


def share(
    state: DeviceState, request: Request, isolation: Isolation, *, mounted: tuple[str, ...] = ()
) -> Grant | Refusal:
    """One unit, and with it one share: memory / shares of the smallest device, 100 / shares percent.

    A unified device has no memory to cut: there each slice is granted what it asks of the node's. `mounted` are paths
    that the device plugin mounts in the pod.
    """
    device = state.device
    memory = request.memory if device.shares_node_memory else device.memory // device.shares
    compute = 100 // device.shares
    refusal = (
        refusals.never(device, isolation, request)
        or _beyond_share(device, memory, compute, request)
        or unit(state)
        or uncounted(state)
        or _uneven(state, memory, compute)
        or room(state, memory, compute)
    )
    if refusal:
        return refusal
    return Grant(memory, compute, isolation, {str(device.resource): UNIT}, patch(device, mounted=mounted))


def uncounted(state: DeviceState) -> Refusal | None:
    """A slice from before that the kubelet does not count: among several devices it takes that one's for free."""
    device = state.device
    if device.count == 1 or not state.uncounted:
        return None
    sentence = f"with a slice from before on its {device.profile.name}, of which {device.resource} does not know"
    return Refusal("UncountedSlice", sentence)


def _uneven(state: DeviceState, memory: int, compute: int) -> Refusal | None:
    """A larger grant from before the device was cut like this: where the kubelet chooses, no device is safe from it."""
    device = state.device
    larger = (state.largest > memory and not device.shares_node_memory) or state.largest_compute > compute
    if device.count == 1 or not larger:
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
