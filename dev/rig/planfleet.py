"""Fleets for the planner's benchmark, as snapshots: seeded, so that every run measures the same work.

Two of them. A chassis has four accelerators in each of its machines: T4s cut by time-slicing, T4s and 310Ps given
whole. A field has one small accelerator on each machine, as most edges have: Orins by their runtime, T4s, 310Ps, and
some with none. No two models need ask alike: memory, compute, variants, pools and ages are drawn for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from littoral.accelerators.catalogue import Catalogue, extend, load
from littoral.api.base import Metadata
from littoral.api.edgenode import EdgeNode
from littoral.api.gpuslice import Allocation, GPUSlice, GPUSliceStatus
from littoral.api.group import ANNOTATION_ASKED, LABEL_MODEL, LABEL_NODE
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import ContainerFacts, DeploymentFacts, NodeFacts, PodFacts
from littoral.placement.plan import Assignment, Plan
from littoral.placement.snapshot import Key, Snapshot

NAMESPACE: Final = "bench"
CREATED: Final = datetime(2026, 1, 1, tzinfo=UTC)
_RUNNING: Final = ContainerFacts(ready=True, running=True)
_POOLS: Final = ("line1", "line2", "mec")

_EXTENSION: Final = """
profiles:
  - name: bench-t4
    family: t4
    memory: 15360Mi
    labels: {nvidia.com/gpu.product: Bench-T4}
    resources: [nvidia.com/gpu]
    sharing: [whole, time-slicing, counted]
    overhead: 576Mi
    stacks: [{image: triton, backends: {onnx: onnxruntime, tensorrt_plan: tensorrt}, instanceKind: KIND_GPU}]
  - name: bench-310p
    family: ascend-310p
    memory: 21527Mi
    labels: {example.com/npu.product: Bench-310P}
    resources: [example.com/npu]
    sharing: [whole, counted]
    overhead: 300Mi
    stacks: [{image: triton-npu, backends: {onnx: npu_ge, om: npu_ge}, instanceKind: KIND_MODEL}]
  - name: bench-orin
    family: jetson-orin
    unified: true
    sharing: [runtime]
    overhead: 528Mi
    stacks: [{image: triton-igpu, backends: {onnx: onnxruntime, tensorrt_plan: tensorrt}, instanceKind: KIND_GPU}]
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a fleet is."""

    name: str
    nodes: int
    models: int
    replicas: int
    """The most that one model asks for; from one on, all are as likely."""
    chassis: bool


CHASSIS: Final = Size("1,000 nodes x 4 devices, 5,000 models", 1_000, 5_000, 1, chassis=True)
FIELD: Final = Size("10,000 nodes, 20,000 slices", 10_000, 8_000, 4, chassis=False)


def catalogue() -> Catalogue:
    """The shipped catalogue and the benchmark's own profiles. Raises ValueError where those are refused."""
    extended, problems = extend(load(), "benchmark", _EXTENSION)
    if problems:
        raise ValueError("; ".join(str(problem) for problem in problems))
    return extended


def build(size: Size, seed: int = 4) -> Snapshot:
    """A fleet on which nothing is placed yet."""
    rng = Random(seed)  # noqa: S311 (a fleet, not a secret)
    machine = _chassis if size.chassis else _field
    nodes = [machine(rng, f"edge-{index:05}") for index in range(size.nodes)]
    models = [_model(rng, index, size) for index in range(size.models)]
    return Snapshot(
        catalogue=catalogue(),
        nodes={node.name: node for node in nodes},
        edge_nodes={node.name: EdgeNode(metadata=Metadata(name=node.name)) for node in nodes},
        models={model.metadata.key: model for model in models},
    )


def _chassis(rng: Random, name: str) -> NodeFacts:
    kind = rng.choice(("sliced", "sliced", "whole", "npu", "npu"))
    if kind == "npu":
        labels = {"littoral.dev/profile": "bench-310p"}
        return _machine(rng, name, labels, {"example.com/npu": 4})
    shares = 4 if kind == "sliced" else 1
    return _machine(rng, name, nvidia(4, shares), {"nvidia.com/gpu": 4 * shares})


def _field(rng: Random, name: str) -> NodeFacts:
    kind = rng.choice(("orin", "orin", "orin", "orin", "t4", "t4", "npu", "cpu"))
    if kind == "orin":
        return _machine(rng, name, {"littoral.dev/profile": "bench-orin"}, {}, memory=15_000)
    if kind == "t4":
        return _machine(rng, name, nvidia(1, 4), {"nvidia.com/gpu": 4})
    if kind == "npu":
        return _machine(rng, name, {"littoral.dev/profile": "bench-310p"}, {"example.com/npu": 1})
    return _machine(rng, name, {}, {}, memory=8_000)


