"""What is worth looking at because an object has changed: the way from events to keys of work.

Nothing is said of what happened; what makes no difference to anybody makes no work.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from littoral.api import group
from littoral.api.base import Metadata
from littoral.api.edgenode import EdgeNode, NamespaceCache
from littoral.api.gpuslice import GPUSlice
from littoral.api.inferencemodel import InferenceModel, Source
from littoral.api.workload import DeploymentFacts, JobFacts, NodeFacts, PodFacts
from littoral.controller import kinds
from littoral.controller.kinds import Key, LiveDeployment
from littoral.controller.resource import Resource
from littoral.controller.work import CLEANING, PLAN, Refused, Work
from littoral.placement.groups import group_named, unit_key
from littoral.triton.endpoints import ZONE
from littoral.triton.prefetch import identity
from littoral.triton.replica import same_grant

if TYPE_CHECKING:
    from littoral.controller.store import Store


def consequences(store: "Store", resource: Resource, key: Key, old: Any, new: Any) -> Iterator[Work]:
    """What is worth looking at because an object became `new`; it was `old`, None stands for not there."""
    if _same(old, new):
        return
    value = new if new is not None else old
    if resource == kinds.NODES:
        yield from (PLAN, Work("EdgeNode", "", key[1]))
        if _told(old) != _told(new):
            yield from _models_on(store, key[1])
            if abandoned(store, store.get(kinds.EDGENODES, ("", key[1]))):
                yield CLEANING
    elif resource == kinds.EDGENODES:
        yield Work("EdgeNode", "", key[1])
        if old is None:
            yield from _models_on(store, key[1])  # a server begins where its namespace's cache is noted
        if abandoned(store, new):
            yield CLEANING
        if (_spec(old), _exclusions(old)) != (_spec(new), _exclusions(new)):
            yield PLAN
    elif resource == kinds.MODELS:
        yield Work("Model", *key)
        if not same_for_planning(old, new):
            yield PLAN
    elif resource == kinds.SLICES:
        yield from _slice_work(key, old, new)
    elif isinstance(value, JobFacts) and value.cache:
        yield CLEANING
    elif prefetched_by(value) is not None:
        yield from _prefetch_work(store, value)
    elif resource == kinds.PODS:
        yield from _pod_work(store, old, new)
    elif resource == kinds.CONFIGMAPS:
        yield PLAN
        yield from (Work("EdgeNode", "", name) for _, name in store.values(kinds.NODES))
    elif resource in {kinds.RUNTIMECLASSES, kinds.PRIORITYCLASSES}:
        yield PLAN
    elif resource in {kinds.NAMESPACES, kinds.CLAIMS}:
        if resource == kinds.NAMESPACES:
            if _labels(old) != _labels(new):
                yield PLAN
            if _policy(old) != _policy(new):
                yield from (Work("Model", *name) for name in store.values(kinds.MODELS) if name[0] == key[1])
            if old is None or new is None:
                yield CLEANING  # one that is made again comes in its namesake's place
        yield Work("Namespace", "", key[1] if resource == kinds.NAMESPACES else key[0])
    elif resource == kinds.VOLUMES:
        yield Work("Namespace", "", _claim_namespace(value))
    else:
        if (mine := owner_of(resource, value)) is not None:
            yield visit_to(mine)
        if resource == kinds.DEPLOYMENTS and isinstance(value, LiveDeployment):
            yield from _charge_work(store, value.facts, came_or_went=(old is None) != (new is None))


def _pod_work(store: "Store", old: Any, new: Any) -> Iterator[Work]:
    known = [pod for pod in (new, old) if isinstance(pod, PodFacts)]
    if not known:
        return  # it cannot be read, and never could
    pod = known[0]
    owner = store.get(kinds.SLICES, (pod.namespace, pod.slice))
    mine = owner_of(kinds.SLICES, owner)
    if mine is not None:
        yield visit_to(mine)
    elif pod.model:  # on a slice that a user wrote
        yield Work("Model", pod.namespace, pod.model)
    node = bound_to(owner) or ""
    excluded, turned = _exclusions(store.get(kinds.EDGENODES, ("", node))), _refused(old) != _refused(new)
    if turned or excluded:
        yield Work("EdgeNode", "", node)
    if (turned and excluded) or _reported(old) != _reported(new):
        yield PLAN  # an exclusion that holds already drives out what is refused; a charge follows what is reported
    yield from _charge_work(store, pod, came_or_went=isinstance(old, PodFacts) != isinstance(new, PodFacts))


def prefetched_by(value: Any) -> Key | None:
    """The slice for which a Job or a pod prefetches: neither serves, nor is it charged."""
    if isinstance(value, JobFacts):
        return (value.namespace, value.slice) if value.slice else None
    return (value.namespace, value.prefetch) if isinstance(value, PodFacts) and value.prefetch else None


def _prefetch_work(store: "Store", prefetch: JobFacts | PodFacts) -> Iterator[Work]:
    """Whom a prefetch is for looks at how far it has come."""
    key = prefetched_by(prefetch)
    owner = owner_of(kinds.SLICES, store.get(kinds.SLICES, key)) if key is not None else None
    if owner is not None:
        yield visit_to(owner)
    elif prefetch.model:  # on a slice that a user wrote
        yield Work("Model", prefetch.namespace, prefetch.model)


def _charge_work(store: "Store", workload: PodFacts | DeploymentFacts, *, came_or_went: bool) -> Iterator[Work]:
    """What runs on other figures than its slice is bound to is charged for itself: its end frees memory.

    And a slice that a user wrote is free for another model when what runs on it has ended.
    """
    owner = store.get(kinds.SLICES, (workload.namespace, workload.slice))
    bound = owner.status.allocation if isinstance(owner, GPUSlice) else None
    covered = bound is not None and workload.grant is not None and same_grant(bound, workload.grant)
    if came_or_went and not (covered and owner_of(kinds.SLICES, owner) is not None):
        yield PLAN


def _models_on(store: "Store", node: str) -> Iterator[Work]:
    for slice_ in store.slices_on(node):
        owner = owner_of(kinds.SLICES, slice_)
        key = slice_.metadata.key
        if owner is not None:
            yield visit_to(owner)
            continue
        yield Work("Slice", *key)
        yield from {Work("Model", key[0], pod.model) for pod in store.pods_of(key) if pod.model}


def _same(old: Any, new: Any) -> bool:
    """Whether nothing changed that anybody looks at: a model's status is written here, and a reason for nothing."""
    if isinstance(old, InferenceModel) and isinstance(new, InferenceModel):
        return bool(_wish(old) == _wish(new))
    return bool(old == new)


