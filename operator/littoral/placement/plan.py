"""plan(): who goes where, on which fraction of which device, and why the rest waits.

A pure function of a snapshot: the same snapshot gives the same plan, in whatever order its maps are, and a plan that
was carried out gives itself again. Its passes, in this order, each over the models by priority and age:

1. the ledger: charge what is bound, adopted from workloads whose slice lost its status, or still running;
2. over-commitment (two operators for a moment, a restored backup): the youngest that never started goes;
3. each model's replicas: those that still fit stay where they are, the others go, unless their node is offline, where
   all is held; what is too many goes; new figures are granted in place, beside the old ones until they are cut over;
4. reservations that users wrote, and the models that name one;
5. what is missing, older models first: it goes to the best place. Then what stays but cannot have there what is asked
   of it now: it is bound elsewhere as well, where that can be.

What served and may not stay is leaving: it serves on until as many others answer as are wanted. What is released
stays charged: its memory is free when it has ended, not when somebody decides that it should.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from littoral.api.inferencemodel import InferenceModel
from littoral.placement import filters, priorities, references, reservations
from littoral.placement.drafts import Draft, complete, keep, turn
from littoral.placement.groups import Group, compose, group_named, group_of, shares, unit_key
from littoral.placement.market import Market
from littoral.placement.references import Reference
from littoral.placement.replicas import Triage
from littoral.placement.results import Assignment, DeviceLoad, ModelPlan, Move, NodePlan, Plan, SlicePlan
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.staying import disband, joined, quit_reservation, triage
from littoral.placement.wants import demand
from littoral.placement.world import World
from littoral.slicing.provider import Refusal

__all__ = ["Assignment", "DeviceLoad", "ModelPlan", "Move", "NodePlan", "Plan", "SlicePlan", "plan", "why_not"]

_NO_GROUPS: Final[Mapping[Key, Group]] = {}


def plan(snapshot: Snapshot) -> Plan:
    """The plan for this snapshot."""
    world = World(snapshot)
    return draw_up(world, Market(world.nodes, world.ledger, world.chooser), snapshot.models).plan


def why_not(snapshot: Snapshot, model: Key) -> tuple[tuple[str, Refusal], ...]:
    """Node by node, why it would not take one more replica of this model; nodes that would are left out.

    Raises KeyError where there is no such model.
    """
    wanted = snapshot.models[model]
    world = World(snapshot)
    market = Market(world.nodes, world.ledger, world.chooser)
    draw_up(world, market, snapshot.models)
    shared, groups = group_of(wanted), compose(_due(snapshot, snapshot.models))
    if shared in groups and model not in groups[shared].mismatched:
        wanted = groups[shared].unit
    return tuple(market.refusals(ask(world, wanted, groups)).items())


def ask(world: World, model: InferenceModel, groups: Mapping[Key, Group] = _NO_GROUPS) -> filters.Ask:
    """What a replica of the model, or of the unit of one of these groups, asks."""
    shared = group_named(model.metadata.name)
    wanted = demand(model) if shared is None else groups[model.metadata.namespace, shared].demand
    asked = world.chooser.same(wanted)
    return filters.ask(model, asked, world.snapshot.namespace(model.metadata.namespace))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plan for some of the models, and for which of them the load of the fleet was looked at."""

    plan: Plan
    unsettled: frozenset[Key]


def draw_up(world: World, market: Market, models: Iterable[Key], nodes: Iterable[str] | None = None) -> Drawn:
    """The plan for these models, and for these nodes and those that it charges; None: for all."""
    before = len(world.ledger.journal)
    due = _due(world.snapshot, models)
    groups = compose(due)
    drafts = [Draft(each, ask(world, each, groups)) for each in _tenants(world.snapshot, due, groups)]
    for draft in drafts:
        with _watch(world, draft):
            draft.triage = triage(world, draft.model, draft.asked)
    # Figures that change in place come before anything new: a replica must not lose its own node to a newcomer.
    for draft in drafts:
        with _watch(world, draft):
            keep(world, draft)
    slices = reservations.plans(world, market)
    _refer(world, drafts, slices)
    plans = {}
    for draft in sorted(drafts, key=lambda each: turn(market, each, world.snapshot.priorities)):
        with _watch(world, draft):
            plans[draft.model.metadata.key] = complete(world, market, draft)
    shared = {key: plans.pop(unit_key(key)) for key in groups}
    for key, group in groups.items():
        plans |= _shares(world, group, shared[key])
    shared |= {key: _disbanded(world, key) for key in world.disbanded(groups)}
    touched = world.nodes if nodes is None else {*nodes, *world.ledger.journal[before:]}
    its = {name: _node(world, name) for name in touched}
    unsettled = frozenset(draft.model.metadata.key for draft in drafts if draft.looked)
    return Drawn(Plan(plans, slices, its, shared), unsettled)