def nvidia(count: int, shares: int) -> dict[str, str]:
    return {
        "nvidia.com/gpu.product": "Bench-T4",
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.replicas": str(shares),
        "nvidia.com/gpu.sharing-strategy": "time-slicing" if shares > 1 else "none",
    }


def _machine(
    rng: Random, name: str, labels: Mapping[str, str], resources: Mapping[str, int], memory: int = 64_000
) -> NodeFacts:
    """No two machines report the same memory: the kernel keeps a little more or less."""
    return NodeFacts(
        name=name,
        labels={"littoral.dev/pool": rng.choice(_POOLS), "topology.kubernetes.io/zone": name[:-2], **labels},
        resources=resources,
        ready="True",
        memory=memory - rng.randrange(200),
        cpu=8000,
        architecture="amd64",
        pods=110,
    )


VARIANTS: Final = (
    {"name": "portable", "accelerators": ["*"], "format": "onnx"},
    {"name": "nvidia", "accelerators": ["t4", "jetson-orin"], "format": "onnx"},
    {"name": "ascend", "accelerators": ["ascend-310p"], "format": "om"},
    {"name": "cores", "accelerators": ["cpu"], "format": "onnx"},
)

_MIXES: Final = ((0,), (0,), (0,), (1,), (1,), (1, 2), (1, 2, 3), (2, 3), (0, 3), (3,))
"""Which variants the models have, by index."""


def _model(rng: Random, index: int, size: Size) -> InferenceModel:
    source = {"uri": "https://models/x", "sha256": f"{index:064x}"}
    chosen = rng.choice(_MIXES)
    figures = {"memory": f"{rng.randrange(200, 3200)}Mi", "compute": rng.choice((0, 5, 10, 15, 20, 25))}
    return InferenceModel.model_validate(
        {
            "metadata": {
                "name": f"model-{index:05}",
                "namespace": NAMESPACE,
                "uid": f"uid-{index}",
                "creationTimestamp": CREATED + timedelta(minutes=rng.randrange(100_000)),
            },
            "spec": {
                "variants": [{**VARIANTS[each], "source": source} for each in chosen],
                "slice": figures,
                "replicas": rng.randint(1, size.replicas),
                "placement": {"pools": rng.choice(([], [], [], [rng.choice(_POOLS)], list(_POOLS[:2])))},
            },
        }
    )


def settled(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The fleet after the plan was carried out and every server has come up."""
    slices: dict[Key, GPUSlice] = dict(snapshot.slices)
    pods: dict[Key, PodFacts] = dict(snapshot.pods)
    deployments: dict[Key, DeploymentFacts] = dict(snapshot.deployments)
    for key, assignment, allocation in _placed(plan):
        at = (key[0], assignment.slice)
        slices[at] = _bound(snapshot, key, assignment, allocation)
        deployments[at] = DeploymentFacts(*at, "", assignment.slice, key[1], "r1", allocation)
        pods[at] = PodFacts(
            *at, "", allocation.node, at[1], "r1", "Running", deleting=False,
            fetch=ContainerFacts(exit_code=0), server=_RUNNING, grant=allocation,
        )  # fmt: skip
    return replace(snapshot, slices=slices, pods=pods, deployments=deployments)


def _placed(plan: Plan) -> Iterator[tuple[Key, Assignment, Allocation]]:
    times: dict[str, Any] = {"bound_at": CREATED, "started_at": CREATED}
    for key, its in plan.models.items():
        for assignment in its.assignments:
            if assignment.target is not None:
                yield key, assignment, assignment.target.model_copy(update=times)


def _bound(snapshot: Snapshot, key: Key, assignment: Assignment, allocation: Allocation) -> GPUSlice:
    owner = {"kind": "InferenceModel", "name": key[1], "uid": snapshot.models[key].metadata.uid, "controller": True}
    metadata = Metadata(
        name=assignment.slice,
        namespace=key[0],
        creation_timestamp=CREATED,
        labels={LABEL_MODEL: key[1], LABEL_NODE: assignment.node},
        annotations={ANNOTATION_ASKED: assignment.asked},
        owner_references=(owner,),
    )
    return GPUSlice(metadata=metadata, spec=assignment.request, status=GPUSliceStatus(allocation=allocation))
