"""What one plan works on: the nodes with their ledgers, whose slices are whose, and what was over-committed."""

from collections.abc import Mapping
from typing import Any

from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.inferencemodel import InferenceModel
from littoral.placement import claims
from littoral.placement.ledger import Ledger, Slot, adopt, fill
from littoral.placement.nodes import NodeView, discoveries, unlisted, views
from littoral.placement.replicas import Workloads, age
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.variants import Chooser


class World:
    """A snapshot, indexed. The ledger in it is charged as the plan proceeds."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.adopted = adopt(snapshot)
        found = discoveries(snapshot)
        self.ledger = Ledger({name: discovery.devices for name, discovery in found.items()})
        fill(self.ledger, snapshot, self.adopted)
        self.nodes = views(snapshot, found, self.ledger)
        claims.fill(self.nodes, snapshot, self.adopted)
        self.workloads = Workloads(snapshot)
        self.chooser = Chooser()
        self._owned: dict[Key, list[tuple[GPUSlice, str]]] = {}
        self.reservations: list[GPUSlice] = []
        """Slices that users wrote."""
        self._elsewhere: dict[str, NodeView] = {}
        for key in sorted(snapshot.slices):
            slice_ = snapshot.slices[key]
            owner = _controller(slice_)
            if owner is None:
                self.reservations.append(slice_)
            else:
                self._owned.setdefault((key[0], owner["name"]), []).append((slice_, owner.get("uid", "")))
        self.evicted = self._evict()

    def slices_of(self, model: InferenceModel) -> list[GPUSlice]:
        """The model's own slices, by name. Those of an earlier model of the same name are about to be collected."""
        uid = model.metadata.uid
        return [each for each, owner in self._owned.get(model.metadata.key, ()) if owner in ("", uid) or not uid]

    def allocation(self, slice_: GPUSlice) -> Allocation | None:
        """The slice's allocation, or the one adopted from its workload."""
        return slice_.status.allocation or self.adopted.get(slice_.metadata.key)

    def node(self, name: str) -> NodeView:
        """The view of a node, which need not have an EdgeNode now."""
        view = self.nodes.get(name) or self._elsewhere.get(name)
        if view is None:
            view = self._elsewhere[name] = unlisted(self.snapshot, name)
        return view

    def _evict(self) -> set[Key]:
        """The slices that over-commitment costs their place: on each device the youngest that never started.

        Nothing that started goes, so a capacity that shrank may stay over-committed; it takes no more.
        """
        evicted: set[Key] = set()
        for view in self.nodes.values():
            for slot in view.slots:
                if slot.overcommitted:
                    evicted.update(self._excess(view, slot))
        return evicted

    def _excess(self, view: NodeView, slot: Slot) -> list[Key]:
        slots = [each for each in view.slots if each.account is slot.account]
        expendable = []
        for key in sorted({key for each in slots for key in each.charges}):
            slice_ = self.snapshot.slices.get(key)
            allocation = None if slice_ is None else self.allocation(slice_)
            if slice_ is None or allocation is None or slice_.metadata.deletion_timestamp is not None:
                continue
            known = self.workloads.existed if view.presence == "Offline" else self.workloads.started
            if allocation.node == view.name and not known(key, allocation):
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
        for each, key, charge in removed:  # charged still, until it is gone
            each.hold(key, charge)
        return taken


def _controller(slice_: GPUSlice) -> Mapping[str, Any] | None:
    """The reference to the model that the slice is a replica of."""
    for reference in slice_.metadata.owner_references:
        if reference.get("controller") and reference["kind"] == "InferenceModel":
            return reference
    return None
