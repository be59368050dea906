"""Devices that a device plugin counts: whole ones, and those whose units are shares.

How many units there are is what the kubelet says (allocatable): labels and declarations can only lower it.
"""

from littoral.accelerators import labels, machine, sharing
from littoral.accelerators.device import Device
from littoral.accelerators.inquiry import DECLARATION, Claim, Inquiry
from littoral.accelerators.profile import Mechanism

HAMI_OF_OTHERS = "hami.io/node-register-"
"""Followed by the chip: the register of HAMi's plugins for other vendors, which count parts of devices as devices."""


def refused(claim: Claim, inquiry: Inquiry) -> Device:
    """The claim's devices with nothing to hand out; the caller has said why."""
    resource, _ = _advertised(claim, inquiry)
    return machine.device(
        claim, inquiry, _name(claim, max(1, claim.count)), "whole", count=max(1, claim.count), resource=resource
    )


def devices(claim: Claim, inquiry: Inquiry) -> Device:
    """The devices of one claim, with the units that may be handed out: 0 where it is not safe to hand out any."""
    profile = claim.profile
    resource, there = _advertised(claim, inquiry)
    if _foreign(claim, resource, inquiry):
        return refused(claim, inquiry)
    decided = sharing.cut(claim, there, inquiry)
    shares = decided.shares or max(1, there // max(1, claim.count))
    count = claim.count or max(1, there // shares)
    units = _units(claim, count, shares, inquiry, contradicted=decided.contradicted)
    mechanism: Mechanism = decided.mechanism or profile.sharing[0]
    return machine.device(
        claim,
        inquiry,
        _name(claim, count),
        mechanism,
        decided.because,
        shares=shares,
        count=count,
        resource=resource,
        units=units if decided.mechanism else 0,
    )


def whole(claim: Claim, units: int, inquiry: Inquiry) -> Device:
    """So many whole devices of the claim, beside others of it that are shared in another way."""
    resource, _ = _advertised(claim, inquiry)
    return machine.device(claim, inquiry, _name(claim, units), "whole", count=units, resource=resource, units=units)


def _advertised(claim: Claim, inquiry: Inquiry) -> tuple[str | None, int]:
    """The resource that stands for the devices, and its units: the one of several names that has any."""
    its, node = claim.profile.resources, inquiry.node
    if not its:
        return None, 0
    advertised = [name for name in its if name in node.resources]
    resource = max(advertised, key=lambda name: node.resources[name] > 0, default=its[0])
    return resource, node.resources.get(resource, 0)


def _name(claim: Claim, count: int) -> str:
    return f"{claim.profile.name}-0" if count == 1 else claim.profile.name


def _foreign(claim: Claim, resource: str | None, inquiry: Inquiry) -> bool:
    """Whether the units mean something that no provider here can hand out; said if so."""
    node, profile = inquiry.node, claim.profile
    if labels.nvidia(profile) and (fact := labels.partitioned(node)):
        inquiry.partitioned(fact)
        return True
    register = HAMI_OF_OTHERS + (resource or "").partition("/")[2]
    if register in node.annotations:
        inquiry.problem(
            "SharingUnsupported",
            f"the Node annotation {register} says that HAMi shares its {profile.name}, and no provider hands out such "
            "shares: run ascend-device-plugin of MindCluster there",
        )
        return True
    return False


def _units(claim: Claim, count: int, shares: int, inquiry: Inquiry, *, contradicted: bool) -> int:
    """Units that may be handed out of what the Node advertises, with a sentence where that is not what was said."""
    profile = claim.profile
    resource, there = _advertised(claim, inquiry)
    expected = count * shares
    if there == 0:
        inquiry.problem(
            "ResourceMissing",
            f"the Node does not advertise {resource}, so nothing new is placed on its {profile.name}: "
            "see that the device plugin runs; what is bound stays",
        )
    elif claim.declared and there != expected and not contradicted:
        if shares > 1 and there == count:
            shown = f"the Node advertises {there} of {resource}, one for each device"
            inquiry.not_configured(profile, claim.mode or _probably(claim), shares, shown)
        else:
            inquiry.mismatch(
                f"{DECLARATION} declares {count} x {profile.name} in {shares} shares each, {expected} units "
                f"of {resource}, but the Node advertises {there}",
                "correct `count` and `sharing.replicas`, or the device plugin's configuration",
            )
    elif claim.count and not claim.declared and there > expected:
        cut = f", in {shares} shares each" if shares > 1 else ""
        inquiry.problem(
            "UnlikeDevices",
            f"the Node label nvidia.com/gpu.count says {count} x {profile.name}{cut}, but the Node advertises {there} "
            f"of {resource}, so a pod may get another device: see that the node's cards are of one kind, of which "
            "alone gpu-feature-discovery tells, and that its configuration is the device plugin's",
        )
        return 0
    if there > expected and count > 1:
        return 0  # more units than shares: two of them may lie on one device, and nobody says which
    return min(expected, there)


def _probably(claim: Claim) -> Mechanism:
    """By what the declared shares are meant to come about, where no mode says it."""
    return next((mechanism for mechanism in claim.profile.sharing if mechanism in sharing.COUNTED), "counted")
