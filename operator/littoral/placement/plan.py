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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from littoral.api.group import LABEL_NODE
from littoral.api.inferencemodel import InferenceModel
from littoral.placement import filters, priorities, reasons, references, reservations
from littoral.placement.groups import Group, compose, group_named, group_of, shares, unit_key
from littoral.placement.market import Market, Place
from littoral.placement.references import Reference
from littoral.placement.replicas import Replica, Triage, free_name
from littoral.placement.results import Assignment, DeviceLoad, ModelPlan, Move, NodePlan, Plan, SlicePlan
from littoral.placement.seeker import Seeker
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.staying import disband, joined, quit_reservation, stay, triage
from littoral.placement.wants import demand
from littoral.placement.world import World
from littoral.slicing.provider import Refusal

__all__ = ["Assignment", "DeviceLoad", "ModelPlan", "Move", "NodePlan", "Plan", "SlicePlan", "plan", "why_not"]

_NO_GROUPS: Final[Mapping[Key, Group]] = {}


def plan(snapshot: Snapshot) -> Plan:
    """The plan for this snapshot."""
    return _plan(World(snapshot))


def why_not(snapshot: Snapshot, model: Key) -> tuple[tuple[str, Refusal], ...]:
    """Node by node, why it would not take one more replica of this model; nodes that would are left out.

    Raises KeyError where there is no such model.
    """
    wanted = snapshot.models[model]
    world = World(snapshot)
    _plan(world)
    market = Market(world.nodes, world.ledger, world.chooser)
    shared, groups = group_of(wanted), compose(_due(snapshot))
    if shared in groups and model not in groups[shared].mismatched:
        wanted = groups[shared].unit
    return tuple(market.refusals(ask(world, wanted, groups)).items())


def ask(world: World, model: InferenceModel, groups: Mapping[Key, Group] = _NO_GROUPS) -> filters.Ask:
    """What a replica of the model, or of the unit of one of these groups, asks."""
    shared = group_named(model.metadata.name)
    wanted = demand(model) if shared is None else groups[model.metadata.namespace, shared].demand
    asked = world.chooser.same(wanted)
    return filters.ask(model, asked, world.snapshot.namespace(model.metadata.namespace))


def _plan(world: World) -> Plan:
    market = Market(world.nodes, world.ledger, world.chooser)
    due = _due(world.snapshot)
    groups = compose(due)
    drafts = [_Draft(each, ask(world, each, groups)) for each in _tenants(world.snapshot, due, groups)]
    for draft in drafts:
        draft.triage = triage(world, draft.model, draft.asked)
    # Figures that change in place come before anything new: a replica must not lose its own node to a newcomer.
    for draft in drafts:
        _keep(world, draft)
    slices = reservations.plans(world, market)
    _refer(world, drafts, slices)
    plans = {draft.model.metadata.key: _complete(world, market, draft) for draft in drafts}
    shared = {key: plans.pop(unit_key(key)) for key in groups}
    for key, group in groups.items():
        plans |= _shares(world, group, shared[key])
    shared |= {key: _disbanded(world, key) for key in world.disbanded(groups)}
    return Plan(plans, slices, {name: _node(world, name) for name in world.nodes}, _orphans(world), shared)


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


def _due(snapshot: Snapshot) -> list[InferenceModel]:
    """The models that get a plan. One that is being deleted keeps what it has until that is gone by itself."""
    models = (model for key, model in snapshot.models.items() if key not in snapshot.refused)
    return sorted(
        (model for model in models if model.metadata.deletion_timestamp is None),
        key=lambda model: priorities.rank(model, snapshot.priorities),
    )


