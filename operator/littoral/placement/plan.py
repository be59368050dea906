"""plan(): who goes where, on which fraction of which device, and why the rest waits.

A pure function of a snapshot: the same snapshot gives the same plan, in whatever order its maps are, and a plan that
was carried out gives itself again. Its passes, in this order:

1. the ledger: charge what is bound, adopted from workloads whose slice lost its status, or still running;
2. over-commitment (two operators for a moment, a restored backup): the youngest that never started goes;
3. each model's replicas: those that still fit stay where they are, the others go, unless their node is offline, where
   all is held; what is too many goes; new figures are granted in place, beside the old ones until they are cut over;
4. reservations that users wrote, then new replicas, older models first: what is left goes to the best place.

What is released stays charged: its memory is free when it has ended, not when somebody decides that it should.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from littoral.api.group import LABEL_NODE
from littoral.api.inferencemodel import InferenceModel
from littoral.placement import filters, reasons, reservations
from littoral.placement.market import Market, Place
from littoral.placement.replicas import Triage, free_name, seniority
from littoral.placement.results import Assignment, DeviceLoad, ModelPlan, NodePlan, Plan, SlicePlan
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.staying import stay, triage
from littoral.placement.variants import demand
from littoral.placement.world import World
from littoral.slicing.provider import Refusal

__all__ = ["Assignment", "DeviceLoad", "ModelPlan", "NodePlan", "Plan", "SlicePlan", "plan", "why_not"]


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
    return tuple(market.refusals(filters.ask(wanted, demand(wanted))).items())


def _plan(world: World) -> Plan:
    market = Market(world.nodes, world.ledger, world.chooser)
    drafts = [_Draft(model, filters.ask(model, world.chooser.same(demand(model)))) for model in _due(world.snapshot)]
    for draft in drafts:
        draft.triage = triage(world, draft.model, draft.asked)
    # Figures that change in place come before anything new: a replica must not lose its own node to a newcomer.
    for draft in drafts:
        draft.assignments = [stay(world, replica) for replica in draft.triage.kept]
    slices = reservations.plans(world, market)
    models = {draft.model.metadata.key: _complete(world, market, draft) for draft in drafts}
    return Plan(models, slices, {name: _node(world, name) for name in world.nodes})


def _due(snapshot: Snapshot) -> list[InferenceModel]:
    """The models that get a plan. One that is being deleted keeps what it has until that is gone by itself."""
    models = (model for key, model in snapshot.models.items() if key not in snapshot.refused)
    return sorted(
        (model for model in models if model.metadata.deletion_timestamp is None),
        key=lambda model: seniority(model.metadata),
    )


@dataclass(slots=True)
class _Draft:
    """A model's plan while it is made."""

    model: InferenceModel
    asked: filters.Ask
    triage: Triage = field(default_factory=Triage)
    assignments: list[Assignment] = field(default_factory=list)


def _complete(world: World, market: Market, draft: _Draft) -> ModelPlan:
    """Place what is missing, and put the model's plan into words."""
    spec = draft.model.spec
    if spec.placement.mode == "PerNode":
        misses = _place_per_node(world, market, draft)
        wanted, waiting = len(draft.assignments) + len(misses), len(misses)
    else:
        wanted = spec.replicas
        waiting = _place_replicas(world, market, draft)
        misses = market.refusals(draft.asked) if waiting else {}
    used = {assignment.slice for assignment in draft.assignments}
    unused = (name for name in draft.triage.unbound if name not in used)
    reason, message = _placed(draft, wanted, waiting, misses)
    return ModelPlan(
        wanted=wanted,
        assignments=tuple(sorted(draft.assignments, key=lambda each: (each.node, each.slice))),
        releases=tuple(sorted([*draft.triage.released, *unused])),
        held=tuple(sorted(draft.triage.held)),
        waiting=waiting,
        reason=reason,
        message=message,
    )


def _place_replicas(world: World, market: Market, draft: _Draft) -> int:
    """Place the missing replicas; how many still wait. What is held counts as placed: its node may serve it yet."""
    missing = draft.model.spec.replicas - len(draft.assignments) - len(draft.triage.held)
    there: dict[str, int] = {}
    for assignment in draft.assignments:
        there[assignment.node] = there.get(assignment.node, 0) + 1
    preferred = {slice_.metadata.labels.get(LABEL_NODE, "") for slice_ in draft.triage.unbound.values()}
    while missing > 0:
        place = market.place(draft.asked, lambda node: _name_on(world, draft, node), there, preferred)
        if place is None:
            break
        _assign(draft, place)
        there[place.allocation.node] = there.get(place.allocation.node, 0) + 1
        missing -= 1
    return max(0, missing)


def _place_per_node(world: World, market: Market, draft: _Draft) -> dict[str, Refusal]:
    """Place one on every node that fits and has none; why the others that would fit have no room."""
    there = {assignment.node for assignment in draft.assignments}
    misses = {}
    for node in market.candidates(draft.asked)[0]:
        if node in there:
            continue
        place = market.place_on(draft.asked, lambda node: _name_on(world, draft, node), node)
        if isinstance(place, Refusal):
            misses[node] = place
        else:
            _assign(draft, place)
    return misses


def _name_on(world: World, draft: _Draft, node: str) -> Key:
    """The key of the model's next slice on this node."""
    namespace, model = draft.model.metadata.key
    used = {assignment.slice for assignment in draft.assignments}
    slices, unbound = world.snapshot.slices, draft.triage.unbound

    def taken(name: str) -> bool:
        return name in used or ((namespace, name) in slices and name not in unbound)

    return namespace, free_name(model, node, taken)


def _assign(draft: _Draft, place: Place) -> None:
    choice, allocation = place.choice, place.allocation
    draft.assignments.append(
        Assignment(
            slice=place.key[1],
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
        )
    )


def _placed(draft: _Draft, wanted: int, waiting: int, misses: dict[str, Refusal]) -> tuple[str, str]:
    """(reason, message) for the condition Placed."""
    owed = f"; {len(draft.triage.held)} to go when their nodes are back" if draft.triage.held else ""
    if waiting:
        reason, why = reasons.summary(misses)
        return reason, f"{waiting} of {wanted} waiting: {why}{owed}"
    if draft.model.spec.placement.mode == "PerNode" and wanted == 0:
        return "NoNodeFits", f"no node fits yet{owed}"
    return "Placed", f"{wanted} of {wanted} placed{owed}"


def _node(world: World, name: str) -> NodePlan:
    """The node's devices with what is charged to them once the plan is carried out."""
    view = world.nodes[name]
    loads: Iterable[DeviceLoad] = (
        DeviceLoad(slot.device, slot.account.charged, slot.compute, slot.units, len(slot.charges))
        for slot in view.slots
    )
    return NodePlan(view.presence == "Connected", view.discovery, tuple(loads))
