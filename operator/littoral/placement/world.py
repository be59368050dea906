"""What a plan works on: the nodes with their ledgers, whose slices are whose, and what was over-committed.

A world follows its snapshots: it takes in what differs from one to the next, and says whom that may concern. A new one
begins with nothing and takes in all, so there is one way in which it is made. What a plan charges is taken back when
the next snapshot comes: then what was carried out of it is in the snapshot.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.group import LABEL_GROUP
from littoral.api.inferencemodel import InferenceModel
from littoral.placement import changes, claims
from littoral.placement.chooser import Chooser
from littoral.placement.groups import group_named, group_of, unit_key
from littoral.placement.ledger import Ledger
from littoral.placement.nodes import NodeView, discovery, unlisted, view
from littoral.placement.overcommitment import excess
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.workloads import Workloads


@dataclass(slots=True)
class Concerned:
    """Whom the difference between two snapshots may concern."""

    models: set[Key] = field(default_factory=set)
    """Models, and units of groups, of which something they own, or a node it lies on, is not as it was."""
    gone: list[NodeView] = field(default_factory=list)
    """Nodes that are no more, or no more like this."""
    new: list[NodeView] = field(default_factory=list)
    charged: set[str] = field(default_factory=set)
    """Nodes on which other charges lie."""


@dataclass(frozen=True, slots=True)
class _Tie:
    """What hangs on one slice: where it is charged, and whom it concerns."""

    nodes: frozenset[str] = frozenset()
    owners: frozenset[Key] = frozenset()


_LOOSE = _Tie()


class World:
    """A snapshot, indexed. The ledger in it is charged as the plan proceeds."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = replace(
            snapshot, nodes={}, edge_nodes={}, slices={}, models={}, pods={}, deployments={}, exclusions={}, refused={}
        )
        self.nodes: dict[str, NodeView] = {}
        """In the order of their names."""
        self.ledger = Ledger()
        self.workloads = Workloads()
        self.chooser = Chooser()
        self.adopted: dict[Key, Allocation] = {}
        self.evicted: set[Key] = set()
        self.special: set[Key] = set()
        """Models that are planned with others: they share a server, or name a slice."""
        self.everywhere: set[Key] = set()
        """Models that want to be on every node that fits."""
        self._ties: dict[Key, _Tie] = {}
        self._on: dict[str, set[Key]] = {}
        self._of: dict[Key, set[Key]] = {}
        self._owned: dict[Key, dict[Key, tuple[GPUSlice, frozenset[str]]]] = {}
        self._reserved: dict[Key, GPUSlice] = {}
        self._elsewhere: dict[str, NodeView] = {}
        self._expelled: dict[str, frozenset[Key]] = {}
        self._read = 0
        self.follow(snapshot)

    def follow(self, snapshot: Snapshot) -> Concerned:
        """Take in what differs in this later snapshot, which must be comparable; take back what was charged since."""
        old, self.snapshot = self.snapshot, snapshot
        self._elsewhere.clear()
        self.__dict__.pop("_alive", None)
        found = changes.between(old, snapshot)
        concerned = Concerned(models=set(found.models), charged=set(self.ledger.journal[self._read :]))
        self._follow_workloads(old)
        for key in found.models:
            self._follow_model(key)
            for slice_ in self._of.get(key, ()):  # what its servers claim of their machines is the model's to say
                concerned.charged |= self._ties[slice_].nodes
        for key in found.slices:
            before = self._ties.get(key, _LOOSE)
            after = self._follow_slice(key)
            concerned.charged |= before.nodes | after.nodes
            concerned.models |= before.owners | after.owners
        for name in sorted(found.nodes):
            for key in self._on.get(name, ()):
                concerned.models |= self._ties[key].owners
            self._follow_node(name, old, concerned)
        self._sort_nodes(concerned)
        concerned.charged.intersection_update(self.nodes)
        for name in concerned.charged:
            self._charge(name, concerned)
        self._read = len(self.ledger.journal)
        return concerned

    def _follow_workloads(self, old: Snapshot) -> None:
        new = self.snapshot
        for key in changes.differing(old.pods, new.pods):
            self.workloads.update_pod(key, old.pods.get(key), new.pods.get(key))
        for key in changes.differing(old.deployments, new.deployments):
            self.workloads.update_deployment(key, old.deployments.get(key), new.deployments.get(key))

    def _follow_model(self, key: Key) -> None:
        model = self.snapshot.models.get(key)
        self.special.discard(key)
        self.everywhere.discard(key)
        if model is None:
            return
        if group_of(model) is not None or model.spec.slice_ref is not None:
            self.special.add(key)
        if model.spec.placement.mode == "PerNode":
            self.everywhere.add(key)

    def _follow_slice(self, key: Key) -> _Tie:
        """Index the slice anew, with all that runs for it."""
        slice_ = self.snapshot.slices.get(key)
        for tied in self._ties.get(key, _LOOSE).owners:
            owned = self._owned.get(tied, {})
            owned.pop(key, None)
            if not owned:
                self._owned.pop(tied, None)
        self._reserved.pop(key, None)
        self.adopted.pop(key, None)
        owners = {(each.namespace, each.model) for each in self.workloads.deployments(key)}
        if slice_ is not None:
            owner, uids = _owner(slice_)
            owners |= {(key[0], each["name"]) for each in _models(slice_)}
            if owner is None:
                self._reserved[key] = slice_
            else:
                owners.add(owner)
                self._owned.setdefault(owner, {})[key] = slice_, uids
            if slice_.status.allocation is None and (lost := self._adopt(key)):
                self.adopted[key] = lost
        nodes = frozenset(allocation.node for allocation in self._grants(key))
        return self._tie(key, _Tie(nodes, frozenset(owners)))

    def _tie(self, key: Key, tie: _Tie) -> _Tie:
        before = self._ties.get(key, _LOOSE)
        _move(self._on, key, before.nodes, tie.nodes)
        _move(self._of, key, before.owners, tie.owners)
        if tie == _LOOSE:
            self._ties.pop(key, None)
        else:
            self._ties[key] = tie
        return tie

    def _follow_node(self, name: str, old: Snapshot, concerned: Concerned) -> None:
        """The node with its devices, nothing charged to them."""
        before, new = self.nodes.get(name), self.snapshot
        if before is not None:
            concerned.gone.append(before)
        if name not in new.edge_nodes:
            self.nodes.pop(name, None)
            self.ledger.close(name)
            self._expel(name, frozenset())
            return
        same = before is not None and all(
            getattr(old, kind).get(name) is getattr(new, kind).get(name) for kind in ("nodes", "edge_nodes")
        )
        its = before.discovery if before is not None and same else discovery(new, name)
        self.ledger.open(name, its.devices)
        after = view(new, name, its, self.ledger)
        concerned.new.append(after)
        concerned.charged.add(name)
        self.nodes[name] = after

    def _sort_nodes(self, concerned: Concerned) -> None:
        """A node that is new stands last: put it where its name belongs."""
        if {each.name for each in concerned.new} - {each.name for each in concerned.gone}:
            ordered = sorted(self.nodes.items())
            self.nodes.clear()
            self.nodes.update(ordered)

    def _charge(self, name: str, concerned: Concerned) -> None:
        """Charge the node with everything that is bound to it, adopted or still running, and see what is too much."""
        node = self.nodes[name]
        self.ledger.clear(name)
        node.host.clear()
        for key in self._on.get(name, ()):
            for allocation in self._grants(key):
                if allocation.node == name:
                    self.ledger.hold(key, allocation)
            self._claim(node, key)
        expelled = frozenset(excess(node, self.snapshot, self.adopted, self.workloads))
        for key in expelled ^ self._expelled.get(name, frozenset()):
            concerned.models |= self._ties.get(key, _LOOSE).owners
        self._expel(name, expelled)

    def _expel(self, name: str, keys: frozenset[Key]) -> None:
        self.evicted -= self._expelled.pop(name, frozenset())
        if keys:
            self._expelled[name] = keys
            self.evicted |= keys

    def _grants(self, key: Key) -> Iterator[Allocation]:
        """What the slice is charged: what is bound or adopted, what its pods have, and what they may come up with."""
        slice_ = self.snapshot.slices.get(key)
        pods = sorted(self.workloads.pods(key), key=lambda pod: (not pod.deleting, pod.name))
        bound = None if slice_ is None else self.allocation(slice_)
        if bound is not None:
            reported = next((pod.reported for pod in reversed(pods) if pod.reported), None)
            yield self.ledger.as_reported(bound, reported)
        for pod in pods:
            if pod.grant is not None:
                yield self.ledger.as_reported(pod.grant, pod.reported)
        # While its slice is bound, the slice speaks for it; without, its pods may yet come up with this grant.
        if slice_ is None or slice_.status.allocation is None:
            for deployment in self.workloads.deployments(key):
                if deployment.grant is not None:
                    yield deployment.grant

    def _claim(self, node: NodeView, key: Key) -> None:
        """What the servers on the slice claim of the machine."""
        slice_ = self.snapshot.slices.get(key)
        allocation = None if slice_ is None else self.allocation(slice_)
        if slice_ is not None and allocation is not None and allocation.node == node.name:
            claimant = claims.claimant(slice_, self.workloads.deployment(key))
            unit = _owner(slice_)[0]
            if unit is not None and group_named(unit[1]) is not None:
                node.host.hold(key, claims.of_group(slice_, allocation, self._members(slice_)))
            elif claimant is not None:
                node.host.hold(key, claims.of_slice(slice_, allocation, self.snapshot.models.get(claimant)))
        for pod in self.workloads.pods(key):
            if pod.grant is not None and pod.grant.node == node.name:
                node.host.hold(key, claims.of_pod(pod.grant))

    def _members(self, slice_: GPUSlice) -> list[InferenceModel]:
        """The models for which a group's slice is, those that have left it meanwhile excepted."""
        namespace, shared = slice_.metadata.namespace, slice_.metadata.labels.get(LABEL_GROUP, "")
        owners = (self.snapshot.models.get((namespace, each["name"])) for each in _models(slice_))
        return [model for model in owners if model is not None and group_of(model) == (namespace, shared)]

    def _adopt(self, key: Key) -> Allocation | None:
        """The allocation of a slice whose status was lost, from its workloads: a pod's grant, else its Deployment's.

        A pod shows what the node really gave. A Terminating one counts only where no other does: its successor is
        newer.
        """
        pods = [pod for pod in self.workloads.pods(key) if pod.grant is not None]
        if pods:
            return max(pods, key=lambda pod: (not pod.deleting, pod.name)).grant
        deployments = (each for each in self.workloads.deployments(key) if each.grant is not None)
        chosen = max(deployments, key=lambda each: each.name, default=None)
        return None if chosen is None else chosen.grant

    @property
    def reservations(self) -> list[GPUSlice]:
        """Slices that users wrote, by key."""
        return [self._reserved[key] for key in sorted(self._reserved)]

    def slices_of(self, model: InferenceModel) -> list[GPUSlice]:
        """The slices of a model or a group's unit, by name; those whose owners are gone are about to be collected."""
        namespace, name = model.metadata.key
        group = group_named(name)
        if group is not None:
            return self.slices_of_group((namespace, group))
        uid, owned = model.metadata.uid, self._owned.get((namespace, name), {})
        return [each for _, (each, uids) in sorted(owned.items()) if uids & {"", uid} or not uid]

    def slices_of_group(self, key: Key) -> list[GPUSlice]:
        """The slices of a group, by name; those whose owners are all gone are about to be collected."""
        owned = self._owned.get(unit_key(key), {})
        return [each for _, (each, uids) in sorted(owned.items()) if uids & self._alive]

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
        known = self.nodes.get(name) or self._elsewhere.get(name)
        if known is None:
            known = self._elsewhere[name] = unlisted(self.snapshot, name)
        return known


def _move(index: dict[Any, set[Key]], key: Key, before: Iterable[Any], after: Iterable[Any]) -> None:
    """Index the key below other names than before."""
    for name in before:
        members = index[name]
        members.discard(key)
        if not members:
            del index[name]
    for name in after:
        index.setdefault(name, set()).add(key)


def _models(slice_: GPUSlice) -> list[Mapping[str, Any]]:
    """The references to the models that own the slice."""
    return [reference for reference in slice_.metadata.owner_references if reference["kind"] == "InferenceModel"]


def _owner(slice_: GPUSlice) -> tuple[Key | None, frozenset[str]]:
    """(the model or the group's unit that the slice is a replica of, the uids of its owners); a user's has none."""
    meta = slice_.metadata
    models = _models(slice_)
    shared = meta.labels.get(LABEL_GROUP)
    if shared and models:
        return unit_key((meta.namespace, shared)), frozenset(reference.get("uid", "") for reference in models)
    for reference in models:
        if reference.get("controller"):
            return (meta.namespace, reference["name"]), frozenset((reference.get("uid", ""),))
    return None, frozenset()
