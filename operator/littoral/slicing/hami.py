"""HAMi on NVIDIA GPUs: a library in the container keeps each pod to so many MiB and so many percent of a card.

A pod asks for one card (nvidia.com/gpu: 1), its memory (nvidia.com/gpumem, a plain number of MiB: "4Gi" would be read
as four thousand million) and its percent (nvidia.com/gpucores). Memory is always written out, for without it a pod gets
the whole card. gpumem and gpucores are no resources of the Node: what a card has is in the Node's annotations, what is
left of it in the ledger.

Directed: each card is a device here, and the pod names it (nvidia.com/use-gpuuuid). What HAMi's scheduler gave stands
on the pod afterwards (`reported`), and the ledger goes by that where it differs.

Isolation Soft: the library is preloaded, a process may get round it, and faults are shared.

A pod without gpucores is promised no compute, and is not put on a card whose percent are all taken; one with 100 needs
a card that is empty (pkg/device/nvidia/device.go). HAMi's webhook fails open, and denies privileged pods, which ours
are not: a pod that it passed over runs without limits, and `bypassed` says so.

Written from HAMi's documentation and code (v2.10); nobody has run it here.
"""

from collections.abc import Mapping
from typing import Final

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation
from littoral.api.workload import Reported
from littoral.slicing import budget, refusals
from littoral.slicing.pod import patch
from littoral.slicing.provider import DevicePicker, DeviceState, Grant, Refusal, Request

RESOURCE_MEMORY: Final = "nvidia.com/gpumem"
RESOURCE_CORES: Final = "nvidia.com/gpucores"
ANNOTATION_USE: Final = "nvidia.com/use-gpuuuid"
ANNOTATION_ALLOCATED: Final = "hami.io/vgpu-devices-allocated"
SCHEDULER: Final = "hami-scheduler"


class Hami:
    """Cuts a card to size."""

    name: Final = "hami"

    def isolation(self, device: Device) -> Isolation:  # noqa: ARG002 (the protocol's signature)
        """Limits that a library keeps."""
        return "Soft"

    def picker(self, device: Device) -> DevicePicker:  # noqa: ARG002 (the protocol's signature)
        """The pod names the card."""
        return "Directed"

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Give exactly what is asked of the card while units, memory and percent last."""
        device = state.device
        refusal = (
            refusals.never(device, "Soft", request)
            or _unnamed(device)
            or budget.unit(state)
            or _crowded(state, request)
            or budget.room(state, request.memory, request.compute)
        )
        if refusal:
            return refusal
        memory = max(1, request.memory)  # 0 would be the whole card
        resources = {str(device.resource): budget.UNIT, RESOURCE_MEMORY: str(memory)}
        if request.compute:
            resources[RESOURCE_CORES] = str(request.compute)
        use = ((ANNOTATION_USE, device.uuid),) if device.uuid else ()
        pod = patch(device, annotations=use, scheduler_name=SCHEDULER)
        return Grant(memory, request.compute, "Soft", resources, pod)


def _unnamed(device: Device) -> Refusal | None:
    """Several cards that nobody can tell apart: HAMi would choose, and the ledger could not say which is full."""
    if device.count == 1:
        return None
    name = device.profile.name
    return Refusal("NoDeviceId", f"whose {device.count} {name} HAMi has not registered on its Node by their ids")


def _crowded(state: DeviceState, request: Request) -> Refusal | None:
    """HAMi's two rules about compute beside the sum: nobody joins a card that is full, and 100 percent are for one."""
    taken = state.charged.compute
    if request.compute == 0 and taken >= 100:
        return Refusal("InsufficientCompute", "with 0% compute free, where HAMi places nothing more")
    if request.compute == 100 and state.slices:
        return Refusal("DeviceInUse", f"with its {state.device.profile.name} in use, of which all is needed", near=0.5)
    return None


def reported(annotations: Mapping[str, str]) -> Reported | None:
    """What HAMi's scheduler gave to a pod, from the pod's annotations; None where they do not say.

    The text lists for each container, init containers first, its devices: "UUID,NVIDIA,MiB,percent:" and then ";". Our
    pods ask for one device, in one container.
    """
    for device in annotations.get(ANNOTATION_ALLOCATED, "").replace(";", ":").split(":"):
        uuid, *rest = device.split(",")
        if len(rest) < 3:
            continue
        _, memory, compute = rest[:3]
        if uuid and memory.isdecimal() and compute.isdecimal():
            return Reported(uuid, int(memory), int(compute))
    return None


def bypassed(annotations: Mapping[str, str], scheduler_name: str) -> str:
    """Why a bound pod that was granted a part of a card runs without HAMi's limits; empty where it does not."""
    if scheduler_name != SCHEDULER:
        return f"its scheduler is {scheduler_name or 'the default'}, not {SCHEDULER}: HAMi limits nothing in it"
    if reported(annotations) is None:
        return f"it has no annotation {ANNOTATION_ALLOCATED}: HAMi's webhook passed it over, nothing limits it"
    return ""
