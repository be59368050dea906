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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from pydantic import ValidationError

from littoral.api.base import Metadata
from littoral.api.edgenode import EdgeNode
from littoral.api.gpuslice import GPUSlice
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import DeploymentFacts, NodeFacts, PodFacts
from littoral.controller import kinds
from littoral.controller.client import Resource
from littoral.controller.kinds import Body, Key, LiveDeployment
from littoral.triton.rollout import same_grant


class Work(NamedTuple):
    """A key of the workqueue: what is to be reconciled."""

    controller: Literal["Plan", "Model", "Slice", "EdgeNode", "Namespace"]
    namespace: str = ""
    name: str = ""


PLAN: Final = Work("Plan")


@dataclass(frozen=True, slots=True)
class Refused:
    """An object that cannot be read: why, in a sentence."""

    metadata: Metadata
    message: str


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
        self._by_model: dict[Resource, dict[Key, set[Key]]] = defaultdict(lambda: defaultdict(set))
        self._by_slice: dict[Key, set[Key]] = defaultdict(set)
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

    def of_model(self, resource: Resource, model: Key) -> dict[str, Any]:
        """The model's children of one kind (slices, Deployments, ControllerRevisions), by name."""
        names = self._by_model[resource].get(model, ())
        return {key[1]: value for key in sorted(names) if (value := self.get(resource, key)) is not None}

    def pods_of(self, slice_key: Key) -> tuple[PodFacts, ...]:
        """The pods that run for a slice, Terminating ones included."""
        return tuple(self._entries[kinds.PODS][key].value for key in sorted(self._by_slice.get(slice_key, ())))

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
        return set(self._consequences(resource, key, old, entry.value))

    def _remove(self, resource: Resource, key: Key) -> set[Work]:
        shown = self.get(resource, key)
        entry = self._entries[resource].pop(key, None)
        if entry is None:
            return set()
        self._reindex(resource, key, shown)
        return set(self._consequences(resource, key, entry.value, None))

    # Indices

    def _reindex(self, resource: Resource, key: Key, before: Any) -> None:
        """Index the object as it is shown now, assumed or seen, in place of how it was."""
        now = self.get(resource, key)
        if (model := _model_of(resource, before)) is not None:
            self._by_model[resource][model].discard(key)
        if isinstance(before, PodFacts):
            self._by_slice[before.namespace, before.slice].discard(key)
        if (node := _bound_to(before)) is not None:
            self._by_node[node].discard(key)
        if (model := _model_of(resource, now)) is not None:
            self._by_model[resource][model].add(key)
        if isinstance(now, PodFacts):
            self._by_slice[now.namespace, now.slice].add(key)
        if (node := _bound_to(now)) is not None:
            self._by_node[node].add(key)

    # What follows from a change

    def _consequences(self, resource: Resource, key: Key, old: Any, new: Any) -> Iterator[Work]:
        if _same(old, new):
            return
        value = new if new is not None else old
        if resource == kinds.NODES:
            yield from (PLAN, Work("EdgeNode", "", key[1]))
            if _ready(old) != _ready(new):
                yield from self._models_on(key[1])
        elif resource == kinds.EDGENODES:
            yield Work("EdgeNode", "", key[1])
            if (_spec(old), _exclusions(old)) != (_spec(new), _exclusions(new)):
                yield PLAN
        elif resource == kinds.MODELS:
            yield Work("Model", *key)
            if not same_for_planning(old, new):
                yield PLAN
        elif resource == kinds.SLICES:
            yield from _slice_work(key, old, new)
        elif resource == kinds.PODS:
            yield from self._pod_work(old, new)
        elif resource == kinds.CONFIGMAPS:
            yield PLAN
            yield from (Work("EdgeNode", "", name) for _, name in self._entries[kinds.NODES])
        elif resource in {kinds.RUNTIMECLASSES, kinds.PRIORITYCLASSES}:
            yield PLAN
        elif resource in {kinds.NAMESPACES, kinds.CLAIMS}:
            if resource == kinds.NAMESPACES and _labels(old) != _labels(new):
                yield PLAN
            yield Work("Namespace", "", key[1] if resource == kinds.NAMESPACES else key[0])
        elif resource == kinds.VOLUMES:
            yield Work("Namespace", "", _claim_namespace(value))
        else:
            if (model := _model_of(resource, value)) is not None:
                yield Work("Model", *model)
            if resource == kinds.DEPLOYMENTS and isinstance(value, LiveDeployment):
                yield from self._charge_work(value.facts, came_or_went=(old is None) != (new is None))

    def _pod_work(self, old: Any, new: Any) -> Iterator[Work]:
        known = [pod for pod in (new, old) if isinstance(pod, PodFacts)]
        if not known:
            return  # it cannot be read, and never could
        pod = known[0]
        owner = self.get(kinds.SLICES, (pod.namespace, pod.slice))
        model = _model_of(kinds.SLICES, owner)
        if model is not None:
            yield Work("Model", *model)
        elif pod.model:  # on a slice that a user wrote
            yield Work("Model", pod.namespace, pod.model)
        node = _bound_to(owner) or ""
        if _refused(old) != _refused(new) or _exclusions(self.get(kinds.EDGENODES, ("", node))):
            yield Work("EdgeNode", "", node)
        yield from self._charge_work(pod, came_or_went=isinstance(old, PodFacts) != isinstance(new, PodFacts))

    def _charge_work(self, workload: PodFacts | DeploymentFacts, *, came_or_went: bool) -> Iterator[Work]:
        """What runs on other figures than its slice is bound to is charged for itself: its end frees memory."""
        owner = self.get(kinds.SLICES, (workload.namespace, workload.slice))
        bound = owner.status.allocation if isinstance(owner, GPUSlice) else None
        covered = bound is not None and workload.grant is not None and same_grant(bound, workload.grant)
        if came_or_went and not covered:
            yield PLAN

    def _models_on(self, node: str) -> Iterator[Work]:
        for slice_ in self.slices_on(node):
            model = _model_of(kinds.SLICES, slice_)
            key = slice_.metadata.key
            if model is not None:
                yield Work("Model", *model)
                continue
            yield Work("Slice", *key)
            yield from {Work("Model", key[0], pod.model) for pod in self.pods_of(key) if pod.model}


