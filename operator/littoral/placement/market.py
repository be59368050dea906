"""The working state of one plan: who holds what, the devices that each kind of request could have, the grants."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from littoral.api.gpuslice import Allocation
from littoral.api.quantity import from_mib, to_thousandths
from littoral.placement import reasons
from littoral.placement.chooser import Chooser
from littoral.placement.filters import ADMIT, DEVICE, Ask
from littoral.placement.host import Claim, Needs
from littoral.placement.ledger import Ledger, Slot
from littoral.placement.nodes import NodeView
from littoral.placement.seeker import Seeker
from littoral.placement.snapshot import Key
from littoral.placement.variants import Choice
from littoral.slicing.provider import Grant, Refusal
from littoral.slicing.registry import PROVIDERS


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

    def place(self, asked: Ask, seeker: Seeker) -> Place | None:
        """The best place with room, charged to the slice that the seeker names; None where there is none."""
        if asked in self._exhausted:  # a plan only ever charges: what had no room before has none now
            return None
        fitting, _ = self.candidates(asked)
        tiers: dict[tuple[bool, int], list[Candidate]] = {}
        for name, group in fitting.items():
            for candidate in group:
                tiers.setdefault((name not in seeker.preferred, candidate.choice.index), []).append(candidate)

        def score(candidate: Candidate) -> tuple[tuple[int, int], float, str, str]:
            node = candidate.node
            return seeker.crowd(node), stranded(candidate), node.name, candidate.slot.device.id

        for tier in sorted(tiers):
            for candidate in sorted(tiers[tier], key=score):
                taken = self._take(asked, seeker, candidate)
                if isinstance(taken, Place):
                    return taken
        self._exhausted.add(asked)
        return None

    def place_on(self, asked: Ask, seeker: Seeker, node: str) -> Place | Refusal:
        """The best place on this one node, which must be among the candidates, or why it has no room."""
        misses = []
        group = self.candidates(asked)[0][node]
        for candidate in sorted(group, key=lambda each: (each.choice.index, stranded(each), each.slot.device.id)):
            taken = self._take(asked, seeker, candidate)
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
            answers = [fit(each.node, each.slot, each.choice, asked.needs) for each in group]
            misses = [answer for answer in answers if isinstance(answer, Refusal)]
            if len(misses) == len(group):
                found[name] = reasons.nearest(misses)
        ordered = dict(sorted(found.items()))
        self._refusals[asked] = self._ledger.version, ordered
        return ordered

    def _take(self, asked: Ask, seeker: Seeker, candidate: Candidate) -> Place | Refusal:
        """The place on this device, charged, or why there is no room."""
        node, slot, choice = candidate.node, candidate.slot, candidate.choice
        key = seeker.name_on(node.name)
        granted = fit(node, slot, choice, asked.needs, key, seeker.model)
        if isinstance(granted, Refusal):
            return granted
        allocation = allocate(node.name, slot, granted)
        self._ledger.hold(key, allocation)
        node.host.hold(key, _claim(granted, asked.needs, seeker.model, choice))
        return Place(key, choice, allocation, slot.device.stack.name)


def fit(  # noqa: PLR0917 (where, what, for whom)
    node: NodeView, slot: Slot, choice: Choice, needs: Needs, key: Key | None = None, model: Key = ("", "")
) -> Grant | Refusal:
    """What the device gives for the choice, on a machine that has what the server needs beside it.

    What the slice `key` is charged there already, if there is one, does not count against it.
    """
    state, more = slot.state(key), node.host.more_memory(key, needs)
    if more and slot.device.shares_node_memory:
        state = replace(state, charged=replace(state.charged, memory=state.charged.memory + more))
    elif more > 0 and (refusal := node.host.short_of_memory(more)):
        return refusal
    granted = PROVIDERS[slot.device.provider].grant(state, choice.request)
    if isinstance(granted, Refusal):
        return granted
    return node.host.refuses(key, _claim(granted, needs, model, choice)) or granted


def _claim(granted: Grant, needs: Needs, model: Key, choice: Choice) -> Claim:
    cores = granted.resources.get("cpu")
    return Claim(needs, 0 if cores is None else to_thousandths(cores), model, choice.size)


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
    fitting: list[Candidate] = []
    misses: list[Refusal] = []
    for slot in node.slots:
        device = slot.device
        choice = chooser.choose(asked.demand, device.platform, device.provider)
        if isinstance(choice, Refusal):
            misses.append(choice)
            continue
        refusal = next((found for check in DEVICE if (found := check(asked, node, device))), None)
        if refusal is None:
            fitting.append(Candidate(node, slot, choice))
        else:
            misses.append(refusal)
    return fitting or reasons.nearest(misses)
