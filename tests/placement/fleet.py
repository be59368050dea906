"""Random fleets with a past: every sharing mechanism, unlike devices on one node, and what befalls them.

Worlds come from a seed, not from single draws: hypothesis draws small and even ones, in which nothing contends.
"""

import json
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from tests.placement.world import EPOCH, apply, edge, model, node, reservation, t4, world

from littoral.api.edgenode import EdgeNode, Exclusion
from littoral.api.gpuslice import GPUSlice, GPUSliceStatus
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import ContainerFacts, NodeFacts, NodeReady
from littoral.placement.plan import plan
from littoral.placement.snapshot import Snapshot

MEMORY = ("100Mi", "200Mi", "500Mi", "900Mi", "1500Mi", "3Gi")
ZONE = "topology.kubernetes.io/zone"
PROFILE = "littoral.dev/profile"
PRIORITIES = {"urgent": 2_000_000, "littoral-serving": 1_000_000, "idle": 5}


def rng(seed: int) -> Random:
    return Random(seed)  # noqa: S311 (worlds, not secrets)


def machine(draw: Random, name: str) -> tuple[NodeFacts, EdgeNode]:
    """A node of one kind of many, and its EdgeNode."""
    labels = {"littoral.dev/pool": draw.choice("xxy")}
    if draw.random() < 0.7:
        labels[ZONE] = draw.choice("12")
    common: dict[str, Any] = {
        "ready": draw.choice(["True"] * 8 + ["False", "Unknown"]),
        "memory": draw.choice([2000, 4000]),
    }
    spec: dict[str, Any] = {}
    if draw.random() < 0.15:
        spec["allowedNamespaces"] = {
            "selector": {"matchLabels": {"kubernetes.io/metadata.name": draw.choice(["ns", "b"])}}
        }
    facts = KINDS[draw.choice(sorted(KINDS))](draw, name, labels, common, spec)
    return replace(facts, pods=draw.choice([0, 0, 2, 5]), disk=draw.choice([0, 0, 12_000])), edge(name, **spec)


def _t4(draw: Random, name: str, labels: dict[str, str], common: dict[str, Any], _: Any) -> NodeFacts:
    return t4(name, shares=draw.choice([1, 2, 4]), count=draw.choice([1, 2]), labels=labels, **common)


def _orin(draw: Random, name: str, labels: dict[str, str], common: dict[str, Any], _: Any) -> NodeFacts:
    shares = draw.choice([1, 2, 4])
    its = {PROFILE: "emulated-orin", "nvidia.com/gpu.replicas": str(shares), **labels}
    return node(name, labels=its, resources={"nvidia.com/gpu": shares}, **common)


def _cores(_: Random, name: str, labels: dict[str, str], common: dict[str, Any], __: Any) -> NodeFacts:
    return node(name, labels=labels, **common)


def _runtime(_: Random, name: str, labels: dict[str, str], common: dict[str, Any], __: Any) -> NodeFacts:
    return node(name, labels={PROFILE: "emulated-nano", **labels}, **common)


def _shared(draw: Random, name: str, labels: dict[str, str], common: dict[str, Any], _: Any) -> NodeFacts:
    """GPUs under time-slicing or MPS."""
    shares, count = draw.choice([2, 4]), draw.choice([1, 2])
    its = {
        "nvidia.com/gpu.product": "Emulated-GPU",
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.replicas": str(shares),
        "nvidia.com/gpu.sharing-strategy": draw.choice(["time-slicing", "mps"]),
        **labels,
    }
    return node(name, labels=its, resources={"nvidia.com/gpu": shares * count}, **common)


def _hami(draw: Random, name: str, labels: dict[str, str], common: dict[str, Any], _: Any) -> NodeFacts:
    cards = [
        {
            "id": f"GPU-{name}-{i}",
            "index": i,
            "count": 4,
            "devmem": 4096,
            "devcore": 100,
            "type": "Emulated-GPU",
            "health": True,
        }
        for i in range(draw.choice([1, 2]))
    ]
    facts = node(
        name,
        labels={"nvidia.com/gpu.product": "Emulated-GPU", **labels},
        resources={"nvidia.com/gpu": 4 * len(cards)},
        **common,
    )
    return replace(facts, annotations={"hami.io/node-nvidia-register": json.dumps(cards)})


