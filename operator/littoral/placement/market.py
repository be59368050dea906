"""The working state of one plan: who holds what, the devices that each kind of request could have, the grants."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from littoral.api.gpuslice import Allocation
from littoral.api.quantity import from_mib
from littoral.placement import reasons
from littoral.placement.filters import ADMIT, DEVICE, Ask
from littoral.placement.ledger import Ledger, Slot
from littoral.placement.nodes import NodeView
from littoral.placement.snapshot import Key
from littoral.placement.variants import Choice, Chooser
from littoral.slicing.provider import Grant, Refusal
from littoral.slicing.registry import PROVIDERS

NameOn = Callable[[str], Key]
"""The slice's key, if it were to lie on this node."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A device that may serve, and with which variant; whether it has room is another question."""

    node: NodeView
    slot: Slot
    choice: Choice


@dataclass(frozen=True, slots=True)
class Place:
    """A place found: charged already."""

    key: Key
    choice: Choice
    allocation: Allocation
    stack: str
    """Name of the device's stack."""


class Market:
    """Finds places. What depends on the question alone, and not on load, is worked out once for each question."""

    def __init__(self, nodes: Mapping[str, NodeView], ledger: Ledger, chooser: Chooser) -> None:
        self._nodes = nodes
        self._ledger = ledger
        self._chooser = chooser
        self._candidates: dict[Ask, tuple[dict[str, list[Candidate]], dict[str, Refusal]]] = {}
        self._exhausted: set[Ask] = set()
        self._refusals: dict[Ask, tuple[int, dict[str, Refusal]]] = {}

    def candidates(self, asked: Ask) -> tuple[dict[str, list[Candidate]], dict[str, Refusal]]:
        """(devices that may serve, by node; why the other nodes may not), whatever their load."""
        found = self._candidates.get(asked)
        if found is None:
            fitting: dict[str, list[Candidate]] = {}
            refusals: dict[str, Refusal] = {}
            for node in self._nodes.values():
                result = _admit(asked, node, self._chooser)
                if isinstance(result, Refusal):
                    refusals[node.name] = result
                else:
                    fitting[node.name] = result
            found = self._candidates[asked] = fitting, refusals
        return found

    def place(
        self, asked: Ask, name_on: NameOn, replicas: Mapping[str, int], preferred: AbstractSet[str] = frozenset()
    ) -> Place | None:
        """The best place with room, charged to the slice that `name_on` gives for the node; None where there is none.

        `replicas` counts the model's own by node, `preferred` names nodes for which a slice was made already.
        """
        if asked in self._exhausted:  # a plan only ever charges: what had no room before has none now
            return None
        fitting, _ = self.candidates(asked)
        tiers: dict[tuple[bool, int], list[Candidate]] = {}
        for name, group in fitting.items():
            for candidate in group:
                tiers.setdefault((name not in preferred, candidate.choice.index), []).append(candidate)

        def score(candidate: Candidate) -> tuple[int, float, str, str]:
            name = candidate.node.name
            return replicas.get(name, 0), stranded(candidate), name, candidate.slot.device.id

        for tier in sorted(tiers):
            for candidate in sorted(tiers[tier], key=score):
                taken = self._take(name_on(candidate.node.name), candidate)
                if isinstance(taken, Place):
                    return taken
        self._exhausted.add(asked)
        return None

    def place_on(self, asked: Ask, name_on: NameOn, node: str) -> Place | Refusal:
        """The best place on this one node, which must be among the candidates, or why it has no room."""
        misses = []
        group = self.candidates(asked)[0][node]
        for candidate in sorted(group, key=lambda each: (each.choice.index, stranded(each), each.slot.device.id)):
            taken = self._take(name_on(node), candidate)
            if isinstance(taken, Place):
                return taken
            misses.append(taken)
        return reasons.nearest(misses)

    def refusals(self, asked: Ask) -> dict[str, Refusal]:
        """Why each node that would not take one more does not, in the order of their names."""
        known = self._refusals.get(asked)
        if known is not None and known[0] == self._ledger.version:
            return known[1]
        fitting, refusals = self.candidates(asked)
        found = dict(refusals)
        for name, group in fitting.items():
            answers = [grant(each.slot, each.choice) for each in group]
            misses = [answer for answer in answers if isinstance(answer, Refusal)]
            if len(misses) == len(group):
                found[name] = reasons.nearest(misses)
        ordered = dict(sorted(found.items()))
        self._refusals[asked] = self._ledger.version, ordered
        return ordered

    def _take(self, key: Key, candidate: Candidate) -> Place | Refusal:
        """The place on this device, charged, or why there is no room."""
        granted = grant(candidate.slot, candidate.choice, key)
        if isinstance(granted, Refusal):
            return granted
        allocation = allocate(candidate.node.name, candidate.slot, granted)
        self._ledger.hold(key, allocation)
        return Place(key, candidate.choice, allocation, candidate.slot.device.stack.name)


def grant(slot: Slot, choice: Choice, key: Key | None = None) -> Grant | Refusal:
    """What the device gives for the choice; the slice's own charge there, if it has one, does not count against it."""
    return PROVIDERS[slot.device.provider].grant(slot.state(key), choice.request)


def allocate(node: str, slot: Slot, granted: Grant) -> Allocation:
    """A grant as the ledger's entry."""
    device = slot.device
    return Allocation(
        node=node,
        device=device.id,
        profile=device.profile.name,
        provider=device.provider,
        isolation=granted.isolation,
        memory=from_mib(granted.memory),
        compute=granted.compute,
        resources=granted.resources,
        pod=granted.pod,
    )


def stranded(candidate: Candidate) -> float:
    """Best fit: the parts of the device's memory and compute that would be left over, summed; less is better."""
    slot, request = candidate.slot, candidate.choice.request
    return 2.0 - (slot.account.charged + request.memory) / slot.memory - (slot.compute + request.compute) / slot.percent


def _admit(asked: Ask, node: NodeView, chooser: Chooser) -> list[Candidate] | Refusal:
    """The node's devices that may serve, or why it has none."""
    for refuses in ADMIT:
        if refusal := refuses(asked, node):
            return refusal
    assert node.facts is not None  # noqa: S101 (is_connected has let it through)
    fitting: list[Candidate] = []
    misses: list[Refusal] = []
    for slot in node.slots:
        platform = slot.device.platform
        choice = chooser.choose(asked.demand, platform)
        if isinstance(choice, Refusal):
            misses.append(choice)
            continue
        refusal = next((found for check in DEVICE if (found := check(asked, node.facts, platform))), None)
        if refusal is None:
            fitting.append(Candidate(node, slot, choice))
        else:
            misses.append(refusal)
    return fitting or reasons.nearest(misses)
