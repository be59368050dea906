"""The working state of one plan: who holds what, the devices that each kind of request could have, the grants."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from heapq import merge
from typing import Final, NamedTuple

from littoral.api.gpuslice import Allocation
from littoral.api.quantity import from_mib, to_thousandths
from littoral.placement import reasons
from littoral.placement.chooser import Chooser
from littoral.placement.filters import Ask
from littoral.placement.gates import Gate, way
from littoral.placement.host import Artifact, Claim, Needs
from littoral.placement.ledger import Ledger, Slot
from littoral.placement.nodes import NodeView
from littoral.placement.seeker import Seeker
from littoral.placement.shelves import NOTHING_FITS, Shelf, Shelves, cost
from littoral.placement.snapshot import Key
from littoral.placement.variants import Choice
from littoral.slicing.provider import Grant, Refusal
from littoral.slicing.registry import PROVIDERS

_PER_DEVICE: Final = 1_000
"""What is asked for each device is reckoned in thousandths of a MiB: in whole numbers there are no roundings."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A device that may serve, and with which variant; whether it has room is another question."""

    node: NodeView
    slot: Slot
    choice: Choice


class Ranked(NamedTuple):
    """A device in the order of best fit for one choice; no two have both node and id in common."""

    waste: int
    left: int
    node: str
    device: str
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
        self._shelves = Shelves()
        self._seen = len(ledger.journal)
        self._gates: dict[Ask, Gate] = {}
        self._candidates: dict[Ask, tuple[dict[str, list[Candidate]], dict[str, Refusal]]] = {}
        self._exhausted: set[Ask] = set()
        self._refusals: dict[Ask, tuple[int, dict[str, Refusal | None]]] = {}
        self._asked: set[Ask] = set()
        for node in nodes.values():
            for slot in node.slots:
                self._shelves.put(slot)

    def follow(self, gone: Collection[NodeView], new: Collection[NodeView], charged: Iterable[str]) -> None:
        """Take in that these nodes are gone, or are not as they were, and that the charges on those are others."""
        for node in gone:
            for slot in node.slots:
                self._shelves.take_off(slot)
            for gate in self._gates.values():
                gate.forget(node)
        for name in charged:
            for slot in self._nodes[name].slots:
                self._shelves.put(slot, again=True)
        for known in (self._candidates, self._refusals):
            for asked in list(known):
                if gone or new or asked not in self._asked:
                    del known[asked]
        self._asked.clear()
        self._exhausted.clear()
        self._seen = len(self._ledger.journal)

    def candidates(self, asked: Ask) -> tuple[dict[str, list[Candidate]], dict[str, Refusal]]:
        """(devices that may serve, by node; why the other nodes may not), whatever their load."""
        self._asked.add(asked)
        found = self._candidates.get(asked)
        if found is None:
            fitting: dict[str, list[Candidate]] = {}
            refusals: dict[str, Refusal] = {}
            gate, choices = self._gate(asked), self._choices(asked)
            for node in self._nodes.values():
                result = _admitted(node, gate, choices, self._shelves)
                if isinstance(result, Refusal):
                    refusals[node.name] = result
                else:
                    fitting[node.name] = result
            found = self._candidates[asked] = fitting, refusals
        return found

    def scarcity(self, asked: Ask) -> int:
        """How much is asked for each device there is that could take it: the more, the harder to place."""
        size = devices = 0
        for shelf, choice in self._choices(asked).items():
            if isinstance(choice, Choice) and shelf.fit(choice.request) is not None:
                size = max(size, cost(choice.request.memory, choice.request.compute))
                devices += shelf.size
        return _PER_DEVICE * size // max(1, devices)

    def place(self, asked: Ask, seeker: Seeker) -> Place | None:
        """The best place with room, charged to the slice that the seeker names; None where there is none.

        Best is, in this order: where a slice was made already, the earlier variant, where fewer of the seeker's like
        are, where less is given beyond what is asked, where less is left over, the names of node and device.
        """
        self._ledger.looks.count += 1
        refused, place = [], None
        for candidate in self._ranked(asked, seeker):
            taken = self._take(asked, seeker, candidate)
            if isinstance(taken, Place):
                place = taken
                break
            refused.append(candidate.slot)
        for slot in refused:
            self._shelves.close(slot)
        if place is None:
            self._exhausted.add(asked)
        return place

    def place_on(self, asked: Ask, seeker: Seeker, node: str) -> Place | Refusal:
        """The best place on this one node, which must be among the candidates, or why it has no room."""
        misses = {}
        group = self.candidates(asked)[0][node]
        for candidate in sorted(group, key=lambda each: (each.choice.index, self._rank(each))):
            taken = self._take(asked, seeker, candidate)
            if isinstance(taken, Place):
                return taken
            misses[candidate.slot.device.id] = taken
        # Of refusals that are equally near the first device's is told, whatever the load.
        return reasons.nearest(misses[candidate.slot.device.id] for candidate in group)

    def refusals(self, asked: Ask) -> dict[str, Refusal]:
        """Why each node that would not take one more does not, in the order of their names."""
        self._ledger.looks.count += 1
        seen, found = self._refusals.get(asked, (0, {}))
        journal, (fitting, refusals) = self._ledger.journal, self.candidates(asked)
        if not found:
            found = {name: refusals.get(name) or _full(fitting[name], asked.needs) for name in self._nodes}
        for name in set(journal[seen:]).intersection(fitting):
            found[name] = _full(fitting[name], asked.needs)
        self._refusals[asked] = len(journal), found
        return {name: refusal for name, refusal in found.items() if refusal is not None}

    def _ranked(self, asked: Ask, seeker: Seeker) -> Iterator[Candidate]:
        """The devices that may have room, the best first.

        Nodes that the seeker has something to do with are looked at one by one: what its own slice holds there already
        does not count against it. All others come in the order of their shelves.
        """
        self._catch_up()
        gate, choices = self._gate(asked), self._choices(asked)
        apart = {*seeker.preferred, *seeker.nodes, *self._ledger.holders(seeker.name_on(""))}
        groups = (_admitted(self._nodes[name], gate, choices, self._shelves) for name in apart if name in self._nodes)
        known = sorted((each for group in groups if not isinstance(group, Refusal) for each in group), key=self._rank)
        made = [each for each in known if each.node.name in seeker.preferred]
        yield from sorted(made, key=lambda each: (each.choice.index, seeker.crowd(each.node)))
        tiers: dict[int, list[Iterator[Ranked]]] = {}
        for each in known:
            if each.node.name not in seeker.preferred:
                tiers.setdefault(each.choice.index, []).append(iter((self._rank(each),)))
        # A plan only ever charges: what had no room before has none now, but for those to whom some of it belongs.
        for shelf, choice in choices.items() if asked not in self._exhausted else ():
            if isinstance(choice, Choice) and shelf.fit(choice.request) is not None:
                tiers.setdefault(choice.index, []).append(_roomy(shelf, choice, gate, apart))
        for index in sorted(tiers):
            yield from self._tier(seeker, tiers[index])

    def _tier(self, seeker: Seeker, streams: Iterable[Iterator[Ranked]]) -> Iterator[Candidate]:
        """The devices of several ordered streams: those where none of the seeker's like is, then the less crowded."""
        crowded: dict[tuple[int, ...], list[Candidate]] = {}
        for *_, slot, choice in merge(*streams):
            candidate = Candidate(self._nodes[slot.node], slot, choice)
            crowd = seeker.crowd(candidate.node)
            if any(crowd):
                crowded.setdefault(crowd, []).append(candidate)
            else:
                yield candidate
        for _, later in sorted(crowded.items()):
            yield from later

    def _rank(self, candidate: Candidate) -> Ranked:
        """Where a device comes among those of one variant and one crowd."""
        slot, choice = candidate.slot, candidate.choice
        waste, given = self._shelves.of(slot).fit(choice.request) or NOTHING_FITS
        left = cost(slot.memory_left, slot.compute_left) - given
        return Ranked(waste, left, slot.node, slot.device.id, slot, choice)

    def _choices(self, asked: Ask) -> dict[Shelf, Choice | Refusal]:
        """The variant for the devices of each shelf."""
        return {
            shelf: self._chooser.choose(asked.demand, shelf.device.platform, shelf.device.provider)
            for shelf in self._shelves
        }

    def _gate(self, asked: Ask) -> Gate:
        key = way(asked)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(key, self._nodes)
        return gate

    def _catch_up(self) -> None:
        """Bring the devices that were charged to their new places."""
        journal = self._ledger.journal
        for name in set(journal[self._seen :]):
            for slot in self._nodes[name].slots:
                self._shelves.put(slot)
        self._seen = len(journal)

    def _take(self, asked: Ask, seeker: Seeker, candidate: Candidate) -> Place | Refusal:
        """The place on this device, charged, or why there is no room."""
        node, slot, choice = candidate.node, candidate.slot, candidate.choice
        key = seeker.name_on(node.name)
        granted = fit(node, slot, choice, asked.needs, key)
        if isinstance(granted, Refusal):
            return granted
        allocation = allocate(node.name, slot, granted)
        self._ledger.hold(key, allocation)
        node.host.hold(key, _claim(granted, asked.needs, key, choice))
        return Place(key, choice, allocation, slot.device.stack.name)


