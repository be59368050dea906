"""What one plan works on: the nodes with their ledgers, whose slices are whose, and what was over-committed."""

from collections.abc import Collection
from functools import cached_property

from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.group import LABEL_GROUP
from littoral.api.inferencemodel import InferenceModel
from littoral.placement import claims
from littoral.placement.chooser import Chooser
from littoral.placement.groups import group_named, unit_key
from littoral.placement.ledger import Ledger, Slot, adopt, fill
from littoral.placement.nodes import NodeView, discoveries, unlisted, views
from littoral.placement.replicas import Workloads, age
from littoral.placement.snapshot import Key, Snapshot


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
        self._owned: dict[Key, list[tuple[GPUSlice, frozenset[str]]]] = {}
        self.reservations: list[GPUSlice] = []
        """Slices that users wrote."""
        self._elsewhere: dict[str, NodeView] = {}
        for key in sorted(snapshot.slices):
            slice_ = snapshot.slices[key]
            owner, uids = _owner(slice_)
            if owner is None:
                self.reservations.append(slice_)
            else:
                self._owned.setdefault(owner, []).append((slice_, uids))
        self.evicted = self._evict()

    def slices_of(self, model: InferenceModel) -> list[GPUSlice]:
        """The slices of a model or a group's unit, by name; those whose owners are gone are about to be collected."""
        namespace, name = model.metadata.key
        group = group_named(name)
        if group is not None:
            return self.slices_of_group((namespace, group))
        uid, owned = model.metadata.uid, self._owned.get((namespace, name), ())
        return [each for each, uids in owned if uids & {"", uid} or not uid]

    def slices_of_group(self, key: Key) -> list[GPUSlice]:
        """The slices of a group, by name; those whose owners are all gone are about to be collected."""
        return [each for each, uids in self._owned.get(unit_key(key), ()) if uids & self._alive]

    def disbanded(self, groups: Collection[Key]) -> list[Key]:
        """The groups that have slices although no model names them: not among these `groups`."""
        named = ((key[0], name) for key in self._owned if (name := group_named(key[1])) is not None)
        return sorted(key for key in named if key not in groups)

    @cached_property
    def _alive(self) -> frozenset[str]:
        return frozenset(model.metadata.uid for model in self.snapshot.models.values())

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


def _owner(slice_: GPUSlice) -> tuple[Key | None, frozenset[str]]:
    """(the model or the group's unit that the slice is a replica of, the uids of its owners); a user's has none."""
    meta = slice_.metadata
    models = [reference for reference in meta.owner_references if reference["kind"] == "InferenceModel"]
    shared = meta.labels.get(LABEL_GROUP)
    if shared and models:
        return unit_key((meta.namespace, shared)), frozenset(reference.get("uid", "") for reference in models)
    for reference in models:
        if reference.get("controller"):
            return (meta.namespace, reference["name"]), frozenset((reference.get("uid", ""),))
    return None, frozenset()
