"""Who says that a node has which devices: its EdgeNode, else its Node's labels, else the resources it advertises.

A claim is what somebody says; how many units there really are, and how they are shared, is for later.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from littoral.accelerators import hami, labels
from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.inquiry import DECLARATION, TELL, Claim, Inquiry
from littoral.accelerators.profile import Profile
from littoral.api.group import LABEL_PROFILE
from littoral.api.workload import NodeFacts

_MANY: Final = 4
"""Candidates that are named one by one."""


def declared(inquiry: Inquiry) -> list[Claim]:
    """What the EdgeNode says, and where the Node's labels contradict it."""
    claims: dict[tuple[str, str | None], Claim] = {}
    for its in inquiry.edge.accelerators:
        profile = inquiry.catalogue.get(its.profile)
        if profile is None:
            inquiry.unknown_profile(DECLARATION, its.profile)
            continue
        if profile.is_cpu:
            continue  # every node has it
        key = (profile.name, its.sharing.mode)
        if key in claims:
            claims[key] = replace(claims[key], count=claims[key].count + its.count)
            continue
        # 1 is what the API server fills in: nothing is said of shares.
        shares = its.sharing.replicas if its.sharing.replicas > 1 else 0
        claims[key] = Claim(profile, its.count, shares, DECLARATION, its.sharing.mode, its.power_mode)
    _contradicted(list(claims.values()), inquiry)
    return list(claims.values())


def _contradicted(claims: list[Claim], inquiry: Inquiry) -> None:
    node = inquiry.node
    said = {claim.profile.name for claim in claims}
    silent = Inquiry(node, inquiry.edge, inquiry.catalogue)
    for other in shown(silent):
        rival = next((claim for claim in claims if set(claim.profile.resources) & set(other.profile.resources)), None)
        if rival is not None and other.profile.name not in said:
            inquiry.mismatch(
                f"{DECLARATION} declares {rival.profile.name}, but {other.source} says {other.profile.name}",
                "correct the one that is wrong; until then the declaration holds",
            )
    for name in said:
        ours = [claim for claim in claims if claim.profile.name == name]
        count, its = sum(claim.count for claim in ours), labels.figure(node, ours[0].profile, "gpu.count")
        if its and its != count and not labels.partitioned(node):
            inquiry.mismatch(
                f"{DECLARATION} declares {count} x {name}, but the Node label nvidia.com/gpu.count says {its}",
                "correct `count`",
            )


def shown(inquiry: Inquiry) -> list[Claim]:
    """What the Node says: littoral.dev/profile, else for each resource the profile that its labels fit most closely,
    else the types in HAMi's register, else a resource that only one profile goes by.
    """
    node, catalogue = inquiry.node, inquiry.catalogue
    named = node.labels.get(LABEL_PROFILE)
    if named is not None:
        profile = catalogue.get(named)
        if profile is None:
            inquiry.unknown_profile(f"Node label {LABEL_PROFILE}", named)
        if profile is None or profile.is_cpu:
            return []
        return [_labelled(node, profile, f"Node label {LABEL_PROFILE}={named}")]
    matches = [profile for profile in catalogue.profiles.values() if labels.identifies(node, profile)]
    # More labels in common is a closer match (a product before a family); the name decides what is left.
    matches.sort(key=lambda profile: (-len(profile.labels), profile.name))
    claims: list[Claim] = []
    taken: set[str] = set()
    for profile in matches:
        if taken.isdisjoint(_names(profile)):
            taken.update(_names(profile))
            claims.append(_labelled(node, profile, _why(node, profile)))
    if not any(labels.nvidia(claim.profile) for claim in claims):
        for profile in hami.profiles(inquiry):
            taken.update(_names(profile))
            claims.append(Claim(profile, 0, 0, f"Node annotation {hami.REGISTER}"))
        if hami.registered(node):
            taken.add(hami.RESOURCE)
    return claims + _advertised(inquiry, taken)


