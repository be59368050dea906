"""Builders of small worlds, and the hand that carries a plan out on a snapshot as the controller would."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from littoral.accelerators.catalogue import Catalogue, extend, load
from littoral.api.base import Metadata
from littoral.api.edgenode import EdgeNode
from littoral.api.gpuslice import Allocation, GPUSlice, GPUSliceStatus
from littoral.api.group import ANNOTATION_ASKED, LABEL_MODEL, LABEL_NODE
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import ContainerFacts, DeploymentFacts, NodeFacts, PodFacts, Taint
from littoral.placement.plan import Assignment, ModelPlan, Plan, plan
from littoral.placement.snapshot import Key, Snapshot

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = ContainerFacts(ready=True, running=True)

EXTENSION = """
profiles:
  - name: emulated-t4
    family: t4
    memory: 4Gi
    labels: {nvidia.com/gpu.product: Emulated-T4}
    resources: [nvidia.com/gpu]
    sharing: [whole, counted]
    overhead: 128Mi
    stacks: [{image: triton, backends: {python: python}, instanceKind: KIND_CPU}]
  - name: emulated-orin
    family: jetson-orin
    unified: true
    resources: [nvidia.com/gpu]
    sharing: [whole, counted]
    overhead: 100Mi
    stacks: [{image: triton, backends: {python: python}, instanceKind: KIND_CPU}]
  - name: emulated-gpu
    family: gpu
    vendor: nvidia
    computeCapability: "7.5"
    memory: 4Gi
    labels: {nvidia.com/gpu.product: Emulated-GPU}
    resources: [nvidia.com/gpu]
    sharing: [whole, time-slicing, mps, hami]
    overhead: 128Mi
    stacks: [{image: triton, backends: {python: python}, provides: {tensorrt: "10.3"}, instanceKind: KIND_CPU}]
  - name: emulated-nano
    family: jetson-orin
    unified: true
    resources: [nvidia.com/gpu]
    sharing: [runtime, whole, time-slicing]
    overhead: 100Mi
    stacks:
      - {name: jetpack-6, when: {jetpack: ">=6,<7"}, image: triton-6, backends: {python: python}}
      - {name: any, image: triton, backends: {python: python}}
  - name: emulated-npu
    family: npu
    memory: 8Gi
    resources: [example.com/chip]
    sharing: [whole, vnpu, share-dev-count]
    partitions:
      cores: 8
      cpus: 7
      templates:
        - {name: vir02, resource: example.com/chip-2c, memory: 2Gi, cores: 2, cpus: 2}
        - {name: vir04, resource: example.com/chip-4c, memory: 4Gi, cores: 4, cpus: 4}
        - {name: vir04_3c, resource: example.com/chip-4c.3cpu, memory: 4Gi, cores: 4, cpus: 3}
    overhead: 64Mi
    stacks: [{image: triton, backends: {python: python, om: {name: npu, imageReason: build it}}}]
  - name: imageless
    family: imageless
    memory: 8Gi
    resources: [example.com/npu]
    sharing: [whole]
    stacks: [{image: null, imageReason: nobody builds one, backends: {python: python}}]
