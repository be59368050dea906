"""What becomes of the replicas that a model has: which stay, and with which figures."""

from dataclasses import replace

from littoral.accelerators.profile import Platform
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.group import ANNOTATION_ASKED
from littoral.api.inferencemodel import InferenceModel
from littoral.placement.filters import STAY, Ask
from littoral.placement.market import allocate, grant
from littoral.placement.replicas import Replica, Triage, duplicates, trim
from littoral.placement.results import Assignment
from littoral.placement.variants import Choice
from littoral.placement.world import World
from littoral.slicing.provider import Refusal

_FIGURES = ("device", "profile", "provider", "isolation", "memory", "compute", "resources", "pod")
TIMES = ("bound_at", "started_at", "updated_at")


def triage(world: World, model: InferenceModel, asked: Ask) -> Triage:
    """Sort the model's slices: kept, released, held, and those that never got a place."""
    sorted_out = Triage()
    for slice_ in world.slices_of(model):
        key, allocation = slice_.metadata.key, world.allocation(slice_)
        if slice_.metadata.deletion_timestamp is not None:
            continue  # on its way out already; its charge stays until it is gone
        if allocation is None:
            sorted_out.unbound[key[1]] = slice_
            continue
        choice = _choice(world, slice_, allocation, asked)
        replica = Replica(key, slice_, allocation, world.node(allocation.node), choice)
        if key in world.evicted or replica.node.presence == "Retired":
            sorted_out.released.append(key[1])
        elif _fits(replica, asked):
            sorted_out.kept.append(replica)
        else:
            sorted_out.drop(replica, world.workloads)
    if model.spec.placement.mode == "PerNode":
        for extra in duplicates(sorted_out.kept, world.workloads):
            sorted_out.kept.remove(extra)
            sorted_out.drop(extra, world.workloads)
    else:
        trim(sorted_out, len(sorted_out.kept) - model.spec.replicas, world.workloads)
    return sorted_out


def _fits(replica: Replica, asked: Ask) -> bool:
    """Whether the user still wants it there. What cannot be known now (no Node, no profile) speaks for staying."""
    node = replica.node
    if node.facts is not None and node.edge is not None and any(refuses(asked, node) for refuses in STAY):
        return False
    return not (isinstance(replica.choice, Refusal) and replica.choice.reason == "NoVariant")


def stay(world: World, replica: Replica) -> Assignment:
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
        variant=known.variant if known else note.partition("/")[0],
        why=known.why if known else "",
        asked=known.note if known else note,
        request=request,
        current=slice_.status.allocation,
        target=allocation,
    )
    if isinstance(choice, Refusal):
        return _blocked(assignment, f"it cannot be served on {node.name} ({choice.message})")
    if choice is None or request == slice_.spec:
        return assignment
    if node.presence != "Connected":
        return _blocked(assignment, f"{node.name} is offline")
    slot = world.ledger.slot(allocation)
    if slot is None:
        return _blocked(assignment, f"the devices of {node.name} are not known now")
    granted = grant(slot, choice, replica.key)
    if isinstance(granted, Refusal):
        return _blocked(assignment, f"no room on {node.name} ({granted.message})")
    target = allocate(node.name, slot, granted)
    if alike(target, allocation):
        return assignment
    world.ledger.hold(replica.key, target)  # beside the old ones, until they are cut over
    times = {name: getattr(allocation, name) for name in TIMES}
    return replace(assignment, device=target.device, profile=target.profile, target=target.model_copy(update=times))


def alike(one: Allocation, other: Allocation) -> bool:
    """Whether two allocations differ in nothing but times."""
    return all(getattr(one, figure) == getattr(other, figure) for figure in _FIGURES)


def _choice(world: World, slice_: GPUSlice, allocation: Allocation, asked: Ask) -> Choice | Refusal | None:
    platform = _platform(world, allocation)
    return None if platform is None else world.chooser.choose(asked.demand, platform, _note(slice_))


def _platform(world: World, allocation: Allocation) -> Platform | None:
    """What the device is now, where it is known, else what the catalogue says of its profile."""
    slot = world.ledger.slot(allocation)
    if slot is not None and slot.device.profile.name == allocation.profile:
        return slot.device.platform
    profile = world.snapshot.catalogue.get(allocation.profile)
    return None if profile is None else world.snapshot.catalogue.platform(profile)


def _stack(world: World, allocation: Allocation) -> str:
    platform = _platform(world, allocation)
    return "" if platform is None else platform.stack.name


def _note(slice_: GPUSlice) -> str:
    return slice_.metadata.annotations.get(ANNOTATION_ASKED, "")


def _blocked(assignment: Assignment, why: str) -> Assignment:
    """It stays as it is. Where the status was lost, what was adopted must be written all the same."""
    target = assignment.target if assignment.current is None else None
    return replace(assignment, target=target, blocked=f"stays as it is: {why}")