def _wish(model: InferenceModel) -> Any:
    """What the user says of a model."""
    meta = model.metadata
    return model.spec, meta.annotations, meta.labels, meta.deletion_timestamp


def _told(node: Any) -> Any:
    """What visits read of a Node: an update waits both for one that is offline and for one that is not ready; its
    address is in the status of models, its site in their EndpointSlices; a prefetch is begun anew after a restart.
    """
    if not isinstance(node, NodeFacts):
        return None
    return node.ready, node.address, node.labels.get(ZONE), identity(node)


def _spec(value: Any) -> Any:
    return None if value is None or isinstance(value, Refused) else value.spec


def _labels(value: Any) -> Any:
    return value.labels if isinstance(value, Metadata) else None


def _policy(value: Any) -> Any:
    """What of a Namespace decides its models' revisions."""
    if not isinstance(value, Metadata):
        return None
    return value.labels.get(group.LABEL_REQUIRE_SIGNATURE), value.annotations.get(group.ANNOTATION_CACHE_QUOTA)


def abandoned(store: "Store", edge: Any) -> tuple[NamespaceCache, ...]:
    """The model caches on a machine of which no namespace is known."""
    caches = edge.status.caches if isinstance(edge, EdgeNode) else ()
    return tuple(each for each in caches if _uid(store.get(kinds.NAMESPACES, ("", each.namespace))) != each.uid)