def fit(node: NodeView, slot: Slot, choice: Choice, needs: Needs, key: Key | None = None) -> Grant | Refusal:
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
    return node.host.refuses(key, _claim(granted, needs, key, choice)) or granted


def _claim(granted: Grant, needs: Needs, key: Key | None, choice: Choice) -> Claim:
    cores, namespace = granted.resources.get("cpu"), "" if key is None else key[0]
    kept = tuple(Artifact(namespace, digest, size) for digest, size in choice.artifacts)
    return Claim(needs, 0 if cores is None else to_thousandths(cores), kept)


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


def _admitted(
    node: NodeView, gate: Gate, choices: Mapping[Shelf, Choice | Refusal], shelves: Shelves
) -> list[Candidate] | Refusal:
    """The node's devices that may serve, or why it has none."""
    if refusal := gate.node(node.name):
        return refusal
    fitting: list[Candidate] = []
    misses: list[Refusal] = []
    for slot in node.slots:
        choice = choices[shelves.of(slot)]
        if isinstance(choice, Refusal):
            misses.append(choice)
        elif refusal := gate.device(slot):
            misses.append(refusal)
        else:
            fitting.append(Candidate(node, slot, choice))
    return fitting or reasons.nearest(misses)


def _full(group: Iterable[Candidate], needs: Needs) -> Refusal | None:
    """Why these devices of one node would not take one more; None where one would."""
    misses = []
    for each in group:
        answer = fit(each.node, each.slot, each.choice, needs)
        if not isinstance(answer, Refusal):
            return None
        misses.append(answer)
    return reasons.nearest(misses)


def _roomy(shelf: Shelf, choice: Choice, gate: Gate, apart: AbstractSet[str]) -> Iterator[Ranked]:
    """The shelf's devices that may have room, but for those on the nodes set apart."""
    request = choice.request
    waste, given = shelf.fit(request) or NOTHING_FITS
    for left, node, device, _, _, slot in shelf.roomy(request, given):
        if node not in apart and gate.device(slot) is None:
            yield Ranked(waste, left - given, node, device, slot, choice)
