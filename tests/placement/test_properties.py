"""What holds for every plan, whatever the fleet, the models and their past."""

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.world import apply, model, moment, node, pod, reservation, t4, world

from littoral.api.gpuslice import ISOLATION_ORDER, GPUSliceStatus
from littoral.api.quantity import to_mib
from littoral.placement.plan import plan

ROUNDS = 6
EXAMPLES = 150
MEMORY = ("100Mi", "200Mi", "500Mi", "900Mi", "1500Mi", "3Gi")


def machine(rng, name):
    kind = rng.choice(["t4", "t4", "orin", "cpu"])
    pool = {"littoral.dev/pool": rng.choice("xxy")}
    common = {"ready": rng.choice(["True"] * 8 + ["False", "Unknown"]), "memory": rng.choice([2000, 4000])}
    shares = rng.choice([1, 2, 4])
    if kind == "t4":
        return t4(name, shares=shares, count=rng.choice([1, 2]), labels=pool, **common)
    if kind == "orin":
        labels = {"littoral.dev/profile": "emulated-orin", "nvidia.com/gpu.replicas": str(shares), **pool}
        return node(name, labels=labels, resources={"nvidia.com/gpu": shares}, **common)
    return node(name, labels=pool, **common)


def demand(rng, name, mode=None):
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


def fleet(rng, *, mode=None, reserved=True):
    nodes = [machine(rng, f"n{i}") for i in range(rng.randint(1, 4))]
    models = [demand(rng, f"m{i}", mode) for i in range(rng.randint(1, 5))]
    slices = [
        reservation(f"r{i}", rng.choice(MEMORY), accelerators=rng.choice([(), ("cpu",)]))
        for i in range(rng.choice([0, 0, 1, 2]) if reserved else 0)
    ]
    return world(nodes, models, slices)


def reconnected(rng, snapshot):
    name = rng.choice(sorted(snapshot.nodes))
    ready = rng.choice(["True", "True", "False", "Unknown", "Unknown"])
    return replace(snapshot, nodes={**snapshot.nodes, name: replace(snapshot.nodes[name], ready=ready)})


def resized(rng, snapshot):
    """Memory, units and shares of a node change: another plugin configuration, a card that died, one that was added."""
    name = rng.choice(sorted(snapshot.nodes))
    old = snapshot.nodes[name]
    shares = rng.choice([1, 2, 4])
    count = rng.choice([1, 2])
    labels = {**old.labels, "nvidia.com/gpu.replicas": str(shares), "nvidia.com/gpu.count": str(count)}
    units = {"nvidia.com/gpu": rng.choice([0, 1, shares * count, shares * count, shares * count])}
    changed = replace(old, labels=labels, resources=units, memory=rng.choice([1000, 3000, 9000]))
    return replace(snapshot, nodes={**snapshot.nodes, name: changed})


def respecified(rng, snapshot):
    """A user scales a model, changes its figures, or sends it elsewhere."""
    if not snapshot.models:
        return snapshot
    key = rng.choice(sorted(snapshot.models))
    wanted = demand(rng, key[1])
    old = snapshot.models[key]
    fields = rng.choice([("replicas",), ("slice",), ("placement",), ("replicas", "placement"), ("variants",)])
    spec = old.spec.model_copy(update={name: getattr(wanted.spec, name) for name in fields})
    return replace(snapshot, models={**snapshot.models, key: old.model_copy(update={"spec": spec})})


def deleted(rng, snapshot):
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


def unnoted(rng, snapshot):
    """Nobody noted that a server was ready; its pod may be gone for the moment."""
    slices = {key: unstarted(each) for key, each in snapshot.slices.items()}
    return replace(snapshot, slices=slices, pods=rng.choice([snapshot.pods, {}]))


def joined(rng, snapshot):
    name = f"m{rng.randint(5, 8)}"
    return replace(snapshot, models={**snapshot.models, ("ns", name): demand(rng, name)})


EVENTS = (reconnected, resized, resized, respecified, respecified, deleted, unnoted, joined, joined)


def unstarted(slice_):
    allocation = slice_.status.allocation
    if allocation is None:
        return slice_
    unknown = allocation.model_copy(update={"started_at": None})
    return slice_.model_copy(update={"status": GPUSliceStatus(allocation=unknown)})


def history(rng):
    """A fleet that has lived: planned, carried out, disturbed, several times over."""
    snapshot = fleet(rng)
    for minute in range(rng.randint(0, 4)):
        snapshot = apply(snapshot, plan(snapshot), minute=minute, started=rng.random() < 0.7)
        for event in rng.sample(EVENTS, rng.randint(1, 4)):
            snapshot = event(rng, snapshot)
    return snapshot


# Worlds come from a seed, not from single draws: hypothesis draws small and even ones, in which nothing contends.
SEEDS = st.integers(0, 2**64)


def histories():
    return SEEDS.map(lambda seed: history(random.Random(seed)))  # noqa: S311 (worlds, not secrets)


def fleets(**kinds):
    return SEEDS.map(lambda seed: fleet(random.Random(seed), **kinds))  # noqa: S311 (worlds, not secrets)


def presence(snapshot, name):
    facts = snapshot.nodes.get(name)
    return facts is not None and facts.connected


