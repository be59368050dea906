"""What becomes of the replicas that a model has: which stay, and with which figures."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from littoral.accelerators.profile import Platform
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.group import ANNOTATION_ASKED
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import DeploymentFacts
from littoral.placement.claims import of_pod
from littoral.placement.filters import STAY, Ask
from littoral.placement.ledger import mib
from littoral.placement.lost import lost
from littoral.placement.market import allocate, fit
from littoral.placement.nodes import NodeView
from littoral.placement.replicas import Leaver, Replica, Triage, age, duplicates, trim
from littoral.placement.results import Assignment, Move
from littoral.placement.shared import remembered
from littoral.placement.snapshot import Key
from littoral.placement.variants import Choice
from littoral.placement.world import World
from littoral.slicing.provider import Refusal

_FIGURES = ("device", "profile", "provider", "isolation", "memory", "compute", "resources", "pod")
TIMES = ("bound_at", "started_at", "updated_at")


def triage(world: World, model: InferenceModel, asked: Ask) -> Triage:
    """Sort the model's slices: kept, leaving, released, held, and those that never got a place."""
    sorted_out, spec = Triage(), model.spec
    for slice_ in world.slices_of(model):
        key, allocation = slice_.metadata.key, world.allocation(slice_)
        if slice_.metadata.deletion_timestamp is not None:
            continue  # on its way out already; its charge stays until it is gone
        if allocation is None:
            sorted_out.unbound[key[1]] = slice_
            continue
        replica = _replica(world, slice_, allocation, asked)
        if cause := _ends(world, replica):
            sorted_out.released[key[1]] = Move(key[1], replica.node.name, cause)
        elif not (cause := _misfit(replica, model, asked)):
            sorted_out.kept.append(replica)
        elif spec.placement.mode == "PerNode":
            sorted_out.drop(replica, world.workloads, cause)
        else:
            sorted_out.replace(replica, world.workloads, cause)
    _quit_reservations(world, model, sorted_out)
    if spec.placement.mode == "PerNode":
        for extra in duplicates(sorted_out.kept, world.workloads):
            sorted_out.kept.remove(extra)
            sorted_out.drop(extra, world.workloads, f"one on each node is wanted, and {extra.node.name} has another")
    else:
        trim(sorted_out, spec.replicas, world.workloads)
    return sorted_out


def joined(world: World, model: InferenceModel) -> Triage:
    """The slices that a model had before it joined a group: all of them go."""
    sorted_out = _all_go(world, world.slices_of(model), f"the model joined group {model.spec.server.group}")
    _quit_reservations(world, model, sorted_out)
    return sorted_out


def disband(world: World, group: Key) -> Triage:
    """The slices of a group that no model names any more: all of them go."""
    return _all_go(world, world.slices_of_group(group), f"no model names group {group[1]}")


def _all_go(world: World, slices: Iterable[GPUSlice], cause: str) -> Triage:
    sorted_out = Triage()
    for slice_ in slices:
        key, allocation = slice_.metadata.key, world.allocation(slice_)
        if slice_.metadata.deletion_timestamp is not None:
            continue
        if allocation is None:
            sorted_out.released[key[1]] = Move(key[1], "", cause)
        else:
            replica = Replica(key, slice_, allocation, world.node(allocation.node), None)
            sorted_out.drop(replica, world.workloads, cause)
    return sorted_out


def _replica(world: World, slice_: GPUSlice, allocation: Allocation, asked: Ask) -> Replica:
    node, key = world.node(allocation.node), slice_.metadata.key
    choice = _choice(world, slice_, allocation, asked)
    if isinstance(choice, Refusal):
        return Replica(key, slice_, allocation, node, choice, True, node.presence == "Connected")
    slot = world.ledger.slot(allocation)
    if choice is None or choice.note == _note(slice_) or choice.spec == slice_.spec or slot is None:
        return Replica(key, slice_, allocation, node, choice)
    granted = fit(node, slot, choice, asked.needs, key)
    outgrown = isinstance(granted, Refusal)
    outdated = isinstance(granted, Refusal) or not alike(allocate(node.name, slot, granted), allocation)
    return Replica(key, slice_, allocation, node, choice, outdated, outgrown and node.presence == "Connected")


