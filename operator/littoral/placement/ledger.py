"""The ledger: what is charged to each device, and to whom.

A device is charged, for each slice name, the larger of the bound slice and any pod of ours that still exists for it,
Terminating included: what runs on an offline node is never free. A slice that has moved to another device is charged on
both while a pod of it remains on the first. Where device memory is node memory, on unified devices and on cpu, all
slices of the node draw on one account.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import lru_cache

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Allocation
from littoral.api.quantity import from_mib, parse_quantity, to_mib
from littoral.api.workload import Reported
from littoral.placement.snapshot import Key
from littoral.slicing.provider import Charge, DeviceState

mib = lru_cache(maxsize=4096)(to_mib)
"""to_mib, remembered: a thousand slices ask for a handful of sizes."""


@lru_cache(maxsize=256)
def _units(text: str) -> int:
    return int(parse_quantity(text))


class Account:
    """Memory that one device has for itself, or that all unified devices of a node and its cpu share."""

    __slots__ = ("charged",)

    def __init__(self) -> None:
        self.charged = 0


class Looks:
    """How often somebody looked at what is charged: who did not, decided without regard to load."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Slot:
    """A device and its charges."""

    __slots__ = ("account", "charges", "compute", "device", "looks", "memory", "node", "percent", "templates", "units")

    def __init__(self, device: Device, account: Account, node: str = "", looks: Looks | None = None) -> None:
        self.device = device
        self.node = node
        self.looks = looks or Looks()
        self.account = account
        self.charges: dict[Key, Charge] = {}
        self.compute = 0
        self.units = 0
        self.templates: Counter[str] = Counter()
        self.memory = max(1, device.total_memory)
        self.percent = 100 * device.count

    def hold(self, key: Key, charge: Charge) -> None:
        """Charge the slice the larger of what it holds and this, on each axis."""
        held = self.charges.get(key)
        if held == charge:
            return
        if held is not None:
            self.free(key)
            charge = _larger(held, charge)
        self.charges[key] = charge
        self.account.charged += charge.memory
        self.compute += charge.compute
        self.units += charge.units
        self.templates.update(charge.templates)

    def free(self, key: Key) -> None:
        """Take the slice's charge away."""
        charge = self.charges.pop(key)
        self.account.charged -= charge.memory
        self.compute -= charge.compute
        self.units -= charge.units
        self.templates.subtract(charge.templates)

    def clear(self) -> None:
        """Take all charges away, those of the other devices on the account included."""
        self.charges.clear()
        self.templates.clear()
        self.account.charged = self.compute = self.units = 0

    @property
    def memory_left(self) -> int:
        """MiB that nobody is charged for; negative where it is over-committed."""
        return self.device.total_memory - self.account.charged

    @property
    def compute_left(self) -> int:
        """Percent that nobody is charged for; negative where it is over-committed."""
        return self.percent - self.compute

    def state(self, without: Key | None = None) -> DeviceState:
        """What a provider decides on; `without` leaves one slice's own charge out, for a new grant in its place."""
        self.looks.count += 1
        own = self.charges.get(without, Charge()) if without is not None else Charge()
        slices = len(self.charges) - (without in self.charges)
        largest = largest_compute = 0
        uncounted = False
        if self.device.count > 1:
            others = [charge for key, charge in self.charges.items() if key != without]
            largest = max((charge.memory for charge in others), default=0)
            largest_compute = max((charge.compute for charge in others), default=0)
            uncounted = any(charge.uncounted for charge in others)
        charged = Charge(
            self.account.charged - own.memory,
            self.compute - own.compute,
            self.units - own.units,
            tuple(sorted((self.templates - Counter(own.templates)).elements())) if self.templates else (),
        )
        return DeviceState(self.device, charged, slices, largest, largest_compute, uncounted)

    @property
    def overcommitted(self) -> bool:
        """Whether more is charged than there is. A resource that is not advertised now may be back in a moment: no."""
        device = self.device
        if device.resource is not None and device.units == 0:
            return False
        return (
            self.account.charged > device.total_memory
            or self.compute > 100 * device.count
            or (device.resource is not None and self.units > device.units)
        )