def _vnpu(draw: Random, name: str, labels: dict[str, str], common: dict[str, Any], _: Any) -> NodeFacts:
    chips = draw.choice([1, 2])
    sizes = draw.choice([{"2c": 3}, {"2c": 1, "4c.3cpu": 1}, {"4c": 1, "4c.3cpu": 1}])
    resources = {f"example.com/chip-{size}": units * chips for size, units in sizes.items()}
    return node(name, labels={PROFILE: "emulated-npu", **labels}, resources=resources, **common)


def _chips(draw: Random, name: str, labels: dict[str, str], common: dict[str, Any], spec: dict[str, Any]) -> NodeFacts:
    """Chips under shareDevCount, or whole."""
    shares, count = draw.choice([1, 2, 4]), draw.choice([1, 2])
    sharing = {"mode": "share-dev-count", "replicas": shares} if shares > 1 else {}
    spec["accelerators"] = [{"profile": "emulated-npu", "count": count, "sharing": sharing}]
    return node(name, labels=labels, resources={"example.com/chip": shares * count}, **common)


def _mixed(draw: Random, name: str, labels: dict[str, str], common: dict[str, Any], spec: dict[str, Any]) -> NodeFacts:
    """Unlike devices on one node, each under a resource of its own."""
    shares = draw.choice([1, 4])
    spec["accelerators"] = [
        {"profile": "emulated-t4", "count": 1, "sharing": {"replicas": shares}},
        {"profile": "emulated-npu", "count": 1},
    ]
    return node(name, labels=labels, resources={"nvidia.com/gpu": shares, "example.com/chip": 1}, **common)


KINDS = {
    "t4": _t4,
    "orin": _orin,
    "cores": _cores,
    "runtime": _runtime,
    "shared": _shared,
    "hami": _hami,
    "vnpu": _vnpu,
    "chips": _chips,
    "mixed": _mixed,
    "t4 again": _t4,
}
RECUT = {"emulated-t4", "Emulated-T4", "emulated-orin"}
"""Kinds whose devices a test cuts anew: one device, or several alike, and nothing beside it."""

SERVING: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"network": "HostPort"},
    {"network": "Host", "ports": {"http": 9000, "grpc": 9001, "metrics": 9002}},
    {"resources": {"cpu": "3", "memory": "500Mi"}},
)
WORDS = (("*",), ("*", "cpu"), ("*", "cpu"), ("cpu",), ("t4", "cpu"), ("jetson-orin",), ("gpu", "npu"))


def demand(
    draw: Random, name: str, mode: str | None = None, *, slice_ref: str = "", namespace: str = "ns"
) -> InferenceModel:
    digest = draw.choice("012") * 64
    source = {"uri": "https://models/x", "sha256": digest, "size": draw.choice([None, "1Gi", "2Gi"])}
    placement: dict[str, Any] = {
        "mode": "Replicas" if slice_ref else mode or draw.choice(["Replicas", "Replicas", "PerNode"])
    }
    if draw.random() < 0.3:
        placement["priorityClassName"] = draw.choice(sorted(PRIORITIES))
    if draw.random() < 0.3:
        placement["spread"] = ZONE
    return model(
        name,
        memory=draw.choice(MEMORY),
        compute=draw.choice([0, 0, 20, 40]),
        isolation=draw.choice(["None"] * 7 + ["Soft", "Hard"]),
        replicas=1 if slice_ref else draw.choice([0, 1, 2, 3, 4]),
        variants=[{"name": "any", "accelerators": list(draw.choice(WORDS)), "source": source}],
        created=draw.randint(0, 3),
        serving=draw.choice(SERVING),
        pools=draw.choice([(), (), ("x",), ("y",)]),
        slice_ref=slice_ref,
        namespace=namespace,
        **placement,
    )