"""


@cache
def catalogue() -> Catalogue:
    extended, problems = extend(load(), "tests", EXTENSION)
    assert not problems
    return extended


def moment(minutes: int) -> datetime:
    return EPOCH + timedelta(minutes=minutes)


def node(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    resources: Mapping[str, int] | None = None,
    ready: Any = "True",
    memory: int = 16384,
    cpu: int = 8000,
    architecture: str = "amd64",
    taints: tuple[Taint, ...] = (),
    unschedulable: bool = False,
) -> NodeFacts:
    return NodeFacts(
        name=name,
        labels=labels or {},
        resources=resources or {},
        ready=ready,
        memory=memory,
        cpu=cpu,
        architecture=architecture,
        taints=taints,
        unschedulable=unschedulable,
    )


def t4(
    name: str, *, shares: int = 4, count: int = 1, labels: Mapping[str, str] | None = None, **more: Any
) -> NodeFacts:
    """A node with emulated T4s, found by its labels."""
    found = {
        "nvidia.com/gpu.product": "Emulated-T4",
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.replicas": str(shares),
    }
    return node(name, labels={**found, **(labels or {})}, resources={"nvidia.com/gpu": shares * count}, **more)


def edge(name: str, **spec: Any) -> EdgeNode:
    return EdgeNode.model_validate({"metadata": {"name": name}, "spec": spec})


def model(
    name: str,
    *,
    memory: str = "512Mi",
    compute: int = 0,
    isolation: str = "None",
    replicas: int = 1,
    accelerators: Iterable[str] = ("*",),
    variants: list[dict[str, Any]] | None = None,
    created: int = 0,
    serving: dict[str, Any] | None = None,
    slice_ref: str = "",
    namespace: str = "ns",
    **placement: Any,
) -> InferenceModel:
    default = [{"name": "any", "accelerators": list(accelerators)}]
    source = {"uri": "https://models/x", "sha256": "0" * 64}
    return InferenceModel.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "creationTimestamp": moment(created),
            },
            "spec": {
                "variants": [{"format": "python", "source": source, **each} for each in variants or default],
                "slice": {"memory": memory, "compute": compute, "isolation": isolation},
                "replicas": replicas,
                "placement": placement,
                "serving": serving or {},
                **({"sliceRef": {"name": slice_ref}} if slice_ref else {}),
            },
        }
    )


def reservation(name: str, memory: str, created: int = 0, **spec: Any) -> GPUSlice:
    metadata = {"name": name, "namespace": "ns", "creationTimestamp": moment(created)}
    return GPUSlice.model_validate({"metadata": metadata, "spec": {"memory": memory, **spec}})


def world(
    nodes: Iterable[NodeFacts] = (),
    models: Iterable[InferenceModel] = (),
    slices: Iterable[GPUSlice] = (),
    edges: Iterable[EdgeNode] = (),
    **more: Any,
) -> Snapshot:
    """A snapshot in which every node has an EdgeNode, an empty one where none is given."""
    nodes = tuple(nodes)
    given = {each.metadata.name: each for each in edges}
    return Snapshot(
        catalogue=catalogue(),
        nodes={each.name: each for each in nodes},
        edge_nodes={each.name: edge(each.name) for each in nodes} | given,
        slices={each.metadata.key: each for each in slices},
        models={each.metadata.key: each for each in models},
        **more,
    )


def apply(snapshot: Snapshot, found: Plan, *, minute: int = 1, started: bool = True) -> Snapshot:
    """The snapshot after the plan was carried out, every pod has come up, and what was deleted has ended."""
    slices, pods, deployments = dict(snapshot.slices), dict(snapshot.pods), dict(snapshot.deployments)
    for key, reserved in found.slices.items():
        slices[key] = slices[key].model_copy(update={"status": GPUSliceStatus(allocation=reserved.allocation)})
    left = [(key[0], name) for key, its in found.models.items() for name in (*its.releases, *its.vacated)]
    # A Deployment on a slice that a user wrote is its model's, and the garbage collector's once that is gone.
    left += [at for at, each in deployments.items() if each.model and (at[0], each.model) not in snapshot.models]
    for at in left:
        if at not in pods or snapshot.nodes[pods[at].node].connected:
            pods.pop(at, None)
            deployments.pop(at, None)
    for key, its in found.models.items():
        for name in its.releases:
            slices.pop((key[0], name), None)
        for assignment in its.assignments:
            at = (key[0], assignment.slice)
            slices[at] = bound(snapshot, key, assignment, slices.get(at), minute=minute, started=started)
            deployments[at] = DeploymentFacts(*at, "", assignment.slice, key[1], "r1", granted(slices[at]))
            if started:
                pods[at] = pod(at, granted(slices[at]), model=key[1])
    return replace(snapshot, slices=slices, pods=pods, deployments=deployments)


def the(snapshot: Snapshot, name: str = "m") -> ModelPlan:
    """The plan of one model."""
    return plan(snapshot).models["ns", name]


def places(found: ModelPlan) -> list[tuple[str, str]]:
    return [(a.node, a.device) for a in found.assignments]


def settled(*args: Any, **kwargs: Any) -> Snapshot:
    """A world in which what was planned has come up."""
    snapshot = world(*args, **kwargs)
    return apply(snapshot, plan(snapshot))


def sure(value: T | None) -> T:
    """The value, which must be there."""
    assert value is not None
    return value


def granted(slice_: GPUSlice) -> Allocation:
    """The allocation of a slice that is bound."""
    return sure(slice_.status.allocation)


def pod(key: Key, grant: Allocation, **more: Any) -> PodFacts:
    facts: dict[str, Any] = {"phase": "Running", "deleting": False, "fetch": ContainerFacts(exit_code=0)}
    facts |= {"server": RUNNING, **more}
    return PodFacts(*key, "", grant.node, key[1], "r1", grant=grant, **facts)


def bound(
    snapshot: Snapshot, model_key: Key, assignment: Assignment, existing: GPUSlice | None, *, minute: int, started: bool
) -> GPUSlice:
    """The slice of an assignment, as the controller leaves it."""
    allocation = sure(assignment.target or assignment.current)
    times: dict[str, Any] = {"bound_at": allocation.bound_at or moment(minute)}
    if started:
        times["started_at"] = allocation.started_at or moment(minute)
    if existing is not None and not existing.metadata.owner_references and not assignment.asked:
        return existing.model_copy(update={"status": GPUSliceStatus(allocation=allocation.model_copy(update=times))})
    owner = {
        "kind": "InferenceModel",
        "name": model_key[1],
        "uid": snapshot.models[model_key].metadata.uid,
        "controller": True,
    }
    metadata = Metadata(
        name=assignment.slice,
        namespace=model_key[0],
        creation_timestamp=existing.metadata.creation_timestamp if existing else moment(minute),
        labels={LABEL_MODEL: model_key[1], LABEL_NODE: assignment.node},
        annotations={ANNOTATION_ASKED: assignment.asked},
        owner_references=(owner,),
    )
    spec = assignment.request if assignment.target is not None or existing is None else existing.spec
    asked = assignment.asked if assignment.target is not None or existing is None else None
    if asked is None and existing is not None:
        metadata = metadata.model_copy(update={"annotations": existing.metadata.annotations})
    return GPUSlice(metadata=metadata, spec=spec, status=GPUSliceStatus(allocation=allocation.model_copy(update=times)))
