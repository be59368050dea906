"""Over-commitment (two operators for a moment, a restored backup): whom it costs the place.

On each device the youngest that never started. Nothing that started goes, so a capacity that shrank may stay
over-committed; it takes no more.
"""

from collections.abc import Mapping

from littoral.api.gpuslice import Allocation
from littoral.placement.ledger import Slot
from littoral.placement.nodes import NodeView
from littoral.placement.replicas import age
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.workloads import Workloads


def excess(node: NodeView, snapshot: Snapshot, adopted: Mapping[Key, Allocation], workloads: Workloads) -> set[Key]:
    """The slices on the node that lose their place; they are charged still, until they are gone."""
    found: set[Key] = set()
    for slot in node.slots:
        if slot.overcommitted:
            found.update(_excess(node, slot, snapshot, adopted, workloads))
    return found


def _excess(
    node: NodeView, slot: Slot, snapshot: Snapshot, adopted: Mapping[Key, Allocation], workloads: Workloads
) -> list[Key]:
    slots = [each for each in node.slots if each.account is slot.account]
    expendable = []
    for key in sorted({key for each in slots for key in each.charges}):
        slice_ = snapshot.slices.get(key)
        allocation = None if slice_ is None else slice_.status.allocation or adopted.get(key)
        if slice_ is None or allocation is None or slice_.metadata.deletion_timestamp is not None:
            continue
        known = workloads.existed if node.presence == "Offline" else workloads.started
        if allocation.node == node.name and not known(key, allocation):
            expendable.append((age(slice_, allocation), key))
    taken = []
    removed = []
    for _, key in sorted(expendable, reverse=True):
        if not slot.overcommitted:
            break
        removed += [(each, key, each.charges[key]) for each in slots if key in each.charges]
        for each in slots:
            if key in each.charges:
                each.free(key)
        taken.append(key)
    for each, key, charge in removed:
        each.hold(key, charge)
    return taken