def _ends(world: World, replica: Replica) -> str:
    """Why it goes at once, whatever the user wants; empty where it does not."""
    node, allocation = replica.node, replica.allocation
    if replica.key in world.evicted:
        return f"more of {node.name} was given away than it has, and this is the youngest that never started"
    if node.presence == "Retired":
        return f"{node.name} is retired"
    excluded = next((each for each in node.exclusions if each.device == allocation.device), None)
    refused = excluded is not None and node.presence == "Connected" and world.workloads.refused(replica.key)
    if excluded is not None and refused and not world.workloads.started(replica.key, allocation):
        return f"{node.name} refused it before it ever ran: {excluded.message or excluded.reason}"
    return ""


def _misfit(replica: Replica, model: InferenceModel, asked: Ask) -> str:
    """Why the user no longer wants it there; empty where he does.

    What cannot be known now (no Node, no profile) speaks for staying.
    """
    if model.spec.slice_ref is not None:
        return f"spec.sliceRef names {model.spec.slice_ref.name}"
    node, choice = replica.node, replica.choice
    if node.facts is not None and node.edge is not None:
        refusal = next((found for refuses in STAY if (found := refuses(asked, node))), None)
        if refusal is not None:
            return f"{node.name} is a node {refusal.message}"
    if isinstance(choice, Refusal):
        gone = bool(asked.demand.wants) and all(want.name != _variant(replica.slice) for want in asked.demand.wants)
        if gone or choice.reason == "NoVariant":
            return f"{node.name} is a node {choice.message}"
    return ""


def _quit_reservations(world: World, model: InferenceModel, sorted_out: Triage) -> None:
    """The model's Deployments on slices that users wrote and that it no longer names."""
    namespace, name = model.metadata.key
    reference = model.spec.slice_ref
    named = reference.name if reference is not None and model.spec.replicas else ""
    cause = f"spec.sliceRef names {named}" if named else "spec.sliceRef names it no longer"
    for deployment in world.workloads.deployments_of((namespace, name)):
        slice_ = world.snapshot.slices.get((namespace, deployment.slice))
        # Its user may have deleted the slice: what stood on it is the model's own, and nobody's else to take away.
        reserved = deployment.models if slice_ is None else slice_.metadata.owner("InferenceModel") is None
        if reserved and deployment.slice != named and not deployment.deleting:
            quit_reservation(world, deployment, model, sorted_out, cause)


def quit_reservation(
    world: World, deployment: DeploymentFacts, model: InferenceModel, sorted_out: Triage, cause: str
) -> None:
    """The model is to leave this slice: when another has started, at once if it never did, later if nobody can tell."""
    key = (deployment.namespace, deployment.slice)
    slice_ = world.snapshot.slices.get(key)
    allocation = deployment.grant if slice_ is None else world.allocation(slice_)
    move = Move(key[1], "" if allocation is None else allocation.node, cause)
    served = world.workloads.ready(key, model.metadata.name)
    if allocation is not None and world.node(allocation.node).presence == "Offline":
        sorted_out.held[key[1]] = move
    elif served and model.spec.placement.mode == "Replicas":
        sorted_out.leavers.append(Leaver(move, True, age(slice_, allocation), users=True))
    else:
        sorted_out.vacated[key[1]] = move


@dataclass(frozen=True, slots=True)
class Stay:
    """A replica where it is."""

    assignment: Assignment
    outgrown: str = ""
    """Why what is asked now cannot be had there, so that it is to be sought elsewhere; empty where it can."""