def _uid(value: Any) -> Any:
    meta = value.metadata if isinstance(value, Refused) else value
    return meta.uid if isinstance(meta, Metadata) else None


def _exclusions(edge: Any) -> Any:
    return edge.status.exclusions if isinstance(edge, EdgeNode) else ()


def bound_to(value: Any) -> str | None:
    """The node that a slice is bound to."""
    if not isinstance(value, GPUSlice) or value.status.allocation is None:
        return None
    return value.status.allocation.node


def _refused(pod: Any) -> Any:
    """What of a pod exclusions depend on."""
    return pod.refused_at if isinstance(pod, PodFacts) else None


def _reported(pod: Any) -> Any:
    """Which device a sharing mechanism says it really has."""
    return pod.reported if isinstance(pod, PodFacts) else None


def planning_inputs(model: Any) -> Any:
    """What of a model placement depends on: the rest may change without a plan."""
    if model is None or isinstance(model, Refused):
        return None
    spec = model.spec
    variants = tuple(
        (v.name, v.accelerators, v.format, v.slice, _stored(v.source), v.requires, v.virtual_npu, v.latency)
        for v in spec.variants
    )
    deleting = model.metadata.deletion_timestamp is not None
    serving = (spec.serving.image, spec.serving.network, spec.serving.ports, spec.serving.resources)
    shared = (spec.slice_ref, spec.server)
    return variants, spec.slice, spec.replicas, spec.placement, serving, shared, model.refresh, deleting


def _stored(source: Source) -> Any:
    """What of a source the account of a node's disk depends on."""
    return (source.digest, source.size) if source.size else None


def same_for_planning(one: Any, other: Any) -> bool:
    """Whether placement sees no difference between two states of a model."""
    return one is other or bool(planning_inputs(one) == planning_inputs(other))


def _slice_work(key: Key, old: Any, new: Any) -> Iterator[Work]:
    owner = owner_of(kinds.SLICES, new if new is not None else old)
    yield Work("Slice", *key) if owner is None else visit_to(owner)
    if _ledger(old) != _ledger(new):
        yield PLAN


def _ledger(value: Any) -> Any:
    """What of a slice the ledger depends on."""
    if value is None or isinstance(value, Refused):
        return None
    return value.spec, value.status.allocation and value.status.allocation.model_dump(
        exclude={"bound_at", "updated_at"}
    )


def owner_of(resource: Resource, value: Any) -> Key | None:
    """Whom an object belongs to: the model that controls it or that its label names, or its group's unit."""
    if value is None or resource in {kinds.MODELS, kinds.PODS, kinds.JOBS, kinds.NODES, kinds.EDGENODES}:
        return None
    meta: Metadata | None = value if isinstance(value, Metadata) else getattr(value, "metadata", None)
    if meta is None:
        return None
    shared = meta.labels.get(group.LABEL_GROUP)
    if shared and (meta.owner_references or resource == kinds.DEPLOYMENTS):
        return unit_key((meta.namespace, shared))
    if isinstance(value, LiveDeployment):
        return (value.facts.namespace, value.facts.model) if value.facts.model else None
    owner = meta.owner("InferenceModel")
    return None if owner is None else (meta.namespace, owner)


def visit_to(owner: Key) -> Work:
    """The work that looks at what belongs to a model, or to a group's unit."""
    namespace, name = owner
    shared = group_named(name)
    return Work("Model", namespace, name) if shared is None else Work("Group", namespace, shared)


def _claim_namespace(volume: Any) -> str:
    if isinstance(volume, Refused):
        return ""
    spec = volume.live.get("spec")
    reference = spec.get("claimRef") if isinstance(spec, Mapping) else None
    return str(reference.get("namespace", "")) if isinstance(reference, Mapping) else ""
