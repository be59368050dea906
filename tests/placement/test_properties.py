"""What holds for every plan, whatever the fleet, the models and their past."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.world import apply, model, moment, node, pod, reservation, sure, t4, world

from littoral.api.gpuslice import ISOLATION_ORDER, Allocation, GPUSlice, GPUSliceStatus
from littoral.api.inferencemodel import InferenceModel
from littoral.api.quantity import to_mib
from littoral.api.workload import NodeFacts, NodeReady
from littoral.placement.plan import Plan, plan
from littoral.placement.snapshot import Key, Snapshot

ROUNDS = 6
EXAMPLES = 150
MEMORY = ("100Mi", "200Mi", "500Mi", "900Mi", "1500Mi", "3Gi")


def machine(rng: Random, name: str) -> NodeFacts:
    kind = rng.choice(["t4", "t4", "orin", "cpu"])
    pool = {"littoral.dev/pool": rng.choice("xxy")}
    common: dict[str, Any] = {
        "ready": rng.choice(["True"] * 8 + ["False", "Unknown"]),
        "memory": rng.choice([2000, 4000]),
    }
    shares = rng.choice([1, 2, 4])
    if kind == "t4":
        return t4(name, shares=shares, count=rng.choice([1, 2]), labels=pool, **common)
    if kind == "orin":
        labels = {"littoral.dev/profile": "emulated-orin", "nvidia.com/gpu.replicas": str(shares), **pool}
        return node(name, labels=labels, resources={"nvidia.com/gpu": shares}, **common)
    return node(name, labels=pool, **common)


def demand(rng: Random, name: str, mode: str | None = None) -> InferenceModel:
    return model(
        name,
        memory=rng.choice(MEMORY),
        compute=rng.choice([0, 0, 20, 40]),
        isolation=rng.choice(["None"] * 7 + ["Hard"]),
        replicas=rng.choice([0, 1, 2, 3, 4]),
        accelerators=rng.choice([("*",), ("*", "cpu"), ("*", "cpu"), ("cpu",), ("t4", "cpu"), ("jetson-orin",)]),
        created=rng.randint(0, 3),
        mode=mode or rng.choice(["Replicas", "Replicas", "PerNode"]),
        pools=rng.choice([(), (), ("x",), ("y",)]),
    )


def fleet(rng: Random, *, mode: str | None = None, reserved: bool = True) -> Snapshot:
    nodes = [machine(rng, f"n{i}") for i in range(rng.randint(1, 4))]
    models = [demand(rng, f"m{i}", mode) for i in range(rng.randint(1, 5))]
    slices = [
        reservation(f"r{i}", rng.choice(MEMORY), accelerators=rng.choice([(), ("cpu",)]))
        for i in range(rng.choice([0, 0, 1, 2]) if reserved else 0)
    ]
    return world(nodes, models, slices)


def reconnected(rng: Random, snapshot: Snapshot) -> Snapshot:
    name = rng.choice(sorted(snapshot.nodes))
    ready: NodeReady = rng.choice(("True", "True", "False", "Unknown", "Unknown"))
    return replace(snapshot, nodes={**snapshot.nodes, name: replace(snapshot.nodes[name], ready=ready)})


def resized(rng: Random, snapshot: Snapshot) -> Snapshot:
    """Memory, units and shares of a node change: another plugin configuration, a card that died, one that was added."""
    name = rng.choice(sorted(snapshot.nodes))
    old = snapshot.nodes[name]
    shares = rng.choice([1, 2, 4])
    count = rng.choice([1, 2])
    labels = {**old.labels, "nvidia.com/gpu.replicas": str(shares), "nvidia.com/gpu.count": str(count)}
    units = {"nvidia.com/gpu": rng.choice([0, 1, shares * count, shares * count, shares * count])}
    changed = replace(old, labels=labels, resources=units, memory=rng.choice([1000, 3000, 9000]))
    return replace(snapshot, nodes={**snapshot.nodes, name: changed})


def respecified(rng: Random, snapshot: Snapshot) -> Snapshot:
    """A user scales a model, changes its figures, or sends it elsewhere."""
    if not snapshot.models:
        return snapshot
    key = rng.choice(sorted(snapshot.models))
    wanted = demand(rng, key[1])
    old = snapshot.models[key]
    fields = rng.choice([("replicas",), ("slice",), ("placement",), ("replicas", "placement"), ("variants",)])
    spec = old.spec.model_copy(update={name: getattr(wanted.spec, name) for name in fields})
    return replace(snapshot, models={**snapshot.models, key: old.model_copy(update={"spec": spec})})


def deleted(rng: Random, snapshot: Snapshot) -> Snapshot:
    """A model goes: its slices and Deployments are collected, its pods end when their nodes say so."""
    if not snapshot.models:
        return snapshot
    key = rng.choice(sorted(snapshot.models))
    models = {name: each for name, each in snapshot.models.items() if name != key}
    gone = {name for name, each in snapshot.slices.items() if each.metadata.owner("InferenceModel") == key[1]}
    slices = {name: each for name, each in snapshot.slices.items() if name not in gone}
    deployments = {name: each for name, each in snapshot.deployments.items() if name not in gone}
    pods = {name: replace(each, deleting=each.deleting or name in gone) for name, each in snapshot.pods.items()}
    return replace(snapshot, models=models, slices=slices, pods=pods, deployments=deployments)


def unnoted(rng: Random, snapshot: Snapshot) -> Snapshot:
    """Nobody noted that a server was ready; its pod may be gone for the moment."""
    slices = {key: unstarted(each) for key, each in snapshot.slices.items()}
    return replace(snapshot, slices=slices, pods=rng.choice([snapshot.pods, {}]))


def joined(rng: Random, snapshot: Snapshot) -> Snapshot:
    name = f"m{rng.randint(5, 8)}"
    return replace(snapshot, models={**snapshot.models, ("ns", name): demand(rng, name)})


EVENTS = (reconnected, resized, resized, respecified, respecified, deleted, unnoted, joined, joined)


def unstarted(slice_: GPUSlice) -> GPUSlice:
    allocation = slice_.status.allocation
    if allocation is None:
        return slice_
    unknown = allocation.model_copy(update={"started_at": None})
    return slice_.model_copy(update={"status": GPUSliceStatus(allocation=unknown)})


def cut_off(rng: Random, snapshot: Snapshot) -> Snapshot:
    """A node that serves goes offline, and then the user changes his mind about everything."""
    name = rng.choice(sorted(snapshot.nodes))
    snapshot = replace(snapshot, nodes={**snapshot.nodes, name: replace(snapshot.nodes[name], ready="Unknown")})
    for _ in snapshot.models:
        snapshot = respecified(rng, snapshot)
    return snapshot


def recut(rng: Random, snapshot: Snapshot) -> Snapshot:
    """Devices that were given whole are shared from now on, or the reverse, while slices of before are there."""
    nodes = dict(snapshot.nodes)
    for name, old in nodes.items():
        count = max(1, int(old.labels.get("nvidia.com/gpu.count", "1")))
        shares = rng.choice([1, 2, 4])
        labels = {**old.labels, "nvidia.com/gpu.replicas": str(shares)}
        nodes[name] = replace(old, labels=labels, resources={"nvidia.com/gpu": shares * count})
    return joined(rng, joined(rng, replace(snapshot, nodes=nodes)))


def history(rng: Random) -> Snapshot:
    """A fleet that has lived: planned, carried out, disturbed, several times over."""
    snapshot = fleet(rng)
    for minute in range(rng.randint(0, 4)):
        snapshot = apply(snapshot, plan(snapshot), minute=minute, started=rng.random() < 0.7)
        for event in rng.choice([(cut_off,), (recut,), rng.sample(EVENTS, 1), rng.sample(EVENTS, 4)]):
            snapshot = event(rng, snapshot)
    return snapshot


# Worlds come from a seed, not from single draws: hypothesis draws small and even ones, in which nothing contends.
SEEDS = st.integers(0, 2**64)


def histories() -> st.SearchStrategy[Snapshot]:
    return SEEDS.map(lambda seed: history(Random(seed)))  # noqa: S311 (worlds, not secrets)


def fleets(**kinds: Any) -> st.SearchStrategy[Snapshot]:
    return SEEDS.map(lambda seed: fleet(Random(seed), **kinds))  # noqa: S311 (worlds, not secrets)


def presence(snapshot: Snapshot, name: str) -> bool:
    facts = snapshot.nodes.get(name)
    return facts is not None and facts.connected


def grants(snapshot: Snapshot, found: Plan) -> Iterator[tuple[Key, Allocation]]:
    """Each (slice, allocation) that exists or shall exist: the worst of what is, what runs, and what the plan adds."""
    for key, slice_ in snapshot.slices.items():
        if slice_.status.allocation is not None:
            yield key, slice_.status.allocation
    for pod_ in snapshot.pods.values():
        yield (pod_.namespace, pod_.slice), sure(pod_.grant)
    for deployment in snapshot.deployments.values():
        key = (deployment.namespace, deployment.slice)
        if key not in snapshot.slices or snapshot.slices[key].status.allocation is None:
            yield key, sure(deployment.grant)
    for key, allocation in additions(snapshot, found):
        yield key, allocation


def additions(snapshot: Snapshot, found: Plan) -> Iterator[tuple[Key, Allocation]]:
    """What the plan grants beyond what is there."""
    for (namespace, _), its in found.models.items():
        for assignment in its.assignments:
            if assignment.target is not None and assignment.target != assignment.current:
                yield (namespace, assignment.slice), assignment.target
    for key, mine in found.slices.items():
        if mine.allocation is not None and mine.allocation != snapshot.slices[key].status.allocation:
            yield key, mine.allocation


def demanded(snapshot: Snapshot, found: Plan, name: str) -> tuple[int, ...]:
    """Of a node: memory of the node, and memory, percent, units of its accelerator, as an accountant would sum them."""
    device = found.nodes[name].discovery.devices[0]
    held: dict[tuple[Key, bool], tuple[int, ...]] = {}
    for key, granted in grants(snapshot, found):
        if granted.node == name:
            on_cpu = granted.profile == "cpu"
            old = held.get((key, on_cpu), (0, 0, 0))
            units = int(granted.resources.get("nvidia.com/gpu", "0"))
            new = to_mib(granted.memory), granted.compute, units
            held[key, on_cpu] = tuple(max(pair) for pair in zip(old, new, strict=True))
    total = {on_cpu: [0, 0, 0] for on_cpu in (True, False)}
    for (_, on_cpu), figures in held.items():
        total[on_cpu] = [a + b for a, b in zip(total[on_cpu], figures, strict=True)]
    node_memory = total[True][0] + (total[False][0] if device.profile.unified else 0)
    return node_memory, total[True][1], *total[False]


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_nothing_is_added_to_a_device_beyond_what_it_has(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    as_it_is = replace(found, models={}, slices={})
    for name in {granted.node for _, granted in additions(snapshot, found)}:
        *accelerators, cpu = found.nodes[name].discovery.devices
        limits = [cpu.memory, 100, 0, 0, 0]
        for device in accelerators:
            limits[2:] = device.total_memory, 100 * device.count, device.units
        # What shrank below what is bound stays over-committed, on that axis; the plan must not add to it.
        for had, has, limit in zip(
            demanded(snapshot, as_it_is, name), demanded(snapshot, found, name), limits, strict=True
        ):
            assert has <= max(had, limit)


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_any_device_that_the_kubelet_may_choose_has_room(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    for _, granted in additions(snapshot, found):
        device = next(each for each in found.nodes[granted.node].discovery.devices if each.id == granted.device)
        if device.count > 1 and not device.profile.unified:
            # The adversary fills one device with the largest grants there are, one for each of its units.
            largest: dict[Key, int] = {}
            for key, each in grants(snapshot, found):
                if (each.node, each.profile) == (granted.node, granted.profile):
                    largest[key] = max(largest.get(key, 0), to_mib(each.memory))
            worst = sorted(largest.values(), reverse=True)[: device.shares]
            assert sum(worst) <= device.memory


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_no_grant_is_below_its_request(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    pairs = [(a.request, a.target) for its in found.models.values() for a in its.assignments if not a.blocked]
    pairs += [(snapshot.slices[key].spec, its.allocation) for key, its in found.slices.items() if its.reason == "Bound"]
    for asked, allocation in pairs:
        granted = sure(allocation)
        assert to_mib(granted.memory) >= to_mib(asked.memory)
        assert granted.compute >= asked.compute
        assert ISOLATION_ORDER.index(granted.isolation) >= ISOLATION_ORDER.index(asked.isolation)


@given(histories(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=EXAMPLES)
def test_the_order_of_the_input_does_not_matter(snapshot: Snapshot, order: Random) -> None:
    def shuffled(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
        items = list(mapping.items())
        order.shuffle(items)
        return dict(items)

    names = ("nodes", "edge_nodes", "slices", "models", "pods", "deployments")
    mixed: dict[str, Any] = {name: shuffled(getattr(snapshot, name)) for name in names}
    assert plan(replace(snapshot, **mixed)) == plan(snapshot)


def placed(found: Plan) -> Counter[tuple[Key, str, str]]:
    return Counter((key, a.slice, a.node) for key, its in found.models.items() for a in its.assignments)


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_a_plan_that_is_carried_out_gives_itself_again(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    for minute in range(10, 10 + ROUNDS):
        snapshot = apply(snapshot, found, minute=minute)
        again = plan(snapshot)
        assert placed(found) <= placed(again), "a replica moved although nothing happened"
        assert not any(its.releases for its in again.models.values())
        found, before = again, found
    assert placed(found) == placed(before)
    assert all(a.target == a.current for its in found.models.values() for a in its.assignments if not a.blocked)
    assert found.slices == before.slices


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_on_an_offline_node_nothing_begins_and_nothing_ends(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    for (namespace, _), its in found.models.items():
        for assignment in its.assignments:
            known = snapshot.slices.get((namespace, assignment.slice))
            if not presence(snapshot, assignment.node):
                assert known is not None
                assert known.status.allocation is not None
                assert assignment.target in (known.status.allocation, None)
        for name in its.releases:
            allocation = snapshot.slices[namespace, name].status.allocation
            witnesses = {(each.namespace, each.slice) for each in snapshot.pods.values()}
            witnesses |= {(each.namespace, each.slice) for each in snapshot.deployments.values()}
            may_run = allocation is not None and ((namespace, name) in witnesses or allocation.started_at is not None)
            assert not may_run or presence(snapshot, sure(allocation).node)


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_each_replica_is_somewhere_or_waits(snapshot: Snapshot) -> None:
    for key, its in plan(snapshot).models.items():
        names = [assignment.slice for assignment in its.assignments]
        assert len(set(names)) == len(names)
        assert not set(names) & {*its.releases, *its.held}
        mine = snapshot.models[key].spec
        if mine.placement.mode == "Replicas":
            assert its.wanted == mine.replicas
            assert len(names) <= its.wanted <= len(names) + its.waiting + len(its.held)
        else:
            assert len({assignment.node for assignment in its.assignments}) == len(names)


@given(fleets(reserved=False))
@settings(deadline=None, max_examples=EXAMPLES)
def test_a_ledger_whose_statuses_were_lost_is_found_again(snapshot: Snapshot) -> None:
    snapshot = apply(snapshot, plan(snapshot))
    lost = {key: each.model_copy(update={"status": GPUSliceStatus()}) for key, each in snapshot.slices.items()}
    before, after = plan(snapshot), plan(replace(snapshot, slices=lost))
    assert after.nodes == before.nodes
    assert placed(after) == placed(before)


@given(fleets(mode="Replicas"), st.integers(0, 6), st.data())
@settings(deadline=None, max_examples=EXAMPLES)
def test_scaling_touches_no_more_than_it_must(snapshot: Snapshot, wanted: int, data: st.DataObject) -> None:
    for minute in range(2):
        snapshot = apply(snapshot, plan(snapshot), minute=minute)
    if not snapshot.models:
        return
    before = plan(snapshot)
    key = data.draw(st.sampled_from(sorted(snapshot.models)))
    mine = snapshot.models[key]
    scaled = mine.model_copy(update={"spec": mine.spec.model_copy(update={"replicas": wanted})})
    after = plan(replace(snapshot, models={**snapshot.models, key: scaled}))
    had, have = len(before.models[key].assignments), len(after.models[key].assignments)
    if wanted >= had:
        assert placed(before) <= placed(after)
        assert not after.models[key].releases
    else:
        assert have == wanted
        assert len(after.models[key].releases) == had - wanted
        assert placed(after) <= placed(before)


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_a_pod_that_ends_late_keeps_its_memory(snapshot: Snapshot) -> None:
    """A Terminating pod of a slice that is gone is charged: what it holds is given to nobody else."""
    name = min(snapshot.nodes)
    found = plan(snapshot)
    cpu = found.nodes[name].devices[-1]
    ghost = {"node": name, "device": "cpu", "profile": "cpu", "provider": "cpu", "memory": "1Gi"}
    granted = Allocation.model_validate(ghost)
    haunted = replace(
        snapshot,
        pods={**snapshot.pods, ("ns", "ghost"): pod(("ns", "ghost"), granted, deleting=True, created=moment(0))},
    )
    after = plan(haunted).nodes[name].devices[-1]
    assert after.memory >= min(cpu.memory, 0) + 1024
