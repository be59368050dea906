"""What holds for every plan, whatever the fleet, the models and their past."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.accounts import additions, capacity, grants, payer, taken
from tests.placement.fleet import fleet, history, rng, users
from tests.placement.world import apply, moment, pod, sure

from littoral.api.gpuslice import ISOLATION_ORDER, Allocation, GPUSliceStatus
from littoral.api.quantity import to_mib
from littoral.placement.plan import Plan, plan
from littoral.placement.snapshot import Key, Snapshot

ROUNDS = 8
SEEDS = st.integers(0, 2**64)
BLIND = {"whole", "counted", "time-slicing", "mps", "share-dev-count"}
always = settings(deadline=None, max_examples=150)


def presence(snapshot: Snapshot, name: str) -> bool:
    facts = snapshot.nodes.get(name)
    return facts is not None and facts.connected


@given(SEEDS)
@always
def test_nothing_is_added_to_a_node_beyond_what_it_has(seed: int) -> None:
    snapshot = history(rng(seed))
    found = plan(snapshot)
    as_it_is = replace(found, models={}, slices={})
    for name in {granted.node for _, granted in additions(snapshot, found)}:
        had, has, limits = (
            taken(snapshot, as_it_is, name),
            taken(snapshot, found, name),
            capacity(snapshot, found, name),
        )
        for axis, much in has.items():
            # What shrank below what is bound stays over-committed, on that axis; the plan must not add to it.
            limit = 1 if axis.startswith("port ") else limits.get(axis, much)
            assert much <= max(had[axis], limit), axis


@given(SEEDS)
@always
def test_any_device_that_the_kubelet_may_choose_has_room(seed: int) -> None:
    snapshot = history(rng(seed))
    found = plan(snapshot)
    for _, granted in additions(snapshot, found):
        devices = found.nodes[granted.node].discovery.devices
        device = next(each for each in devices if each.id == granted.device)
        if device.count > 1 and device.provider in BLIND and not device.profile.unified:
            # The adversary fills one device with the largest grants there are, one for each of its units.
            largest: dict[Key, int] = {}
            for key, each in grants(snapshot, found):
                if each.node == granted.node and payer(devices, each) is device:
                    largest[key] = max(largest.get(key, 0), to_mib(each.memory))
            worst = sorted(largest.values(), reverse=True)[: device.shares]
            assert sum(worst) <= device.memory


@given(SEEDS)
@always
def test_no_grant_is_below_its_request(seed: int) -> None:
    snapshot = history(rng(seed))
    found = plan(snapshot)
    pairs = [
        (a.request, a.target) for its in found.models.values() for a in its.assignments if not a.blocked and a.asked
    ]
    pairs += [(snapshot.slices[key].spec, its.allocation) for key, its in found.slices.items() if its.reason == "Bound"]
    for asked, allocation in pairs:
        granted = sure(allocation)
        assert to_mib(granted.memory) >= to_mib(asked.memory)
        assert granted.compute >= asked.compute
        assert ISOLATION_ORDER.index(granted.isolation) >= ISOLATION_ORDER.index(asked.isolation)


@given(SEEDS, st.randoms(use_true_random=False))
@always
def test_the_order_of_the_input_does_not_matter(seed: int, order: Any) -> None:
    snapshot = history(rng(seed))

    def shuffled(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
        items = list(mapping.items())
        order.shuffle(items)
        return dict(items)

    names = ("nodes", "edge_nodes", "slices", "models", "pods", "deployments", "priorities", "exclusions")
    mixed: dict[str, Any] = {name: shuffled(getattr(snapshot, name)) for name in names}
    assert plan(replace(snapshot, **mixed)) == plan(snapshot)


def placed(found: Plan) -> Counter[tuple[Key, str, str]]:
    return Counter((key, a.slice, a.node) for key, its in found.models.items() for a in its.assignments)


def stuck(found: Plan) -> Counter[tuple[Key, str, str]]:
    return Counter((key, a.slice, a.node) for key, its in found.models.items() for a in its.assignments if a.blocked)


def gone(found: Plan) -> set[Key]:
    return {(key[0], name) for key, its in found.models.items() for name in (*its.releases, *its.vacated)}


def leaving(found: Plan) -> set[Key]:
    return {(key[0], name) for key, its in found.models.items() for name in its.leaving}


@given(SEEDS)
@always
def test_a_plan_that_is_carried_out_gives_itself_again(seed: int) -> None:
    snapshot = history(rng(seed))
    found = plan(snapshot)
    for minute in range(10, 10 + ROUNDS):
        snapshot = apply(snapshot, found, minute=minute)
        again = plan(snapshot)
        # One that cannot have its new figures where it is goes where they can be had, as soon as there is room; and
        # where room came for one that was to leave, it stays in place of its successor.
        moved = placed(found) - placed(again) - stuck(found)
        assert all(found.models[key].leaving for key, *_ in moved), "a replica moved although nothing happened"
        assert gone(again) <= leaving(found), "what was to stay goes although nothing happened"
        found, before = again, found
    assert placed(found) == placed(before)
    assert not gone(found)
    assert all(a.target == a.current for its in found.models.values() for a in its.assignments if not a.blocked)
    assert found.slices == before.slices
    for key, its in found.models.items():
        served = [a for a in its.assignments if ((key[0], a.slice)) in snapshot.pods]
        assert not its.leaving or len(served) < its.wanted, "what was replaced has not left"


def serving(snapshot: Snapshot, key: Key) -> set[Key]:
    """The model's slices whose server answers, or did when its node was last seen."""
    there = snapshot.nodes.keys() | snapshot.edge_nodes.keys()
    return {
        (each.namespace, each.slice)
        for each in snapshot.pods.values()
        if (each.namespace, each.model) == key and each.server.ready and not each.deleting
        if (each.namespace, each.slice) in snapshot.slices and sure(each.grant).node in there
    }


