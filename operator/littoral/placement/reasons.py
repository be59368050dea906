"""Reasons in words: the refusals of many nodes as one sentence, counted by class of node, with the nearest miss."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from littoral.slicing.provider import Refusal

# How far a node came before it refused: what refuses later is nearer, and is what the user can do something about.
_ORDER = (
    "OtherPool",
    "SelectorMismatch",
    "NamespaceNotAllowed",
    "Offline",
    "Cordoned",
    "NotReady",
    "NoVariant",
    "OtherArchitecture",
    "Tainted",
    "VersionMismatch",
    "VersionUnknown",
    "VersionUnreadable",
    "NoImage",
    "NoBackend",
    "NotForVirtualNPU",
    "TooSlow",
    "LatencyUnproven",
    "LatencyUnknown",
    "Excluded",
)
_RANK = {reason: rank for rank, reason in enumerate(_ORDER)}


def nearness(refusal: Refusal) -> tuple[int, float]:
    """Sorts refusals by how near they came; a provider's are nearer than any filter's."""
    return _RANK.get(refusal.reason, len(_ORDER)), refusal.near


def nearest(refusals: Iterable[Refusal]) -> Refusal:
    """The refusal that came nearest, the first of equals. Raises ValueError where there is none."""
    return max(refusals, key=nearness)


def summary(refusals: Mapping[str, Refusal]) -> tuple[str, str]:
    """(reason, message) for the refusals of the nodes by name: "3 nodes: 1 offline, 2 with 1Gi free of 3Gi needed"."""
    if not refusals:
        return "NoNodes", "there is no EdgeNode: label a Node with littoral.dev/pool to make it one"
    classes: dict[tuple[str, str], list[Refusal]] = {}
    times = Counter(map(id, refusals.values()))  # of thousands of nodes most have one and the same
    distinct = {id(refusal): refusal for refusal in refusals.values()}.values()
    for refusal in distinct:
        # A figure differs from node to node: those are one class, told by its nearest.
        text = "" if refusal.near else refusal.message
        classes.setdefault((refusal.reason, text), []).append(refusal)
    counted = [(sum(times[id(member)] for member in members), members) for members in classes.values()]
    counted.sort(key=lambda each: (nearness(each[1][0])[0], -each[0], each[1][0].message))
    phrases = ", ".join(_phrase(number, members) for number, members in counted)
    nodes = "1 node" if len(refusals) == 1 else f"{len(refusals)} nodes"
    return nearest(distinct).reason, f"{nodes}: {phrases}"


def _phrase(number: int, members: Sequence[Refusal]) -> str:
    best = nearest(members).message
    alike = all(member.message == best for member in members)
    return f"{number} {best}" if alike else f"{number} {best} at best"
