"""What the operator knows of the cluster: one projection for each object, and what each change makes worth looking at.

Invariants:

- An object's projection only ever moves forward: what carries a resourceVersion that is not newer is ignored, whether a
  late watch event or a page of a LIST that was begun before our own write came back.
- A LIST replaces what is not newer than itself, deletions included (kopf reports none that it missed); a deletion seen
  after the LIST was begun is not undone by it.
- What is about to be written can be *assumed*: it counts in every snapshot, over what was read, until `forget` ends it
  when the write has ended either way. So two plans never give the same memory away twice.

resourceVersions are compared as numbers: all of an API server's come from one etcd revision, and Kubernetes documents
them as comparable since 1.35.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from littoral.api.gpuslice import GPUSlice
from littoral.api.workload import JobFacts, NodeFacts, PodFacts
from littoral.controller import kinds
from littoral.controller.kinds import Body, Key
from littoral.controller.resource import Resource
from littoral.controller.triggers import bound_to, consequences, owner_of, prefetched_by
from littoral.controller.work import Refused, Work

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of one object."""

    version: int
    uid: str
    value: Any


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    return f"{path}: {first['msg']}"


class Store:
    """See the module's text. One event loop owns it; nothing here waits."""

    def __init__(self) -> None:
        self._entries: dict[Resource, dict[Key, Entry]] = {kind.resource: {} for kind in kinds.KINDS}
        self._kinds = {kind.resource: kind for kind in kinds.KINDS}
        self._gone: dict[Resource, dict[Key, int]] = {kind.resource: {} for kind in kinds.KINDS}
        self._assumed: dict[Resource, dict[Key, Any]] = {kind.resource: {} for kind in kinds.KINDS}
        self._by_owner: dict[Resource, dict[Key, set[Key]]] = defaultdict(lambda: defaultdict(set))
        self._by_slice: dict[Key, set[Key]] = defaultdict(set)
        self._prefetches: dict[Resource, dict[Key, set[Key]]] = defaultdict(lambda: defaultdict(set))
        """By slice: the Jobs that prefetch for it, and their pods."""
        self._by_node: dict[str, set[Key]] = defaultdict(set)
        self.synced = False
        """Whether every kind was listed once: before that nothing is concluded from an absence."""

    # Reading

    def get(self, resource: Resource, key: Key) -> Any | None:
        """The object's projection; None if there is none, Refused where it cannot be read."""
        assumed = self._assumed[resource].get(key)
        if assumed is not None:
            return assumed
        entry = self._entries[resource].get(key)
        return None if entry is None else entry.value

    def seen(self, resource: Resource, key: Key) -> Any | None:
        """The object as it was last read, whatever is assumed of it; None or Refused as `get` has them."""
        entry = self._entries[resource].get(key)
        return None if entry is None else entry.value

    def values(self, resource: Resource) -> dict[Key, Any]:
        """All projections of a kind that can be read, assumed ones included; a copy that stays as it is."""
        found = {key: entry.value for key, entry in self._entries[resource].items()}
        found.update(self._assumed[resource])
        return {key: value for key, value in found.items() if not isinstance(value, Refused)}

    def refused(self, resource: Resource) -> dict[Key, str]:
        """The objects of a kind that cannot be read, with why."""
        entries = self._entries[resource].items()
        return {key: entry.value.message for key, entry in entries if isinstance(entry.value, Refused)}

    def of_owner(self, resource: Resource, owner: Key) -> dict[str, Any]:
        """The children of one kind (slices, Deployments, ControllerRevisions) that a model or a group has, by name."""
        names = self._by_owner[resource].get(owner, ())
        return {key[1]: value for key in sorted(names) if (value := self.get(resource, key)) is not None}

    def pods_of(self, slice_key: Key) -> tuple[PodFacts, ...]:
        """The pods that run for a slice, Terminating ones included."""
        return tuple(self._entries[kinds.PODS][key].value for key in sorted(self._by_slice.get(slice_key, ())))

    def prefetches_of(self, slice_key: Key) -> tuple[tuple[JobFacts, ...], tuple[PodFacts, ...]]:
        """The Jobs that prefetch for a slice, and their pods, those that are being deleted included."""
        jobs, pods = (self._prefetches[kind].get(slice_key, ()) for kind in (kinds.JOBS, kinds.PODS))
        return (
            tuple(self._entries[kinds.JOBS][key].value for key in sorted(jobs)),
            tuple(self._entries[kinds.PODS][key].value for key in sorted(pods)),
        )

    def slices_on(self, node: str) -> list[GPUSlice]:
        """The slices that are bound to a node."""
        found = (self.get(kinds.SLICES, key) for key in sorted(self._by_node.get(node, ())))
        return [slice_ for slice_ in found if isinstance(slice_, GPUSlice)]

    def node(self, name: str) -> NodeFacts | None:
        """A Node's facts; None where there is none or it cannot be read, which holds all that is on it."""
        facts = self.get(kinds.NODES, ("", name))
        return facts if isinstance(facts, NodeFacts) else None

    # Writing

    def apply(self, resource: Resource, body: Body, *, deleted: bool = False) -> set[Work]:
        """Take in one object as the API server sent it; what is worth looking at because of it."""
        meta = body["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        version = int(meta["resourceVersion"])
        entry = self._entries[resource].get(key)
        if entry is not None and (version <= entry.version if not deleted else version < entry.version):
            return set()
        if version <= self._gone[resource].get(key, 0) and not deleted:
            return set()
        if deleted:
            self._gone[resource][key] = max(version, self._gone[resource].get(key, 0))
            return self._remove(resource, key)
        value = self._project(resource, body)
        return self._put(resource, key, Entry(version, meta.get("uid", ""), value))

    def sweep(self, resource: Resource, listed: Collection[Key], version: int) -> set[Work]:
        """End a LIST drawn at `version` whose objects were applied: drop what it did not contain and is not newer."""
        work: set[Work] = set()
        vanished = [key for key, e in self._entries[resource].items() if key not in listed and e.version <= version]
        for key in vanished:
            work |= self._remove(resource, key)
        self._gone[resource] = {key: gone for key, gone in self._gone[resource].items() if gone > version}
        return work

    def assume(self, resource: Resource, key: Key, value: Any) -> None:
        """Count an object as it is about to be written; the writer ends it by `forget`, whatever came of the write."""
        shown = self.get(resource, key)
        self._assumed[resource][key] = value
        self._reindex(resource, key, shown)

    def forget(self, resource: Resource, key: Key) -> None:
        """The write has ended: the object is again what was last seen of it."""
        shown = self.get(resource, key)
        self._assumed[resource].pop(key, None)
        self._reindex(resource, key, shown)

    def _project(self, resource: Resource, body: Body) -> Any:
        try:
            return self._kinds[resource].project(body)
        except ValidationError as error:
            return Refused(kinds.metadata(body), _explain(error))
        except Exception as error:  # noqa: BLE001 - whatever an object contains must not stop the watch
            return Refused(kinds.metadata(body), f"cannot be read: {error!r}")

    def _put(self, resource: Resource, key: Key, entry: Entry) -> set[Work]:
        before, shown = self._entries[resource].get(key), self.get(resource, key)
        self._entries[resource][key] = entry
        self._reindex(resource, key, shown)
        old = None if before is None or before.uid != entry.uid else before.value
        return set(consequences(self, resource, key, old, entry.value))

    def _remove(self, resource: Resource, key: Key) -> set[Work]:
        shown = self.get(resource, key)
        entry = self._entries[resource].pop(key, None)
        if entry is None:
            return set()
        self._reindex(resource, key, shown)
        return set(consequences(self, resource, key, entry.value, None))

    # Indices

    def _reindex(self, resource: Resource, key: Key, before: Any) -> None:
        """Index the object as it is shown now, assumed or seen, in place of how it was."""
        now = self.get(resource, key)
        if (owner := owner_of(resource, before)) is not None:
            _drop(self._by_owner[resource], owner, key)
        if (slice_key := prefetched_by(before)) is not None:
            _drop(self._prefetches[resource], slice_key, key)
        elif isinstance(before, PodFacts):
            _drop(self._by_slice, (before.namespace, before.slice), key)
        if (node := bound_to(before)) is not None:
            _drop(self._by_node, node, key)
        if (owner := owner_of(resource, now)) is not None:
            self._by_owner[resource][owner].add(key)
        if (slice_key := prefetched_by(now)) is not None:
            self._prefetches[resource][slice_key].add(key)
        elif isinstance(now, PodFacts):
            self._by_slice[now.namespace, now.slice].add(key)
        if (node := bound_to(now)) is not None:
            self._by_node[node].add(key)


def _drop(index: dict[K, set[Key]], name: K, key: Key) -> None:
    """Take a key out of an index; nothing is kept of a name that leads nowhere."""
    members = index[name]
    members.discard(key)
    if not members:
        del index[name]