def _labelled(node: NodeFacts, profile: Profile, source: str) -> Claim:
    replicas = labels.figure(node, profile, "gpu.replicas")
    return Claim(profile, labels.figure(node, profile, "gpu.count"), replicas if replicas > 1 else 0, source)


def _why(node: NodeFacts, profile: Profile) -> str:
    """The first of the labels that identified it; where it followed from another one, that."""
    key = next((key for key in sorted(profile.labels) if key in node.labels), None)
    key = key or next(key for key in (labels.CHIP, labels.ASCEND, labels.SERVER) if key in node.labels)
    return f"Node label {key}={node.labels[key]}"


def _names(profile: Profile) -> set[str]:
    """The resources by which a node may advertise such a device, whole or in partitions."""
    templates = profile.partitions.templates if profile.partitions else ()
    return {*profile.resources, *(template.resource for template in templates)}


@lru_cache(maxsize=4)
def _by_resource(catalogue: Catalogue) -> dict[str, tuple[Profile, ...]]:
    """The profiles that go by a resource. A catalogue is compared by identity, and there is one at a time."""
    found: dict[str, tuple[Profile, ...]] = {}
    for profile in catalogue.profiles.values():
        for name in _names(profile):
            found[name] = (*found.get(name, ()), profile)
    return found


def resources(catalogue: Catalogue) -> Iterable[str]:
    """Every resource that some profile goes by."""
    return _by_resource(catalogue).keys()


def _advertised(inquiry: Inquiry, taken: set[str]) -> list[Claim]:
    """What follows from resources that no label explains: a profile, if the name fits only one, else a question."""
    node = inquiry.node
    if fact := labels.partitioned(node):
        inquiry.partitioned(fact)
        taken |= {name for name in node.resources if name.startswith(labels.NVIDIA)}
    claims: list[Claim] = []
    by_resource = _by_resource(inquiry.catalogue)
    for name in sorted(node.resources):
        if name in taken or name not in by_resource:
            continue
        candidates = tuple(
            profile
            for profile in by_resource[name]
            if profile.architecture in {"", node.architecture or profile.architecture}
            and not labels.contradicts(node, profile)
        )
        # nvidia.com/gpu may be any GPU that NVIDIA makes, of which the catalogue has a few.
        if len(candidates) == 1 and not name.startswith(labels.NVIDIA):
            taken |= _names(candidates[0])
            claims.append(Claim(candidates[0], 0, 0, f"allocatable {name}"))
            continue
        for profile in by_resource[name]:
            taken |= _names(profile)
        inquiry.problem("AmbiguousDevice", f"the Node advertises {name}, but {_which(candidates)}: {TELL}")
    if not claims and not taken:
        _hidden(inquiry)
    return claims


def _which(candidates: tuple[Profile, ...]) -> str:
    names = sorted(profile.name for profile in candidates)
    if not names:
        return "no profile of the catalogue fits its labels"
    if len(names) == 1:
        return f"no label says that it is {names[0]}"
    if len(names) <= _MANY:
        return f"no label tells whether it is {' or '.join(names)}"
    return f"no label tells which of {len(names)} profiles it is"


def _hidden(inquiry: Inquiry) -> None:
    """A device that node-feature-discovery sees and that nothing else tells of."""
    node = inquiry.node
    if node.labels.get(labels.TEGRA) == "NVIDIA":
        inquiry.problem(
            "AmbiguousDevice",
            f"the Node label {labels.TEGRA}=NVIDIA says that it is a Jetson, but not which: {TELL}; "
            f"`littoral node probe {node.name}` finds out",
        )
    elif node.labels.get(labels.PCI) == "true":
        inquiry.problem(
            "AmbiguousDevice",
            f"the Node label {labels.PCI}=true says that it has a card of NVIDIA's, but not which: "
            f"run NVIDIA's device plugin with gpu-feature-discovery there, or {TELL}",
        )