def _same(old: Any, new: Any) -> bool:
    """Whether nothing changed that anybody looks at: a model's status is written here, and a reason for nothing."""
    if isinstance(old, InferenceModel) and isinstance(new, InferenceModel):
        return bool(wish(old) == wish(new))
    return bool(old == new)


def wish(model: InferenceModel) -> Any:
    """What the user says of a model."""
    meta = model.metadata
    return model.spec, meta.annotations, meta.labels, meta.deletion_timestamp


def _ready(node: Any) -> str | None:
    """Ready as the Node has it; an update waits both for a node that is offline and for one that is not ready."""
    return node.ready if isinstance(node, NodeFacts) else None


def _spec(value: Any) -> Any:
    return None if value is None or isinstance(value, Refused) else value.spec


def _labels(value: Any) -> Any:
    return value.labels if isinstance(value, Metadata) else None


def _exclusions(edge: Any) -> Any:
    return edge.status.exclusions if isinstance(edge, EdgeNode) else ()


def _bound_to(value: Any) -> str | None:
    """The node that a slice is bound to."""
    if not isinstance(value, GPUSlice) or value.status.allocation is None:
        return None
    return value.status.allocation.node


def _refused(pod: Any) -> Any:
    """What of a pod exclusions depend on."""
    return pod.refused_at if isinstance(pod, PodFacts) else None


def planning_inputs(model: Any) -> Any:
    """What of a model placement depends on: the rest may change without a plan."""
    if model is None or isinstance(model, Refused):
        return None
    spec = model.spec
    variants = tuple(
        (v.name, v.accelerators, v.format, v.slice, v.source.size, v.requires, v.virtual_npu, v.latency)
        for v in spec.variants
    )
    deleting = model.metadata.deletion_timestamp is not None
    serving = (spec.serving.image, spec.serving.network, spec.serving.ports, spec.serving.resources)
    shared = (spec.slice_ref, spec.server)
    return variants, spec.slice, spec.replicas, spec.placement, serving, shared, model.refresh, deleting


def same_for_planning(one: Any, other: Any) -> bool:
    """Whether placement sees no difference between two states of a model."""
    return one is other or bool(planning_inputs(one) == planning_inputs(other))


def _slice_work(key: Key, old: Any, new: Any) -> Iterator[Work]:
    model = _model_of(kinds.SLICES, new if new is not None else old)
    yield Work("Slice", *key) if model is None else Work("Model", *model)
    if _ledger(old) != _ledger(new):
        yield PLAN


def _ledger(value: Any) -> Any:
    """What of a slice the ledger depends on."""
    if value is None or isinstance(value, Refused):
        return None
    return value.spec, value.status.allocation and value.status.allocation.model_dump(
        exclude={"bound_at", "updated_at"}
    )


def _model_of(resource: Resource, value: Any) -> Key | None:
    """The model that an object belongs to, by its controlling owner or its label."""
    if value is None or resource in {kinds.MODELS, kinds.PODS, kinds.NODES, kinds.EDGENODES}:
        return None
    if isinstance(value, LiveDeployment):
        return (value.facts.namespace, value.facts.model) if value.facts.model else None
    meta: Metadata | None = value if isinstance(value, Metadata) else getattr(value, "metadata", None)
    owner = meta.owner("InferenceModel") if meta is not None else None
    return None if meta is None or owner is None else (meta.namespace, owner)


def _claim_namespace(volume: Any) -> str:
    if isinstance(volume, Refused):
        return ""
    spec = volume.live.get("spec")
    reference = spec.get("claimRef") if isinstance(spec, Mapping) else None
    return str(reference.get("namespace", "")) if isinstance(reference, Mapping) else ""


def utcnow() -> datetime:
    """The clock of the controllers, to the second, as the API server keeps times."""
    return datetime.now(UTC).replace(microsecond=0)