def fleet(draw: Random, *, mode: str | None = None, reserved: bool = True) -> Snapshot:
    machines = [machine(draw, f"n{i}") for i in range(draw.randint(1, 4))]
    models = [demand(draw, f"m{i}", mode, namespace=draw.choice(["ns", "ns", "b"])) for i in range(draw.randint(1, 5))]
    slices = [
        reservation(f"r{i}", draw.choice(MEMORY), accelerators=draw.choice([(), ("cpu",)]))
        for i in range(draw.choice([0, 1, 2]) if reserved else 0)
    ]
    models += [
        demand(draw, f"s{i}", slice_ref=each.metadata.name) for i, each in enumerate(slices) if draw.random() < 0.8
    ]
    nodes, edges = zip(*machines, strict=True)
    return world(nodes, models, slices, edges, priorities=PRIORITIES)


def users(slice_: GPUSlice) -> bool:
    """Whether a user wrote it."""
    return slice_.metadata.owner("InferenceModel") is None


# What befalls a fleet


def reconnected(draw: Random, snapshot: Snapshot) -> Snapshot:
    name = draw.choice(sorted(snapshot.nodes))
    ready: NodeReady = draw.choice(("True", "True", "False", "Unknown", "Unknown"))
    return with_node(snapshot, replace(snapshot.nodes[name], ready=ready))


def with_node(snapshot: Snapshot, facts: NodeFacts) -> Snapshot:
    return replace(snapshot, nodes={**snapshot.nodes, facts.name: facts})


def can_be_cut(facts: NodeFacts) -> bool:
    named = {facts.labels.get(PROFILE), facts.labels.get("nvidia.com/gpu.product")}
    return bool(named & RECUT)


def resized(draw: Random, snapshot: Snapshot) -> Snapshot:
    """Memory, units and shares of a node change: another plugin configuration, a card that died, one that was added."""
    old = snapshot.nodes[draw.choice(sorted(snapshot.nodes))]
    if not can_be_cut(old):
        fewer = {name: draw.choice([0, units, units]) for name, units in old.resources.items()}
        return with_node(snapshot, replace(old, resources=fewer))
    shares = draw.choice([1, 2, 4])
    count = draw.choice([1, 2])
    labels = {**old.labels, "nvidia.com/gpu.replicas": str(shares), "nvidia.com/gpu.count": str(count)}
    units = {"nvidia.com/gpu": draw.choice([0, 1, shares * count, shares * count, shares * count])}
    return with_node(snapshot, replace(old, labels=labels, resources=units, memory=draw.choice([1000, 3000, 9000])))


def respecified(draw: Random, snapshot: Snapshot) -> Snapshot:
    """A user scales a model, changes its figures, sends it elsewhere, or gives it a slice of his own, or none."""
    if not snapshot.models:
        return snapshot
    key = draw.choice(sorted(snapshot.models))
    old = snapshot.models[key]
    theirs = sorted(name for (namespace, name), each in snapshot.slices.items() if users(each) and namespace == key[0])
    wanted = demand(draw, key[1], slice_ref=draw.choice(theirs) if theirs and draw.random() < 0.3 else "")
    fields = draw.choice(
        [("replicas",), ("slice",), ("placement",), ("replicas", "placement"), ("variants",), ("serving",)]
    )
    if wanted.spec.slice_ref or old.spec.slice_ref:
        fields = ("replicas", "placement", "slice_ref")
    spec = old.spec.model_copy(update={name: getattr(wanted.spec, name) for name in fields})
    return replace(snapshot, models={**snapshot.models, key: old.model_copy(update={"spec": spec})})


def deleted(draw: Random, snapshot: Snapshot) -> Snapshot:
    """A model goes: its slices and Deployments are collected, its pods end when their nodes say so."""
    if not snapshot.models:
        return snapshot
    key = draw.choice(sorted(snapshot.models))
    models = {name: each for name, each in snapshot.models.items() if name != key}
    gone = {
        name
        for name, each in snapshot.slices.items()
        if name[0] == key[0] and each.metadata.owner("InferenceModel") == key[1]
    }
    slices = {name: each for name, each in snapshot.slices.items() if name not in gone}
    deployments = {name: each for name, each in snapshot.deployments.items() if name not in gone}
    pods = {name: replace(each, deleting=each.deleting or name in gone) for name, each in snapshot.pods.items()}
    return replace(snapshot, models=models, slices=slices, pods=pods, deployments=deployments)