@dataclass(slots=True)
class _Draft:
    """A model's plan while it is made."""

    model: InferenceModel
    asked: filters.Ask
    triage: Triage = field(default_factory=Triage)
    assignments: dict[str, Assignment] = field(default_factory=dict)
    """By slice."""
    serving: set[str] = field(default_factory=set)
    """Slices among them whose server answers: what they serve, nothing that leaves need serve on."""
    outgrown: list[tuple[Replica, str]] = field(default_factory=list)
    """Those that stay where what is asked of them now cannot be had, and why; the least dispensable first."""
    barred: Refusal | None = None
    """Why nothing new is placed for it, wherever there is room."""


def _keep(world: World, draft: _Draft) -> None:
    """The replicas that stay, with their figures."""
    for replica in draft.triage.kept:
        name = replica.key[1]
        kept = stay(world, replica, draft.model.metadata.key, draft.asked)
        draft.assignments[name] = kept.assignment
        if world.workloads.ready(replica.key):
            draft.serving.add(name)
        if kept.outgrown:
            draft.outgrown.append((replica, kept.outgrown))


def _refer(world: World, drafts: Iterable[_Draft], slices: dict[Key, SlicePlan]) -> None:
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
                quit_reservation(world, slice_, draft.model, draft.triage, found.message)
            continue
        draft.assignments[key[1]] = found
        if world.workloads.ready(key, model[1]):
            draft.serving.add(key[1])


def _complete(world: World, market: Market, draft: _Draft) -> ModelPlan:
    """Place what is missing, and put the model's plan into words."""
    spec = draft.model.spec
    draft.barred = draft.barred or priorities.unknown(draft.model, world.snapshot.priorities)
    if spec.placement.mode == "PerNode":
        misses = _place_per_node(world, market, draft)
        wanted, waiting = len(draft.assignments) + len(misses), len(misses)
    else:
        wanted = spec.replicas
        waiting = _place_replicas(world, market, draft)
        misses = market.refusals(draft.asked) if waiting and draft.barred is None else {}
        if not waiting and draft.barred is None:
            _replace(world, market, draft)
    for name in draft.triage.unbound:
        if name not in draft.assignments:
            draft.triage.released[name] = Move(name, "", "it never got a place and is not needed")
    namespace = draft.model.metadata.namespace
    serving = len(draft.serving) + sum(world.workloads.ready((namespace, name)) for name in draft.triage.held)
    leaving = draft.triage.dismiss(max(0, wanted - serving))
    reason, message = _placed(draft, wanted, waiting, misses, len(leaving))
    return ModelPlan(
        wanted=wanted,
        assignments=tuple(sorted(draft.assignments.values(), key=lambda each: (each.node, each.slice))),
        releases=tuple(sorted(draft.triage.released)),
        held=tuple(sorted(draft.triage.held)),
        waiting=waiting,
        reason=reason,
        message=message,
        leaving=leaving,
        vacated=tuple(sorted(draft.triage.vacated)),
        moves=draft.triage.moves,
    )


def _place_replicas(world: World, market: Market, draft: _Draft) -> int:
    """Place the missing replicas; how many still wait. What is held counts as placed: its node may serve it yet."""
    missing = max(0, draft.model.spec.replicas - len(draft.assignments) - len(draft.triage.held))
    if not missing or draft.barred is not None:
        return missing
    seeker = _seeker(world, draft, draft.assignments.values())
    while missing:
        place = market.place(draft.asked, seeker)
        if place is None:
            break
        _assign(draft, place)
        seeker.settled(world.node(place.allocation.node))
        missing -= 1
    return missing


def _replace(world: World, market: Market, draft: _Draft) -> None:
    """Bind elsewhere what cannot have here what is asked of it now; where there is no place it stays as it is."""
    for replica, cause in reversed(draft.outgrown):
        name = replica.key[1]
        others = (each for each in draft.assignments.values() if each.slice != name)
        place = market.place(draft.asked, _seeker(world, draft, others))
        if place is None:
            return
        del draft.assignments[name]
        draft.serving.discard(name)
        draft.triage.replace(replica, world.workloads, cause)
        _assign(draft, place)


