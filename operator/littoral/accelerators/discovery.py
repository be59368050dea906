"""Which devices a node has, concluded from what its EdgeNode declares and from what its Node shows.

The order of trust: the EdgeNode's declaration, the Node label littoral.dev/profile, the labels by which the catalogue
identifies a profile, HAMi's register, a resource that only one profile goes by (claims.py). How many units there are is
what the kubelet says (allocatable): labels and declarations can only lower it. A contradiction never raises capacity;
it becomes CapacityKnown=False with both figures and what to do.

Who counts the devices of a claim depends on how they are shared: HAMi registers each card (hami.py), split chips are
counted by partitions (vnpu.py), a device plugin counts the others (plugin.py), and a device that the container runtime
gives to every pod of its RuntimeClass, as on most Jetsons, is counted by nobody.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from littoral.accelerators import claims as claimed
from littoral.accelerators import hami, labels, machine, plugin, vnpu
from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.device import Device, Discovery
from littoral.accelerators.inquiry import DECLARATION, Claim, Inquiry
from littoral.accelerators.profile import CPU
from littoral.api.conditions import CAPACITY_KNOWN, Finding
from littoral.api.edgenode import EdgeNodeSpec
from littoral.api.group import LABEL_POOL, LABEL_PROFILE
from littoral.api.quantity import to_mib
from littoral.api.workload import NodeFacts

LABEL_ZONE: Final = "topology.kubernetes.io/zone"


def discover(
    node: NodeFacts, edge: EdgeNodeSpec, catalogue: Catalogue, runtime_classes: AbstractSet[str] | None = None
) -> Discovery:
    """The node's devices, its pool and site, and whether its capacity is known.

    `runtime_classes` are those that exist in the cluster; None where nobody can say.
    """
    inquiry = Inquiry(node, edge, catalogue, runtime_classes)
    found = claimed.declared(inquiry) if edge.accelerators else claimed.shown(inquiry)
    machine.check_stack(inquiry)
    devices = _unmixed(_devices(found, inquiry), inquiry)
    cpu = Device(
        CPU,
        catalogue.platform(catalogue.cpu),
        max(0, node.memory - to_mib(edge.reserved.memory)),
        "cpu",
        cpu=machine.cpu(node, found),
        source="every Node has its own cores and memory",
    )
    family = devices[0].profile.family if devices else CPU
    return Discovery(
        devices=(*devices, cpu),
        findings=(_capacity(devices, inquiry),),
        pool=edge.pool or node.labels.get(LABEL_POOL) or family,
        site=node.labels.get(LABEL_ZONE, ""),
    )


def selected(node: NodeFacts, catalogue: Catalogue) -> bool:
    """Whether the operator makes an EdgeNode for this Node: it has a known accelerator, or somebody says it is ours."""
    its = node.labels
    if LABEL_PROFILE in its or LABEL_POOL in its or hami.registered(node):
        return True
    if any(its.get(key) in values for key, values in labels.OURS.items()):
        return True
    if not node.resources.keys().isdisjoint(claimed.resources(catalogue)):
        return True
    return any(labels.identifies(node, profile) for profile in catalogue.profiles.values())


def annotations_read(annotations: Mapping[str, str]) -> dict[str, str]:
    """What discovery reads of a Node's annotations: others may be large, and some change with every heartbeat."""
    foreign = {key: "" for key in annotations if key.startswith(plugin.HAMI_OF_OTHERS)}
    return {**foreign, **hami.projected(annotations)}


def _devices(claims: list[Claim], inquiry: Inquiry) -> list[Device]:
    """The devices of all claims, by whoever counts them."""
    found: list[Device] = []
    by_hami: list[Claim] = []
    for claim in claims:
        machine.check_power_mode(claim, inquiry)
        if claim.mode is not None and claim.mode not in claim.profile.sharing:
            inquiry.unsupported(claim.profile, claim.mode)
            found.append(plugin.refused(claim, inquiry))
        elif claim.mode == "hami" or (labels.nvidia(claim.profile) and hami.registered(inquiry.node)):
            if _hami_may(claim, inquiry):
                by_hami.append(claim)
            else:
                found.append(plugin.refused(claim, inquiry))
        elif claim.mode == "vnpu" or (claim.mode is None and vnpu.split(inquiry.node, claim.profile)):
            found.extend(vnpu.devices(claim, inquiry))
        elif claim.mode == "runtime" or _without_plugin(claim, inquiry):
            found.append(_by_runtime(claim, inquiry))
        else:
            found.append(plugin.devices(claim, inquiry))
    return found + (hami.devices(by_hami, inquiry) if by_hami else [])