def unnoted(draw: Random, snapshot: Snapshot) -> Snapshot:
    """Nobody noted that a server was ready; its pod may be gone for the moment."""
    slices = {key: unstarted(each) for key, each in snapshot.slices.items()}
    return replace(snapshot, slices=slices, pods=draw.choice([snapshot.pods, {}]))


def joined(draw: Random, snapshot: Snapshot) -> Snapshot:
    name = f"m{draw.randint(5, 8)}"
    return replace(snapshot, models={**snapshot.models, ("ns", name): demand(draw, name)})


def refused(draw: Random, snapshot: Snapshot) -> Snapshot:
    """Somebody else's pod took the place: what has not answered yet is refused, and its device is excluded."""
    key = draw.choice(sorted(snapshot.pods) or [("", "")])
    if key not in snapshot.pods:
        return snapshot
    old = snapshot.pods[key]
    says = "UnexpectedAdmissionError: Allocate failed"
    pod = replace(
        old, phase="Failed", fetch=ContainerFacts(), server=ContainerFacts(), scheduling_message=says, refused_at=EPOCH
    )
    slices = snapshot.slices
    if key in slices and draw.random() < 0.7:
        slices = {**slices, key: unstarted(slices[key])}
    grant = old.grant
    excluded = dict(snapshot.exclusions)
    if grant is not None:
        until = EPOCH + timedelta(hours=1)
        excluded[grant.node] = (
            Exclusion(device=grant.device, reason="RefusedByKubelet", message=says, since=EPOCH, until=until),
        )
    return replace(snapshot, pods={**snapshot.pods, key: pod}, slices=slices, exclusions=excluded)


def forgiven(_: Random, snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, exclusions={})


EVENTS = (reconnected, resized, resized, respecified, respecified, deleted, unnoted, joined, joined, refused, forgiven)


def unstarted(slice_: GPUSlice) -> GPUSlice:
    allocation = slice_.status.allocation
    if allocation is None:
        return slice_
    unknown = allocation.model_copy(update={"started_at": None})
    return slice_.model_copy(update={"status": GPUSliceStatus(allocation=unknown)})


def cut_off(draw: Random, snapshot: Snapshot) -> Snapshot:
    """A node that serves goes offline, and then the user changes his mind about everything."""
    name = draw.choice(sorted(snapshot.nodes))
    snapshot = with_node(snapshot, replace(snapshot.nodes[name], ready="Unknown"))
    for _ in snapshot.models:
        snapshot = respecified(draw, snapshot)
    return snapshot


def recut(draw: Random, snapshot: Snapshot) -> Snapshot:
    """Devices that were given whole are shared from now on, or the reverse, while slices of before are there."""
    for old in snapshot.nodes.values():
        if can_be_cut(old):
            count = max(1, int(old.labels.get("nvidia.com/gpu.count", "1")))
            shares = draw.choice([1, 2, 4])
            labels = {**old.labels, "nvidia.com/gpu.replicas": str(shares)}
            snapshot = with_node(snapshot, replace(old, labels=labels, resources={"nvidia.com/gpu": shares * count}))
    return joined(draw, joined(draw, snapshot))


def history(draw: Random) -> Snapshot:
    """A fleet that has lived: planned, carried out, disturbed, several times over."""
    snapshot = fleet(draw)
    for minute in range(draw.randint(0, 4)):
        snapshot = apply(snapshot, plan(snapshot), minute=minute, started=draw.random() < 0.7)
        for event in draw.choice([(cut_off,), (recut,), draw.sample(EVENTS, 1), draw.sample(EVENTS, 4)]):
            snapshot = event(draw, snapshot)
    return snapshot