def stay(world: World, replica: Replica, asked: Ask) -> Stay:
    """The replica where it is: with the figures it has, or with new ones where the user changed them and they fit."""
    slice_, allocation, node, choice = replica.slice, replica.allocation, replica.node, replica.choice
    known = choice if isinstance(choice, Choice) else None
    note = _note(slice_)
    # The slice's own spec holds until somebody asks for something else: another catalogue alone is no reason.
    request = slice_.spec if known is None or known.note == note else known.spec
    assignment = Assignment(
        slice=replica.key[1],
        node=node.name,
        device=allocation.device,
        profile=allocation.profile,
        stack=_stack(world, allocation),
        variant=known.variant if known else _variant(slice_),
        why=known.why if known else "",
        asked=known.note if known else note,
        request=request,
        current=slice_.status.allocation,
        target=allocation,
        lost=lost(node, allocation),
        members=known.members if known else remembered(asked.demand, note),
        left_out=known.left_out if known else (),
    )
    if isinstance(choice, Refusal):
        return _blocked(assignment, node, f"it cannot be served on {node.name} ({choice.message})")
    if choice is None or (request == slice_.spec and not _cut_short(slice_)):
        return Stay(assignment)
    if node.presence != "Connected":
        return _blocked(assignment, node, f"{node.name} is offline")
    slot = world.ledger.slot(allocation)
    if slot is None:
        return Stay(_kept(assignment, f"the devices of {node.name} are not known now"))
    granted = fit(node, slot, choice, asked.needs, replica.key)
    if isinstance(granted, Refusal):
        return _blocked(assignment, node, f"no room on {node.name} ({granted.message})")
    target = allocate(node.name, slot, granted)
    if alike(target, allocation):
        return Stay(assignment)
    world.ledger.hold(replica.key, target)  # beside the old ones, until they are cut over
    node.host.hold(replica.key, of_pod(target))
    target = target.model_copy(update={name: getattr(allocation, name) for name in TIMES})
    return Stay(replace(assignment, device=target.device, profile=target.profile, target=target))


def _cut_short(slice_: GPUSlice) -> bool:
    """Whether it is bound to less than its spec says: an operator died between the two writes of a cutover."""
    bound, spec = slice_.status.allocation, slice_.spec
    return bound is not None and (mib(bound.memory) < mib(spec.memory) or bound.compute < spec.compute)


def alike(one: Allocation, other: Allocation) -> bool:
    """Whether two allocations differ in nothing but times."""
    return all(getattr(one, figure) == getattr(other, figure) for figure in _FIGURES)


def platform_of(world: World, allocation: Allocation) -> tuple[Platform, str] | None:
    """(platform, sharing mechanism): of the device as it is now, where it is known, else of its profile; None where
    the catalogue no longer has that.
    """
    slot = world.ledger.slot(allocation)
    if slot is not None and slot.device.profile.name == allocation.profile:
        return slot.device.platform, slot.device.provider
    profile = world.snapshot.catalogue.get(allocation.profile)
    return None if profile is None else (world.snapshot.catalogue.platform(profile), allocation.provider)


def _choice(world: World, slice_: GPUSlice, allocation: Allocation, asked: Ask) -> Choice | Refusal | None:
    found = platform_of(world, allocation)
    return None if found is None else world.chooser.choose(asked.demand, *found, _note(slice_))


def _stack(world: World, allocation: Allocation) -> str:
    found = platform_of(world, allocation)
    return "" if found is None else found[0].stack.name


def _note(slice_: GPUSlice) -> str:
    return slice_.metadata.annotations.get(ANNOTATION_ASKED, "")


def _variant(slice_: GPUSlice) -> str:
    return _note(slice_).partition("/")[0]


def _blocked(assignment: Assignment, node: NodeView, why: str) -> Stay:
    """It stays as it is; on a connected node because what is asked cannot be had there, which may be had elsewhere."""
    return Stay(_kept(assignment, why), why if node.presence == "Connected" else "")


def _kept(assignment: Assignment, why: str) -> Assignment:
    """Where the status was lost, what was adopted must be written all the same."""
    target = assignment.target if assignment.current is None else None
    return replace(assignment, target=target, blocked=f"stays as it is: {why}")