@contextmanager
def _watch(world: World, draft: Draft) -> Iterator[None]:
    """Note whether what is done for the draft looks at the load of the fleet, or adds to it."""
    before = world.ledger.looks.count
    yield
    draft.looked |= world.ledger.looks.count != before


def _tenants(snapshot: Snapshot, due: Iterable[InferenceModel], groups: Mapping[Key, Group]) -> list[InferenceModel]:
    """Who has servers: the models by themselves, and in place of those that share one their groups' units."""
    alone = [model for model in due if group_of(model) is None]
    return sorted(
        [*alone, *(group.unit for group in groups.values())],
        key=lambda each: priorities.rank(each, snapshot.priorities),
    )


def _shares(world: World, group: Group, its: ModelPlan) -> dict[Key, ModelPlan]:
    """The plan of each model of a group; what it had before it joined goes."""
    found = {}
    for key, mine in shares(group, its).items():
        model = world.snapshot.models[key]
        before = Triage() if key in group.mismatched else joined(world, model)  # what it has serves on until it can
        before.dismiss(0)
        found[key] = replace(
            mine,
            releases=tuple(sorted(before.released)),
            held=tuple(sorted(before.held)),
            vacated=tuple(sorted(before.vacated)),
            moves=(*mine.moves, *before.moves),
        )
    return found


def _disbanded(world: World, key: Key) -> ModelPlan:
    """The plan of a group that no model names any more: what it has goes."""
    before = disband(world, key)
    return ModelPlan(
        wanted=0,
        assignments=(),
        releases=tuple(sorted(before.released)),
        held=tuple(sorted(before.held)),
        waiting=0,
        reason="Disbanded",
        message="no model names the group",
        moves=before.moves,
    )


def _due(snapshot: Snapshot, keys: Iterable[Key]) -> list[InferenceModel]:
    """Those of these that get a plan. A model that is being deleted keeps what it has until that is gone by itself."""
    models = (snapshot.models[key] for key in keys if key in snapshot.models and key not in snapshot.refused)
    return sorted(
        (model for model in models if model.metadata.deletion_timestamp is None),
        key=lambda model: priorities.rank(model, snapshot.priorities),
    )


def _refer(world: World, drafts: Iterable[Draft], slices: dict[Key, SlicePlan]) -> None:
    """The models that name a slice: on it, or waiting for it."""
    naming = {draft.model.metadata.key: draft for draft in drafts if draft.model.spec.slice_ref is not None}
    due = (Reference(draft.model, draft.asked) for draft in naming.values() if draft.model.spec.replicas)
    for model, found in references.assign(world, due, slices).items():
        draft = naming[model]
        key = Reference(draft.model, draft.asked).key
        if isinstance(found, Refusal):
            draft.barred = found
            slice_, deployment = world.snapshot.slices.get(key), world.workloads.deployment(key)
            if slice_ is not None and deployment is not None and deployment.model == model[1]:
                quit_reservation(world, deployment, draft.model, draft.triage, found.message)
            continue
        draft.assignments[key[1]] = found
        if world.workloads.ready(key, model[1]):
            draft.serving.add(key[1])


def _node(world: World, name: str) -> NodePlan:
    """The node's devices with what is charged to them once the plan is carried out."""
    view = world.nodes[name]
    loads: Iterable[DeviceLoad] = (
        DeviceLoad(slot.device, slot.account.charged, slot.compute, slot.units, len(slot.charges))
        for slot in view.slots
    )
    return NodePlan(view.presence == "Connected", view.discovery, tuple(loads))
