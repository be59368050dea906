"""The refusals that several mechanisms share, so that the same cause always reads the same."""

from littoral.accelerators.device import Device
from littoral.api.gpuslice import ISOLATION_ORDER, Isolation
from littoral.api.quantity import short_mib
from littoral.slicing.provider import Refusal, Request


def weaker(device: Device, isolation: Isolation, request: Request) -> Refusal | None:
    """The device's mechanism keeps slices less apart than asked."""
    if ISOLATION_ORDER.index(isolation) >= ISOLATION_ORDER.index(request.isolation):
        return None
    return Refusal(
        "InsufficientIsolation",
        f"whose {device.profile.name} ({device.provider}) has isolation {isolation}, not {request.isolation}",
    )


def unusable(device: Device) -> Refusal | None:
    """The node hands out no unit of the resource at all; the EdgeNode's condition CapacityKnown says why."""
    if device.resource is None or device.units > 0:
        return None
    return Refusal("NoCapacity", f"without usable {device.resource} (its EdgeNode says why)")


def unsupported(device: Device) -> Refusal | None:
    """The hardware cannot be shared like this, as the catalogue says with the reason."""
    reason = device.profile.unsupported.get(device.provider)
    if reason is None:
        return None
    return Refusal("SharingUnsupported", f"whose {device.profile.name} cannot be shared by {device.provider}: {reason}")


def never(device: Device, isolation: Isolation, request: Request) -> Refusal | None:
    """What holds whatever the load: the device cannot be shared like this, isolates too little, or is not there."""
    return unsupported(device) or weaker(device, isolation, request) or unusable(device)


def memory(free: int, request: Request) -> Refusal:
    """Too little memory is left, MiB."""
    free = max(0, free)  # less than nothing is left where capacity shrank
    have, need = short_mib(free), short_mib(request.memory)
    if have == need:  # rounding for people must not hide the difference
        have, need = f"{free}Mi", f"{request.memory}Mi"
    near = free / max(1, request.memory)
    return Refusal("InsufficientMemory", f"with {have} free of {need} needed", near=near)


def compute(free: int, request: Request) -> Refusal:
    """Too little compute is left, percent of one device; less than nothing where its capacity shrank."""
    if not request.compute:
        return Refusal("InsufficientCompute", "with more compute granted than there is")
    free = max(0, free)
    return Refusal(
        "InsufficientCompute",
        f"with {free}% compute free of {request.compute}% needed",
        near=free / request.compute,
    )