def _place_per_node(world: World, market: Market, draft: _Draft) -> dict[str, Refusal]:
    """Place one on every node that fits and has none; why the others that would fit have no room."""
    there = {assignment.node for assignment in draft.assignments.values()}
    fitting, refusals = market.candidates(draft.asked)
    misses = {name: each for name, each in refusals.items() if each.reason == "Excluded" and name not in there}
    seeker = _seeker(world, draft, ())
    for node in fitting:
        if node in there:
            continue
        place = draft.barred or market.place_on(draft.asked, seeker, node)
        if isinstance(place, Refusal):
            misses[node] = place
        else:
            _assign(draft, place)
    return misses


def _seeker(world: World, draft: _Draft, others: Iterable[Assignment]) -> Seeker:
    """The model as it looks for a place, beside these of its replicas."""
    made_for = {slice_.metadata.labels.get(LABEL_NODE, "") for slice_ in draft.triage.unbound.values()}
    meta = draft.model.metadata
    seeker = Seeker(meta.key, lambda node: _name_on(world, draft, node), draft.model.spec.placement.spread, made_for)
    for each in others:
        seeker.settled(world.node(each.node))
    return seeker


def _name_on(world: World, draft: _Draft, node: str) -> Key:
    """The key of the model's next slice on this node."""
    namespace, model = draft.model.metadata.key
    slices, unbound = world.snapshot.slices, draft.triage.unbound

    def taken(name: str) -> bool:
        return name in draft.assignments or ((namespace, name) in slices and name not in unbound)

    return namespace, free_name(model, node, taken)


def _assign(draft: _Draft, place: Place) -> None:
    choice, allocation, name = place.choice, place.allocation, place.key[1]
    draft.assignments[name] = Assignment(
        slice=name,
        node=allocation.node,
        device=allocation.device,
        profile=allocation.profile,
        stack=place.stack,
        variant=choice.variant,
        why=choice.why,
        asked=choice.note,
        request=choice.spec,
        current=None,
        target=allocation,
        members=choice.members,
        left_out=choice.left_out,
    )


def _placed(draft: _Draft, wanted: int, waiting: int, misses: dict[str, Refusal], leaving: int) -> tuple[str, str]:
    """(reason, message) for the condition Placed."""
    also = f"; {len(draft.triage.held)} to go when their nodes are back" if draft.triage.held else ""
    also += f"; {leaving} to go when others answer" if leaving else ""
    if waiting:
        reason, why = reasons.summary(misses) if draft.barred is None else (draft.barred.reason, draft.barred.message)
        return reason, f"{waiting} of {wanted} waiting: {why}{also}"
    if draft.model.spec.placement.mode == "PerNode" and wanted == 0:
        return "NoNodeFits", f"no node fits yet{also}"
    return "Placed", f"{wanted} of {wanted} placed{also}"


def _orphans(world: World) -> tuple[Key, ...]:
    """What models that are no more left on slices which outlive them, where it can be taken away."""
    found = []
    for slice_ in world.reservations:
        key, allocation = slice_.metadata.key, world.allocation(slice_)
        deployment = world.workloads.deployment(key)
        if deployment is None or deployment.deleting or allocation is None:
            continue
        name = (key[0], deployment.model)
        model = world.snapshot.models.get(name)
        gone = name not in world.snapshot.refused and (model is None or model.metadata.deletion_timestamp is not None)
        if gone and world.node(allocation.node).presence == "Connected":
            found.append(key)
    return tuple(sorted(found))


def _node(world: World, name: str) -> NodePlan:
    """The node's devices with what is charged to them once the plan is carried out."""
    view = world.nodes[name]
    loads: Iterable[DeviceLoad] = (
        DeviceLoad(slot.device, slot.account.charged, slot.compute, slot.units, len(slot.charges))
        for slot in view.slots
    )
    return NodePlan(view.presence == "Connected", view.discovery, tuple(loads))
