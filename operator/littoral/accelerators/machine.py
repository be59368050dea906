"""What the machine around a device decides about it: its power mode, the software that is installed, what is reserved.

Versions are trusted in this order: the EdgeNode's spec.stack, the Node label littoral.dev/stack, the labels of the
vendors' plugins. With them the catalogue says which Triton image runs there, if any does.
"""

import re
from typing import Any, Final, get_args

from littoral.accelerators import labels
from littoral.accelerators.device import Device
from littoral.accelerators.inquiry import DECLARATION, Claim, Inquiry
from littoral.accelerators.profile import Mechanism, PowerMode, Profile, Stack
from littoral.accelerators.versions import Component
from littoral.api.group import LABEL_STACK
from littoral.api.quantity import to_mib
from littoral.api.workload import NodeFacts

_STACK: Final = re.compile(rf"({'|'.join(get_args(Component))})-([0-9][0-9A-Za-z.+-]*)")
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9A-Za-z]+)*")


def device(
    claim: Claim, inquiry: Inquiry, id_: str, provider: Mechanism, source: str = "", *, reported: int = 0, **more: Any
) -> Device:
    """A device of a claim, with what follows from the machine; `more` are the other fields of Device.

    `source` is what was concluded beyond the claim's own source; `reported` the memory that it says it has, MiB.
    """
    profile = claim.profile
    platform = inquiry.catalogue.platform(profile, installed(inquiry, profile))
    mode = power_mode(claim)
    return Device(
        id_,
        platform,
        _memory(profile, inquiry, reported),
        provider,
        source="; ".join(part for part in (claim.source, source) if part),
        runtime_class=runtime_class(platform.stack, inquiry),
        tops=profile.tops if mode is None else mode.tops,
        **more,
    )


def _memory(profile: Profile, inquiry: Inquiry, reported: int) -> int:
    """What can be granted of one such device, MiB: the least that anybody says, less what is reserved."""
    reserved = to_mib(inquiry.edge.reserved.memory)
    catalogued = to_mib(profile.memory or "0")
    if profile.unified:
        node = max(0, inquiry.node.memory - reserved)
        return min(node, catalogued) if catalogued else node
    sizes = (catalogued, reported, labels.figure(inquiry.node, profile, "gpu.memory"))
    return max(0, min(size for size in sizes if size) - reserved)


def power_mode(claim: Claim) -> PowerMode | None:
    """The power mode that is declared, if the profile has it."""
    return claim.profile.power_mode(claim.power_mode) if claim.power_mode else None


def check_power_mode(claim: Claim, inquiry: Inquiry) -> None:
    """Note a power mode that the profile does not have."""
    profile = claim.profile
    if claim.power_mode and power_mode(claim) is None:
        known = ", ".join(mode.name for mode in profile.power_modes) or "none in the catalogue"
        inquiry.problem(
            "UnknownPowerMode",
            f"{DECLARATION} names the power mode {claim.power_mode!r} of {profile.name}, which has {known}: correct "
            "`powerMode`; until then the profile's own TOPS hold",
        )


def cpu(node: NodeFacts, claims: list[Claim]) -> int:
    """Thousandths of a core: what the kubelet says, at most those that the power mode leaves on."""
    modes = [power_mode(claim) for claim in claims]
    return min([node.cpu, *(mode.cpus * 1000 for mode in modes if mode and mode.cpus)])


def installed(inquiry: Inquiry, profile: Profile) -> dict[str, str]:
    """The versions of JetPack, driver and CANN on the machine, as far as somebody says them."""
    node = inquiry.node
    found: dict[str, str] = {}
    driver = _driver(node, profile)
    if driver:
        found["driver"] = driver
    label = _STACK.fullmatch(node.labels.get(LABEL_STACK, ""))
    if label:
        found[label[1]] = label[2]
    declared = inquiry.edge.stack.model_dump(exclude_none=True)
    return {**found, **declared}


def check_stack(inquiry: Inquiry) -> None:
    """Note a label littoral.dev/stack that cannot be read."""
    text = inquiry.node.labels.get(LABEL_STACK)
    if text is not None and not _STACK.fullmatch(text):
        inquiry.problem(
            "UnknownStack",
            f"the Node label {LABEL_STACK}={text} says no version: write jetpack-6.2, driver-550.54.15 or cann-8.3.rc1",
        )


def _driver(node: NodeFacts, profile: Profile) -> str:
    """The driver's version by the vendor's own labels; on Jetson gpu-feature-discovery writes "unknown"."""
    if labels.nvidia(profile):
        keys = ("nvidia.com/cuda.driver.major", "nvidia.com/cuda.driver.minor", "nvidia.com/cuda.driver.rev")
        parts = ".".join(filter(None, (node.labels.get(key, "") for key in keys)))
        text = node.labels.get("nvidia.com/cuda.driver-version.full", parts)
    elif any(resource.startswith(labels.HUAWEI) for resource in profile.resources):
        text = node.labels.get("huawei.com/driver.version", "")
    else:
        return ""
    return text if _VERSION.fullmatch(text) else ""


def runtime_class(stack: Stack, inquiry: Inquiry) -> str:
    """The RuntimeClass that the stack needs, where it exists and the node's runtime can read it.

    KubeEdge's edged reads no RuntimeClass and would refuse the pod; its kubelet version says so
    (v1.32.10-kubeedge-v1.22.0).
    """
    name = stack.runtime_class_name
    known = inquiry.runtime_classes
    if not name or "kubeedge" in inquiry.node.kubelet or (known is not None and name not in known):
        return ""
    return name
