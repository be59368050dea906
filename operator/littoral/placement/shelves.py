"""The devices of the fleet in the order of best fit, so that a place is found without looking at all of them.

Devices that give alike for alike requests lie on one shelf, the one with the least left first. What is left of a device
is one figure, memory and compute added at a fixed rate, whatever is asked of it: so the order on a shelf is the same
for every request, and a charge moves one device on one shelf. Where a request begins to fit by that figure is found by
bisection; before it no device has room.

A device that refuses even the weakest request leaves its shelf: a plan only ever charges.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from littoral.accelerators.device import Device
from littoral.placement.ledger import Slot
from littoral.slicing.provider import DeviceState, Refusal, Request
from littoral.slicing.registry import PROVIDERS

PERCENT_MIB: Final = 160
"""MiB that one percent of compute weighs: a hundred of them are about the memory of a 16 GiB device."""
_WEAKEST: Final = Request(0)
_BOUNDLESS: Final = 1 << 40


class Fit(NamedTuple):
    """What a request comes to on one kind of device."""

    waste: int
    """What would be given beyond what was asked, as cost: nobody else gets it."""
    given: int
    """What would be given, as cost."""


NOTHING_FITS: Final = Fit(1 << 62, 0)
"""Last in any order."""


class Entry(NamedTuple):
    """A device in the order of best fit; no two entries have both node and id in common."""

    left: int
    node: str
    device: str
    memory: int
    compute: int
    slot: Slot


def cost(memory: int, compute: int) -> int:
    """Memory and compute as one figure, MiB."""
    return memory + PERCENT_MIB * compute


def fit(device: Device, request: Request) -> Fit | None:
    """What the device would give if it were empty; None where it would give nothing.

    Where its memory is the node's, that is what was asked, whatever the node has.
    """
    if device.shares_node_memory:
        device = replace(device, memory=_BOUNDLESS)
    granted = PROVIDERS[device.provider].grant(DeviceState(device), request)
    if isinstance(granted, Refusal):
        return None
    given = cost(granted.memory, granted.compute)
    return Fit(given - cost(request.memory, request.compute), given)


@dataclass(slots=True, eq=False)
class Shelf:
    """Devices that give alike."""

    device: Device
    """One of them."""
    entries: list[Entry] = field(default_factory=list)
    size: int = 0
    """How many there are, those that give nothing more included."""
    _fits: dict[Request, Fit | None] = field(default_factory=dict)

    def fit(self, request: Request) -> Fit | None:
        """What each of them would give if it were empty; None where it would give nothing."""
        if request not in self._fits:
            self._fits[request] = fit(self.device, request)
        return self._fits[request]

    def roomy(self, request: Request, needed: int) -> Iterator[Entry]:
        """Those that may have room for a request of this cost, the one with the least left first."""
        memory, compute = request.memory, request.compute
        entries = self.entries
        for index in range(bisect_left(entries, (needed,)), len(entries)):
            entry = entries[index]
            if entry.memory >= memory and entry.compute >= compute:
                yield entry


class Shelves:
    """All devices on their shelves."""

    def __init__(self) -> None:
        self._shelves: dict[tuple[object, ...], Shelf] = {}
        self._entries: dict[Slot, tuple[Shelf, Entry | None]] = {}

    def __iter__(self) -> Iterator[Shelf]:
        return iter(self._shelves.values())

    def of(self, slot: Slot) -> Shelf:
        """The shelf of a device that was put on one."""
        return self._entries[slot][0]

    def put(self, slot: Slot, *, again: bool = False) -> None:
        """Bring the device to its shelf, or to its new place there; what gives nothing more only if `again` it may."""
        known = self._entries.get(slot)
        shelf, old = known or (self._shelf(slot.device), None)
        shelf.size += known is None
        if old is None and slot in self._entries and not again:
            return
        memory, compute = slot.memory_left, slot.compute_left
        new = Entry(cost(memory, compute), slot.node, slot.device.id, memory, compute, slot)
        if old is not None:
            if old == new:
                return
            del shelf.entries[bisect_left(shelf.entries, old)]
        insort(shelf.entries, new)
        self._entries[slot] = shelf, new

    def take_off(self, slot: Slot) -> None:
        """Forget the device."""
        shelf, old = self._entries.pop(slot)
        shelf.size -= 1
        if old is not None:
            del shelf.entries[bisect_left(shelf.entries, old)]

    def close(self, slot: Slot) -> None:
        """Leave the device out from now on if it gives nothing more, whatever is asked."""
        shelf, old = self._entries[slot]
        if old is not None and isinstance(PROVIDERS[slot.device.provider].grant(slot.state(), _WEAKEST), Refusal):
            del shelf.entries[bisect_left(shelf.entries, old)]
            self._entries[slot] = shelf, None

    def _shelf(self, device: Device) -> Shelf:
        own = None if device.shares_node_memory else device.memory
        templates = tuple(sorted(device.templates.items()))
        kind = (device.platform, device.provider, own, device.shares, device.count, device.resource)
        return self._shelves.setdefault((*kind, device.units, templates), Shelf(device))