def _larger(one: Charge, other: Charge) -> Charge:
    """The larger of both on each axis; of partitions all, for one is no part of another."""
    return Charge(
        max(one.memory, other.memory),
        max(one.compute, other.compute),
        max(one.units, other.units),
        tuple(sorted((Counter(one.templates) | Counter(other.templates)).elements())),
        one.uncounted or other.uncounted,
    )


class Ledger:
    """The slots of all nodes. Mutable while a plan is made, and never seen outside it."""

    def __init__(self) -> None:
        self.slots: dict[str, dict[str, Slot]] = {}
        self.looks = Looks()
        self.journal: list[str] = []
        """The node of every charge, in the order in which they were made: what follows from charges is brought up to
        date by what was added since."""
        self._holders: dict[Key, set[str]] = {}

    def open(self, node: str, devices: Iterable[Device]) -> None:
        """The node has these devices now; nothing is charged to them."""
        shared = Account()
        self.slots[node] = {
            device.id: Slot(device, shared if device.shares_node_memory else Account(), node, self.looks)
            for device in devices
        }
        self.journal.append(node)

    def close(self, node: str) -> None:
        """Nobody knows the node's devices now."""
        if node in self.slots:
            self.clear(node)
            del self.slots[node]

    def clear(self, node: str) -> None:
        """Take back all that was charged on the node's devices."""
        for slot in self.slots.get(node, {}).values():
            for key in slot.charges:
                self._holders.get(_stem(key), set()).discard(node)
            slot.clear()
        self.journal.append(node)

    def slot(self, allocation: Allocation) -> Slot | None:
        """The device that pays for an allocation; None where nobody knows the node's devices now.

        A device may be known by another name than when it was bound (a second card, another profile): then the one with
        the same resource pays, or any accelerator, because what runs is never free.
        """
        slots = self.slots.get(allocation.node)
        if not slots:
            return None
        slot = slots.get(allocation.device)
        if slot is not None:
            return slot
        others = sorted(slots.values(), key=lambda other: (other.device.profile.is_cpu, other.device.id))
        return next((other for other in others if other.device.resource in allocation.resources), others[0])

    def as_reported(self, allocation: Allocation, reported: Reported | None) -> Allocation:
        """The allocation on the device that the sharing mechanism says it gave, where that is another than was granted.

        The larger of both figures is charged: what it gave is what is gone, what was granted may be grown into.
        """
        if reported is None:
            return allocation
        slots = self.slots.get(allocation.node, {}).values()
        slot = next((slot for slot in slots if slot.device.uuid == reported.uuid), None)
        if slot is None:
            return allocation
        given = {
            "device": slot.device.id,
            "memory": from_mib(max(mib(allocation.memory), reported.memory)),
            "compute": max(allocation.compute, reported.compute),
        }
        return allocation.model_copy(update=given)

    def hold(self, key: Key, allocation: Allocation) -> None:
        """Charge an allocation to its device, beside what the same slice holds of other devices."""
        slot = self.slot(allocation)
        self.looks.count += 1
        if slot is not None:
            slot.hold(key, charge(allocation, slot.device))
            self.journal.append(slot.node)
            self._holders.setdefault(_stem(key), set()).add(slot.node)

    def holders(self, key: Key) -> AbstractSet[str]:
        """The nodes on which this slice, or one named alike (the other replicas of its model), may be charged."""
        return self._holders.get(_stem(key), frozenset())


def _stem(key: Key) -> Key:
    """What the slices of one model have in common: their names without the digest of the node."""
    return key[0], key[1].rpartition("-")[0] or key[1]


def charge(allocation: Allocation, device: Device) -> Charge:
    """What an allocation costs the device. A grant that does not name the resource has a unit of it all the same."""
    units, uncounted = 0, False
    if device.resource is not None:
        units = _units(allocation.resources.get(device.resource, "1"))
        uncounted = device.resource not in allocation.resources
    return Charge(mib(allocation.memory), allocation.compute, units, _templates(allocation, device), uncounted)


def _templates(allocation: Allocation, device: Device) -> tuple[str, ...]:
    """The partitions that an allocation asks the kubelet for."""
    partitions = device.profile.partitions
    if partitions is None or device.provider != "vnpu":
        return ()
    return tuple(template.name for template in partitions.templates if template.resource in allocation.resources)
