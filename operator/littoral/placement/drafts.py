"""A model's plan while it is made: what stays, what is missing and where it goes, and all of it in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from littoral.api.group import LABEL_NODE
from littoral.api.inferencemodel import InferenceModel
from littoral.placement import priorities, reasons
from littoral.placement.filters import Ask
from littoral.placement.market import Market, Place
from littoral.placement.replicas import Replica, Triage, free_name
from littoral.placement.results import Assignment, ModelPlan, Move
from littoral.placement.seeker import Seeker
from littoral.placement.snapshot import Key
from littoral.placement.staying import stay
from littoral.placement.world import World
from littoral.slicing.provider import Refusal


@dataclass(slots=True)
class Draft:
    """A model's plan while it is made."""

    model: InferenceModel
    asked: Ask
    triage: Triage = field(default_factory=Triage)
    assignments: dict[str, Assignment] = field(default_factory=dict)
    """By slice."""
    serving: set[str] = field(default_factory=set)
    """Slices among them whose server answers: what they serve, nothing that leaves need serve on."""
    outgrown: list[tuple[Replica, str]] = field(default_factory=list)
    """Those that stay where what is asked of them now cannot be had, and why; the least dispensable first."""
    barred: Refusal | None = None
    """Why nothing new is placed for it, wherever there is room."""
    looked: bool = False
    """Whether the load of the fleet was looked at for it: then its plan may be another when that is another."""

    @property
    def missing(self) -> int:
        """Replicas without a place; what is held counts as placed: its node may serve it yet."""
        return max(0, self.model.spec.replicas - len(self.assignments) - len(self.triage.held))


def turn(market: Market, draft: Draft, values: Mapping[str, int]) -> tuple[int, datetime, int, Key]:
    """Who comes first where places are sought: by rank, but that models of one age were applied together.

    Of those they come first that ask most for each device there is that could take them: what is small, or at home on
    many, finds room in what is left.
    """
    value, since, key = priorities.rank(draft.model, values)
    # One of each node may lack any, which only a look at every node tells; and each of its replicas has but one place.
    seeks = draft.missing or draft.model.spec.placement.mode == "PerNode"
    return value, since, -market.scarcity(draft.asked) if seeks else 0, key


def keep(world: World, draft: Draft) -> None:
    """The replicas that stay, with their figures."""
    for replica in draft.triage.kept:
        name = replica.key[1]
        kept = stay(world, replica, draft.asked)
        draft.assignments[name] = kept.assignment
        if world.workloads.ready(replica.key):
            draft.serving.add(name)
        if kept.outgrown:
            draft.outgrown.append((replica, kept.outgrown))


def complete(world: World, market: Market, draft: Draft) -> ModelPlan:
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


def _place_replicas(world: World, market: Market, draft: Draft) -> int:
    """Place the missing replicas; how many still wait."""
    missing = draft.missing
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


def _replace(world: World, market: Market, draft: Draft) -> None:
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


def _place_per_node(world: World, market: Market, draft: Draft) -> dict[str, Refusal]:
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


def _seeker(world: World, draft: Draft, others: Iterable[Assignment]) -> Seeker:
    """The model as it looks for a place, beside these of its replicas."""
    made_for = {slice_.metadata.labels.get(LABEL_NODE, "") for slice_ in draft.triage.unbound.values()}
    seeker = Seeker(lambda node: _name_on(world, draft, node), draft.model.spec.placement.spread, made_for)
    for each in others:
        seeker.settled(world.node(each.node))
    return seeker


def _name_on(world: World, draft: Draft, node: str) -> Key:
    """The key of the model's next slice on this node."""
    namespace, model = draft.model.metadata.key
    slices, unbound = world.snapshot.slices, draft.triage.unbound

    def taken(name: str) -> bool:
        return name in draft.assignments or ((namespace, name) in slices and name not in unbound)

    return namespace, free_name(model, node, taken)


def _assign(draft: Draft, place: Place) -> None:
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


def _placed(draft: Draft, wanted: int, waiting: int, misses: dict[str, Refusal], leaving: int) -> tuple[str, str]:
    """(reason, message) for the condition Placed."""
    also = f"; {len(draft.triage.held)} to go when their nodes are back" if draft.triage.held else ""
    also += f"; {leaving} to go when others answer" if leaving else ""
    if waiting:
        reason, why = reasons.summary(misses) if draft.barred is None else (draft.barred.reason, draft.barred.message)
        return reason, f"{waiting} of {wanted} waiting: {why}{also}"
    if draft.model.spec.placement.mode == "PerNode" and wanted == 0:
        return "NoNodeFits", f"no node fits yet{also}"
    return "Placed", f"{wanted} of {wanted} placed{also}"