def _hami_may(claim: Claim, inquiry: Inquiry) -> bool:
    """Whether HAMi really shares the claim's devices, and may; a sentence where not."""
    if "hami" not in claim.profile.sharing:
        inquiry.unsupported(claim.profile, "hami")
    elif claim.mode not in {"hami", None}:
        shown = f"the Node annotation {hami.REGISTER} says that HAMi shares them"
        inquiry.not_configured(claim.profile, claim.mode or "whole", claim.shares, shown)
    elif not hami.registered(inquiry.node):
        inquiry.not_configured(
            claim.profile, "hami", claim.shares, f"the Node has no annotation {hami.REGISTER}, by which HAMi says so"
        )
    else:
        return True
    return False


def _without_plugin(claim: Claim, inquiry: Inquiry) -> bool:
    """Whether the device is given by the runtime for all that is known: nobody cuts it, and no plugin counts it.

    A card that gpu-feature-discovery has labelled has NVIDIA's device plugin, of which it is a part: one that has
    not registered yet, as on a node that has just joined.
    """
    its, node = claim.profile, inquiry.node
    counted = any(resource in node.resources for resource in its.resources)
    awaited = labels.PRODUCT in node.labels and labels.nvidia(its) and not its.unified
    return claim.mode is None and not claim.shares and "runtime" in its.sharing and not counted and not awaited


def _by_runtime(claim: Claim, inquiry: Inquiry) -> Device:
    """The one device that every pod of its RuntimeClass has; what the ledger grants is the only budget."""
    profile, node = claim.profile, inquiry.node
    if max(claim.count, claim.shares) > 1:
        many = f"{claim.count} x {profile.name}" if claim.count > 1 else f"{profile.name} in {claim.shares} shares"
        inquiry.problem(
            "SharingUnsupported",
            f"{claim.source} says {many}, but without a device plugin the runtime gives every pod all that there is: "
            "run a device plugin on the node, or correct the figure to 1",
        )
        return plugin.refused(claim, inquiry)
    advertised = next((resource for resource in profile.resources if node.resources.get(resource)), None)
    if advertised is not None:
        inquiry.not_configured(
            profile, "runtime", 0, f"the Node advertises {node.resources[advertised]} of {advertised}"
        )
    because = f"runtime, for the Node advertises no {' or '.join(profile.resources)}"
    silent = claim.mode is not None or not profile.resources
    return machine.device(claim, inquiry, f"{profile.name}-0", "runtime", "" if silent else because)


def _unmixed(devices: list[Device], inquiry: Inquiry) -> list[Device]:
    """Unlike devices under one resource name cannot be told apart by a pod, except by HAMi, which takes a card's id:
    none of them is handed out.
    """
    shared = Counter(device.resource for device in devices if device.resource and not device.uuid)
    mixed = {resource for resource, times in shared.items() if times > 1}
    for resource in sorted(mixed):
        kinds = " and ".join(device.profile.name for device in devices if device.resource == resource)
        inquiry.problem(
            "UnlikeDevices",
            f"{kinds} are both advertised as {resource}, so a pod may get either: have the device plugins "
            "advertise them under names of their own",
        )
    return [replace(device, units=0) if device.resource in mixed else device for device in devices]


def _capacity(devices: Iterable[Device], inquiry: Inquiry) -> Finding:
    problems = inquiry.problems
    if problems:
        message = "; ".join(problem.message for problem in problems)
        return Finding(CAPACITY_KNOWN, "False", problems[0].reason, message)
    known = list(devices)
    if not known:
        return Finding(CAPACITY_KNOWN, "True", "NoAccelerator", "No accelerator is declared or shown: cpu only")
    reason = "Declared" if known[0].source.startswith(DECLARATION) else "Discovered"
    parts = (f"{device.count} x {device.profile.name} ({device.source})" for device in known)
    return Finding(CAPACITY_KNOWN, "True", reason, ", ".join(parts))
