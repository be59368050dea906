"""The physical cards of a node that HAMi shares: its device plugin registers them in an annotation of the Node.

HAMi advertises only how many pods its cards take together; what a card is and holds stands in the register alone. There
are two encodings (Project-HAMi/HAMi, pkg/device/devices.go): `uuid,count,MiB,core,type,numa,healthy[,index,mode]:` of
older releases, and a JSON array in which false and 0 are left out, so that a card without `health` is unhealthy.

HAMi's scheduler and its plugin shake hands through another annotation twice a minute. Only "Deleted", by which older
schedulers give up on a plugin, says anything without a clock; a plugin that is gone shows as a resource of 0 units.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from littoral.accelerators import labels, machine
from littoral.accelerators.device import Device
from littoral.accelerators.inquiry import DECLARATION, TELL, Claim, Inquiry, Problem
from littoral.accelerators.profile import Profile
from littoral.api.workload import NodeFacts

REGISTER: Final = "hami.io/node-nvidia-register"
HANDSHAKE: Final = "hami.io/node-handshake"
CORDON: Final = "hami.io/device-cordon"
"""UUIDs of cards, separated by commas, that take nothing new."""
RESOURCE: Final = "nvidia.com/gpu"
_CORE_MODE: Final = "hami-core"
_FIELDS: Final = {7, 9}
_UUID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""GPU-8dcd427f-…: it goes into annotations of pods."""
_LARGEST: Final = 2**31 - 1
_MOST: Final = 32
"""Cards: a node's status lists at most 64 devices, and a register may be anybody's text."""
_SHOWN: Final = 64
"""Characters of it that a sentence repeats."""


@dataclass(frozen=True, slots=True)
class Card:
    """One physical card as HAMi registers it."""

    uuid: str
    index: int
    pods: int
    """That it takes at most (deviceSplitCount)."""
    memory: int
    """MiB, after HAMi's deviceMemoryScaling."""
    type: str
    """NVIDIA-Tesla T4: NVML's name, with NVIDIA before it."""
    healthy: bool
    mode: str = _CORE_MODE

    @property
    def products(self) -> tuple[str, ...]:
        """What gpu-feature-discovery would call it: Tesla-T4, or with NVIDIA before it as newer drivers have it."""
        name = re.sub(r"[^A-Za-z0-9._]+", "-", self.type).strip("-")
        return (name, name.removeprefix("NVIDIA-"))


def registered(node: NodeFacts) -> bool:
    """Whether HAMi shares the node's NVIDIA cards."""
    return bool(node.annotations.get(REGISTER, "").strip())


def parse(text: str) -> tuple[Card, ...]:
    """The cards of a register, in the order of their index. Raises ValueError where it cannot be read."""
    cards = _from_json(text) if text.lstrip().startswith("[") else _from_fields(text)
    for card in cards:
        if not _UUID.fullmatch(card.uuid):
            raise ValueError(f"{card.uuid[:_SHOWN]!r} is no id of a card")
    if len(cards) > _MOST:
        raise ValueError(f"{len(cards)} cards are more than the {_MOST} that a node may have")
    if len({card.index for card in cards}) < len(cards):  # the oldest encoding has none
        cards = [replace(card, index=number) for number, card in enumerate(cards)]
    return tuple(sorted(cards, key=lambda card: (card.index, card.uuid)))


def _from_fields(text: str) -> list[Card]:
    cards = []
    for entry in filter(None, text.strip().split(":")):
        fields = entry.split(",")
        if len(fields) not in _FIELDS:
            raise ValueError(f"{entry[:_SHOWN]!r} has {len(fields)} fields, not 7 or 9")
        uuid, count, memory, _core, type_, _numa, healthy, *rest = fields
        index, mode = (_number(rest[0]), rest[1]) if rest else (0, _CORE_MODE)
        cards.append(Card(uuid, index, _number(count), _number(memory), type_, healthy.lower() in {"true", "1"}, mode))
    return cards


def _from_json(text: str) -> list[Card]:
    items = json.loads(text)
    cards = []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            raise ValueError("an entry of the array has no id")  # noqa: TRY004 - what a node writes is no type error
        index, count, memory = (_number(item.get(key, 0)) for key in ("index", "count", "devmem"))
        type_, mode = str(item.get("type", "")), str(item.get("mode", _CORE_MODE))
        cards.append(Card(item["id"], index, count, memory, type_, item.get("health") is True, mode))
    return cards


def _number(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"{number} is no number of devices or MiB")
    return number


def cards(inquiry: Inquiry) -> tuple[Card, ...]:
    """The node's cards; none, with a sentence, where the register cannot be read."""
    try:
        return parse(inquiry.node.annotations.get(REGISTER, ""))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # as JSON may be nested, or 1e999
        inquiry.problem(
            "RegisterUnreadable",
            f"the Node annotation {REGISTER} cannot be read ({error}), so nothing new is placed on its cards: see "
            "that HAMi's device plugin is of a release from 2.4 on",
        )
        return ()


