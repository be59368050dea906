"""Ascend chips that were split into vNPUs beforehand (ascend-device-plugin with -presetVirtualDevice=true).

Each template is a resource of its own (huawei.com/Ascend310P-2c). What the Node advertises says how many partitions of
each there are, not on which chip, nor how many chips were split; whole chips of the same machine stay under the chip's
own resource. The least number of chips that can hold what is advertised is what is concluded, unless declared.
"""

from collections import Counter
from collections.abc import Mapping

from littoral.accelerators import machine, packing, plugin
from littoral.accelerators.device import Device
from littoral.accelerators.inquiry import DECLARATION, Claim, Inquiry
from littoral.accelerators.packing import Vector
from littoral.accelerators.profile import Partitions, Profile
from littoral.api.quantity import to_mib
from littoral.api.workload import NodeFacts


def advertised(node: NodeFacts, profile: Profile) -> dict[str, int]:
    """Partitions that the Node advertises, by template; one that it has named and has none of now counts 0."""
    templates = profile.partitions.templates if profile.partitions else ()
    return {t.name: node.resources[t.resource] for t in templates if t.resource in node.resources}


def split(node: NodeFacts, profile: Profile) -> bool:
    """Whether chips of this profile are split on the node; in a restart of the plugin, were, for all that is known."""
    partitions = advertised(node, profile)
    return any(partitions.values()) or bool(partitions and not _whole(node, profile))


def _whole(node: NodeFacts, profile: Profile) -> int:
    """Chips that the Node advertises whole."""
    return max((node.resources.get(resource, 0) for resource in profile.resources), default=0)


def devices(claim: Claim, inquiry: Inquiry) -> list[Device]:
    """The split chips as one device, and the whole ones beside them as another."""
    profile, node = claim.profile, inquiry.node
    partitions = {name: units for name, units in advertised(node, profile).items() if units}
    whole = 0 if claim.mode == "vnpu" else _whole(node, profile)
    needed = chips(profile, partitions)
    declared = claim.count - whole if claim.count else 0
    if not partitions:
        _missing(claim, inquiry)
    elif claim.count and declared < needed:
        inquiry.mismatch(
            f"{_who(claim)} {claim.count} x {profile.name}, but the Node advertises {_words(partitions)}"
            f"{f' beside {whole} whole' if whole else ''}, for which {needed + whole} are needed",
            "correct `count`",
        )
    count = max(needed, declared, 1)
    found = [
        machine.device(
            claim,
            inquiry,
            f"{profile.name}-vnpu",
            "vnpu",
            f"split into {_words(partitions)}" if partitions else "",
            count=count,
            units=sum(partitions.values()),
            templates=partitions or dict.fromkeys((each.name for each in _partitions(profile).templates), 0),
        )
    ]
    if whole:
        found.append(plugin.whole(claim, whole, inquiry))
    return found


def _missing(claim: Claim, inquiry: Inquiry) -> None:
    profile, named = claim.profile, advertised(inquiry.node, claim.profile)
    if named or claim.mode != "vnpu":
        resources = sorted(t.resource for t in _partitions(profile).templates if t.name in named)
        inquiry.problem(
            "ResourceMissing",
            f"the Node does not advertise {' or '.join(resources)}, so nothing new is placed on its {profile.name}: "
            "see that the device plugin runs; what is bound stays",
        )
        return
    there = _whole(inquiry.node, profile)
    shown = f"the Node advertises {there} of {profile.resources[0]}, whole" if there else "it advertises no partition"
    inquiry.not_configured(profile, "vnpu", 0, shown)


def _who(claim: Claim) -> str:
    return f"{DECLARATION} declares" if claim.declared else f"{claim.source} says"


def _words(partitions: Mapping[str, int]) -> str:
    return ", ".join(f"{units} x {name}" for name, units in sorted(partitions.items()))


def _partitions(profile: Profile) -> Partitions:
    assert profile.partitions is not None  # noqa: S101 - the catalogue requires them where `sharing` has vnpu
    return profile.partitions


def chips(profile: Profile, partitions: Mapping[str, int]) -> int:
    """The least number of chips that can hold these partitions, each whole on one."""
    its = _partitions(profile)
    chip = Vector(its.cores, to_mib(profile.memory or "0"), its.cpus)
    sizes = {each.name: Vector(each.cores, each.memory_mib, each.cpus) for each in its.templates}
    things: Counter[Vector] = Counter()
    for name, units in partitions.items():
        things[sizes[name]] += units
    most = sum(things.values())  # one each
    return next((count for count in range(most) if packing.fits(chip, count, things)), most)