@given(SEEDS)
@always
def test_a_plan_takes_no_server_away_that_is_wanted_before_another_answers(seed: int) -> None:
    snapshot = history(rng(seed))
    for minute in range(10, 10 + ROUNDS):
        found = plan(snapshot)
        for key, its in found.models.items():
            if snapshot.models[key].spec.placement.mode == "Replicas":
                before = serving(snapshot, key)
                after = before - gone(found)
                assert len(after) >= min(its.wanted, len(before))
        snapshot = apply(snapshot, found, minute=minute, started=minute % 2 == 0)


@given(SEEDS)
@always
def test_a_slice_that_a_user_wrote_is_never_released(seed: int) -> None:
    snapshot = history(rng(seed))
    for (namespace, _), its in plan(snapshot).models.items():
        assert not any(users(snapshot.slices[namespace, name]) for name in its.releases)
        assert all(users(snapshot.slices[namespace, name]) for name in its.vacated)


@given(SEEDS)
@always
def test_whatever_goes_has_its_cause(seed: int) -> None:
    for its in plan(history(rng(seed))).models.values():
        assert [move.slice for move in its.moves] == sorted([*its.releases, *its.held, *its.leaving, *its.vacated])
        assert all(move.cause for move in its.moves)


@given(SEEDS)
@always
def test_on_an_offline_node_nothing_begins_and_nothing_ends(seed: int) -> None:
    snapshot = history(rng(seed))
    found = plan(snapshot)
    for (namespace, _), its in found.models.items():
        for assignment in its.assignments:
            known = snapshot.slices.get((namespace, assignment.slice))
            if not presence(snapshot, assignment.node):
                assert known is not None
                assert known.status.allocation is not None
                assert assignment.target in (known.status.allocation, None)
        for name in (*its.releases, *its.vacated):
            allocation = snapshot.slices[namespace, name].status.allocation
            witnesses = {(each.namespace, each.slice) for each in snapshot.pods.values()}
            witnesses |= {(each.namespace, each.slice) for each in snapshot.deployments.values()}
            may_run = allocation is not None and ((namespace, name) in witnesses or allocation.started_at is not None)
            assert not may_run or presence(snapshot, sure(allocation).node)


@given(SEEDS)
@always
def test_each_replica_is_somewhere_or_waits(seed: int) -> None:
    snapshot = history(rng(seed))
    for key, its in plan(snapshot).models.items():
        names = [assignment.slice for assignment in its.assignments]
        assert len(set(names)) == len(names)
        assert not set(names) & {*its.releases, *its.held, *its.leaving, *its.vacated}
        mine = snapshot.models[key].spec
        if mine.placement.mode == "Replicas":
            assert its.wanted == mine.replicas
            assert len(names) <= its.wanted <= len(names) + its.waiting + len(its.held)
        else:
            assert len({assignment.node for assignment in its.assignments}) == len(names)


@given(SEEDS)
@always
def test_a_slice_serves_one_model(seed: int) -> None:
    found = plan(history(rng(seed)))
    used = Counter((key[0], a.slice) for key, its in found.models.items() for a in its.assignments)
    assert set(used.values()) <= {1}


@given(SEEDS)
@always
def test_a_ledger_whose_statuses_were_lost_is_found_again(seed: int) -> None:
    snapshot = fleet(rng(seed), reserved=False)
    snapshot = apply(snapshot, plan(snapshot))
    lost = {key: each.model_copy(update={"status": GPUSliceStatus()}) for key, each in snapshot.slices.items()}
    before, after = plan(snapshot), plan(replace(snapshot, slices=lost))
    assert after.nodes == before.nodes
    assert placed(after) == placed(before)


@given(SEEDS, st.integers(0, 6), st.data())
@always
def test_scaling_touches_no_more_than_it_must(seed: int, wanted: int, data: st.DataObject) -> None:
    snapshot = fleet(rng(seed), mode="Replicas", reserved=False)
    for minute in range(2):
        snapshot = apply(snapshot, plan(snapshot), minute=minute)
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


@given(SEEDS)
@always
def test_a_pod_that_ends_late_keeps_its_memory(seed: int) -> None:
    """A Terminating pod of a slice that is gone is charged: what it holds is given to nobody else."""
    snapshot = history(rng(seed))
    name = min(snapshot.nodes)
    ghost = {"node": name, "device": "cpu", "profile": "cpu", "provider": "cpu", "memory": "1Gi"}
    granted = Allocation.model_validate(ghost)
    late = pod(("ns", "ghost"), granted, deleting=True, created=moment(0))
    found = plan(replace(snapshot, pods={**snapshot.pods, ("ns", "ghost"): late}))
    of_others = sum(
        to_mib(each.memory)
        for key, each in dict(additions(snapshot, found)).items()
        if each.node == name and each.profile == "cpu"
    )
    assert found.nodes[name].devices[-1].memory >= 1024 + of_others