def profiles(inquiry: Inquiry) -> list[Profile]:
    """The profiles that the types in the register come to, in the order of names; a sentence for each other type."""
    found: dict[str, Profile] = {}
    for card in cards(inquiry) if registered(inquiry.node) else ():
        profile = _profile(card, inquiry)
        if profile is not None:
            found[profile.name] = profile
            continue
        inquiry.problem(
            "AmbiguousDevice",
            f"the Node annotation {REGISTER} has a card of the type {card.type[:_SHOWN]!r}, which no profile of the "
            f"catalogue has as {labels.PRODUCT}: {TELL}",
        )
    return [found[name] for name in sorted(found)]


def _profile(card: Card, inquiry: Inquiry) -> Profile | None:
    """The profile whose product is the card's, by the name that gpu-feature-discovery would give it."""
    for profile in inquiry.catalogue.profiles.values():
        wanted = profile.labels.get(labels.PRODUCT, ())
        if any(product in ((wanted,) if isinstance(wanted, str) else wanted) for product in card.products):
            return profile
    return None


def devices(claims: list[Claim], inquiry: Inquiry) -> list[Device]:
    """A device for each card of the register that one of these claims speaks of."""
    found: list[Device] = []
    by_name = {claim.profile.name: claim for claim in claims}
    for card in cards(inquiry):
        profile = _profile(card, inquiry)
        claim = by_name.get(profile.name) if profile else None
        if claim is None and len(claims) == 1:
            (claim,) = claims
            if profile is not None:
                inquiry.mismatch(
                    f"{claim.source} says {claim.profile.name}, but {REGISTER} has a card of the type "
                    f"{card.type[:_SHOWN]!r}, which is a {profile.name}",
                    "correct the one that is wrong; until then the former holds",
                )
        if claim is None:
            continue
        found.append(_device(card, claim, inquiry))
    _compared(claims, found, inquiry)
    return found


def _device(card: Card, claim: Claim, inquiry: Inquiry) -> Device:
    name, because = f"{claim.profile.name}-{card.index}", f"Node annotation {REGISTER}"
    found = [] if claim.source == because else [because]
    usable = True
    if trouble := _trouble(card, inquiry.node):
        usable = False
        found.append(trouble.message)
        inquiry.problem(trouble.reason, f"HAMi's card {name} ({card.uuid}) gets nothing new: {trouble.message}")
    if card.uuid in inquiry.node.annotations.get(CORDON, "").split(","):  # on purpose, so no problem
        usable = False
        found.append(f"cordoned by the Node annotation {CORDON}")
    pods = min(card.pods, claim.shares) if claim.shares else card.pods
    return machine.device(
        claim,
        inquiry,
        name,
        "hami",
        "; ".join(found),
        reported=card.memory,
        resource=RESOURCE,
        units=pods if usable and inquiry.node.resources.get(RESOURCE) else 0,
        uuid=card.uuid,
    )


def _trouble(card: Card, node: NodeFacts) -> Problem | None:
    """Why the card gets nothing new."""
    if node.annotations.get(HANDSHAKE, "").startswith("Deleted"):
        return Problem(
            "DeviceUnhealthy",
            f"the Node annotation {HANDSHAKE} says that HAMi's scheduler has given the node's device plugin up; see "
            "that the plugin runs",
        )
    if not card.healthy or not card.memory:
        return Problem(
            "DeviceUnhealthy", "HAMi registers it as unhealthy; see the card, its driver and HAMi's device plugin"
        )
    if card.mode == "mig":
        return Problem(
            "MIGUnsupported",
            "HAMi partitions it by MIG, which no provider hands out; set its operatingmode to hami-core",
        )
    if card.mode != _CORE_MODE:
        return Problem(
            "SharingUnsupported",
            f"HAMi shares it in the mode {card.mode}, which no provider hands out; set its operatingmode to hami-core",
        )
    return None


def _compared(claims: list[Claim], found: list[Device], inquiry: Inquiry) -> None:
    """Note where the Node and the declaration differ from the register."""
    there = cards(inquiry)
    for claim in claims if there else ():
        its = [device for device in found if device.profile.name == claim.profile.name]
        if claim.declared and claim.count != len(its):
            inquiry.mismatch(
                f"{DECLARATION} declares {claim.count} x {claim.profile.name}, but {REGISTER} has {len(its)}",
                "correct `count`, or see why HAMi's device plugin does not register them all",
            )
        pods = {card.pods for card in there}
        if claim.shares and pods != {claim.shares}:
            shown = f"HAMi lets {' or '.join(map(str, sorted(pods)))} pods on each card"
            inquiry.not_configured(claim.profile, "hami", claim.shares, shown)
    if found and not inquiry.node.resources.get(RESOURCE):
        inquiry.problem(
            "ResourceMissing",
            f"the Node does not advertise {RESOURCE}, so nothing new is placed on its {found[0].profile.name}: "
            "see that HAMi's device plugin runs; what is bound stays",
        )


def projected(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations of HAMi's that are read here, without what changes with every handshake."""
    kept = {key: annotations[key] for key in (REGISTER, CORDON) if key in annotations}
    if annotations.get(HANDSHAKE, "").startswith("Deleted"):
        kept[HANDSHAKE] = "Deleted"
    return kept