def grants(snapshot, found):
    """Each (slice, allocation) that exists or shall exist: the worst of what is, what runs, and what the plan adds."""
    for key, slice_ in snapshot.slices.items():
        if slice_.status.allocation is not None:
            yield key, slice_.status.allocation
    for each in (*snapshot.pods.values(), *snapshot.deployments.values()):
        slice_ = snapshot.slices.get((each.namespace, each.slice))
        if hasattr(each, "phase") or slice_ is None or slice_.status.allocation is None:
            yield (each.namespace, each.slice), each.grant
    for key, allocation in additions(snapshot, found):
        yield key, allocation


def additions(snapshot, found):
    """What the plan grants beyond what is there."""
    for (namespace, _), its in found.models.items():
        for assignment in its.assignments:
            if assignment.target is not None and assignment.target != assignment.current:
                yield (namespace, assignment.slice), assignment.target
    for key, its in found.slices.items():
        if its.allocation is not None and its.allocation != snapshot.slices[key].status.allocation:
            yield key, its.allocation


def demanded(snapshot, found, name):
    """Of a node: memory of the node, and memory, percent, units of its accelerator, as an accountant would sum them."""
    device = found.nodes[name].discovery.devices[0]
    held = {}
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
def test_nothing_is_added_to_a_device_beyond_what_it_has(snapshot):
    found = plan(snapshot)
    grown = {(granted.node, granted.profile == "cpu") for _, granted in additions(snapshot, found)}
    for name, on_cpu in grown:
        node_memory, cpu_percent, memory, percent, units = demanded(snapshot, found, name)
        *accelerators, cpu = found.nodes[name].discovery.devices
        if on_cpu or accelerators[0].profile.unified:
            assert node_memory <= cpu.memory
        if on_cpu:
            assert cpu_percent <= 100
        else:
            (device,) = accelerators
            assert units <= device.units
            assert memory <= device.total_memory
            assert percent <= 100 * device.count


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_any_device_that_the_kubelet_may_choose_has_room(snapshot):
    found = plan(snapshot)
    for _, granted in additions(snapshot, found):
        device = next(each for each in found.nodes[granted.node].discovery.devices if each.id == granted.device)
        if device.count > 1 and not device.profile.unified:
            # The adversary fills one device with the largest grants there are, one for each of its units.
            on_it = [g for _, g in grants(snapshot, found) if g.node == granted.node and g.profile == granted.profile]
            worst = sorted((to_mib(g.memory) for g in on_it), reverse=True)[: device.shares]
            assert sum(worst) <= device.memory


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_no_grant_is_below_its_request(snapshot):
    found = plan(snapshot)
    given_ = [
        (a.request, a.target) for its in found.models.values() for a in its.assignments if a.target and not a.blocked
    ]
    given_ += [
        (snapshot.slices[key].spec, its.allocation) for key, its in found.slices.items() if its.reason == "Bound"
    ]
    for asked, granted in given_:
        assert to_mib(granted.memory) >= to_mib(asked.memory)
        assert granted.compute >= asked.compute
        assert ISOLATION_ORDER.index(granted.isolation) >= ISOLATION_ORDER.index(asked.isolation)


@given(histories(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=EXAMPLES)
def test_the_order_of_the_input_does_not_matter(snapshot, order: random.Random):
    def shuffled(mapping):
        items = list(mapping.items())
        order.shuffle(items)
        return dict(items)

    names = ("nodes", "edge_nodes", "slices", "models", "pods", "deployments")
    assert plan(replace(snapshot, **{name: shuffled(getattr(snapshot, name)) for name in names})) == plan(snapshot)


def placed(found):
    return Counter((key, a.slice, a.node) for key, its in found.models.items() for a in its.assignments)


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_a_plan_that_is_carried_out_gives_itself_again(snapshot):
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
def test_on_an_offline_node_nothing_begins_and_nothing_ends(snapshot):
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
            witnesses = {
                (each.namespace, each.slice) for each in (*snapshot.pods.values(), *snapshot.deployments.values())
            }
            may_run = allocation is not None and ((namespace, name) in witnesses or allocation.started_at is not None)
            assert not may_run or presence(snapshot, allocation.node)


@given(histories())
@settings(deadline=None, max_examples=EXAMPLES)
def test_each_replica_is_somewhere_or_waits(snapshot):
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
def test_a_ledger_whose_statuses_were_lost_is_found_again(snapshot):
    snapshot = apply(snapshot, plan(snapshot))
    lost = {key: each.model_copy(update={"status": GPUSliceStatus()}) for key, each in snapshot.slices.items()}
    before, after = plan(snapshot), plan(replace(snapshot, slices=lost))
    assert after.nodes == before.nodes
    assert placed(after) == placed(before)


@given(fleets(mode="Replicas"), st.integers(0, 6), st.data())
@settings(deadline=None, max_examples=EXAMPLES)
def test_scaling_touches_no_more_than_it_must(snapshot, wanted, data):
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
def test_a_pod_that_ends_late_keeps_its_memory(snapshot):
    """A Terminating pod of a slice that is gone is charged: what it holds is given to nobody else."""
    name = min(snapshot.nodes)
    found = plan(snapshot)
    cpu = found.nodes[name].devices[-1]
    ghost = {"node": name, "device": "cpu", "profile": "cpu", "provider": "cpu", "memory": "1Gi"}
    granted = reservation("ghost", "1Gi").status.model_validate({"allocation": ghost}).allocation
    haunted = replace(
        snapshot,
        pods={**snapshot.pods, ("ns", "ghost"): pod(("ns", "ghost"), granted, deleting=True, created=moment(0))},
    )
    after = plan(haunted).nodes[name].devices[-1]
    assert after.memory >= min(cpu.memory, 0) + 1024
