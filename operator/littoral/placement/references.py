"""spec.sliceRef: a model that serves on a slice which a user wrote to reserve capacity.

The slice is bound, resized and kept as a reservation is; the model only fits into what it was granted, its server's own
overhead included. One model at a time: the one whose server stands there already, else the first by rank. The slice is
never released for a model's sake.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from littoral.api.gpuslice import ISOLATION_ORDER, Allocation, GPUSlice
from littoral.api.inferencemodel import InferenceModel
from littoral.api.quantity import short_mib
from littoral.placement.filters import ADMIT, DEVICE, STAY, Ask
from littoral.placement.host import claim
from littoral.placement.ledger import mib
from littoral.placement.lost import lost
from littoral.placement.nodes import NodeView
from littoral.placement.results import Assignment, SlicePlan
from littoral.placement.snapshot import Key
from littoral.placement.staying import alike, platform_of
from littoral.placement.variants import Choice
from littoral.placement.world import World
from littoral.slicing.provider import Refusal


@dataclass(frozen=True, slots=True)
class Reference:
    """A model that names a slice."""

    model: InferenceModel
    asked: Ask

    @property
    def key(self) -> Key:
        """The slice's."""
        reference = self.model.spec.slice_ref
        return self.model.metadata.namespace, "" if reference is None else reference.name


def assign(
    world: World, references: Iterable[Reference], slices: Mapping[Key, SlicePlan]
) -> dict[Key, Assignment | Refusal]:
    """For each model, given by rank: its place on the slice that it names, or why it cannot have it."""
    found: dict[Key, Assignment | Refusal] = {}
    taken: dict[Key, str] = {}
    for reference in sorted(references, key=lambda each: not _stands(world, each)):
        key, model = reference.key, reference.model.metadata.key
        other = taken.get(key)
        if other is not None:
            found[model] = Refusal("SliceInUse", f"GPUSlice {key[1]} serves the InferenceModel {other}")
            continue
        result = _judge(world, reference, slices.get(key))
        found[model] = result
        if isinstance(result, Assignment) or _stands(world, reference):
            taken[key] = model[1]
    return found


def _stands(world: World, reference: Reference) -> bool:
    """Whether the model's server is on the slice already."""
    deployment = world.workloads.deployment(reference.key)
    return deployment is not None and deployment.model == reference.model.metadata.name


def _runs(world: World, reference: Reference, allocation: Allocation) -> bool:
    """Whether it stands on what the slice is bound to: a reservation that moved takes no server with it unasked."""
    deployment = world.workloads.deployment(reference.key)
    grant = None if deployment is None else deployment.grant
    return _stands(world, reference) and (grant is None or grant.node == allocation.node)


def _judge(world: World, reference: Reference, plan: SlicePlan | None) -> Assignment | Refusal:
    name = reference.key[1]
    slice_ = world.snapshot.slices.get(reference.key)
    if slice_ is None or slice_.metadata.deletion_timestamp is not None:
        what = "there is no GPUSlice" if slice_ is None else "somebody deletes the GPUSlice"
        return Refusal("SliceNotFound", f"{what} {name} in the namespace {reference.key[0]}")
    owner = slice_.metadata.owner("InferenceModel")
    if owner is not None:
        return Refusal("SliceInUse", f"GPUSlice {name} is a replica's of the InferenceModel {owner}")
    if plan is None or plan.allocation is None:
        why = "" if plan is None else f": {plan.message}"
        return Refusal("SliceNotBound", f"GPUSlice {name} is not bound{why}")
    if refusal := _leftover(world, reference):
        return refusal
    node = world.node(plan.allocation.node)
    if refusal := _elsewhere(world, reference, node, plan.allocation):
        return refusal
    choice = _choice(world, reference, plan.allocation)
    if isinstance(choice, Refusal):
        return Refusal(choice.reason, f"GPUSlice {name} lies on {node.name}, a node {choice.message}")
    if refusal := _too_small(slice_, plan.allocation, choice):
        return refusal
    if refusal := _claim(world, reference, node, plan.allocation, choice):
        return refusal
    return _assignment(world, slice_, plan.allocation, choice)


def _leftover(world: World, reference: Reference) -> Refusal | None:
    """Another model's server, or what is ending of it, stands where this one's would."""
    key = reference.key
    deployment = world.workloads.deployment(key)
    if _stands(world, reference):
        return None
    if deployment is not None:
        return Refusal("SliceInUse", f"GPUSlice {key[1]} serves the InferenceModel {deployment.model}")
    if any(world.workloads.pods(key)):
        return Refusal("SliceInUse", f"GPUSlice {key[1]} is not free yet: an earlier server's pod is still ending")
    return None


def _elsewhere(world: World, reference: Reference, node: NodeView, allocation: Allocation) -> Refusal | None:
    """The node is not one for this model; a server that stands there is moved by its user's wish alone."""
    standing = _runs(world, reference, allocation)
    asked = reference.asked
    refusal = next((found for refuses in (STAY if standing else ADMIT) if (found := refuses(asked, node))), None)
    slot = world.ledger.slot(allocation)
    if refusal is None and not standing and slot is not None:
        refusal = next((found for check in DEVICE if (found := check(asked, node, slot.device))), None)
    if refusal is None:
        return None
    theirs = {"OtherPool", "SelectorMismatch", "NamespaceNotAllowed"}
    reason = "SliceElsewhere" if refusal.reason in theirs else refusal.reason
    return Refusal(reason, f"GPUSlice {reference.key[1]} lies on {node.name}, a node {refusal.message}")


def _choice(world: World, reference: Reference, allocation: Allocation) -> Choice | Refusal:
    found = platform_of(world, allocation)
    if found is None:
        return Refusal("UnknownProfile", f"whose {allocation.profile} the catalogue no longer has")
    return world.chooser.choose(reference.asked.demand, *found)


def _too_small(slice_: GPUSlice, allocation: Allocation, choice: Choice) -> Refusal | None:
    """What was granted is not enough for the variant and the server around it."""
    name, request = slice_.metadata.name, choice.request
    if (have := mib(allocation.memory)) < request.memory:
        exact = short_mib(have) == short_mib(request.memory)  # rounding for people must not hide the difference
        granted, needed = (f"{have}Mi", f"{request.memory}Mi") if exact else map(short_mib, (have, request.memory))
        message = f"grants {granted}, {needed} needed by variant {choice.variant}, Triton's own memory included"
        return Refusal("SliceTooSmall", f"GPUSlice {name} {message}", near=have / request.memory)
    if allocation.compute < request.compute:
        message = f"grants {allocation.compute}% compute, {request.compute}% needed by variant {choice.variant}"
        return Refusal("SliceTooSmall", f"GPUSlice {name} {message}", near=allocation.compute / request.compute)
    if ISOLATION_ORDER.index(allocation.isolation) < ISOLATION_ORDER.index(request.isolation):
        message = f"has isolation {allocation.isolation}, not {request.isolation}"
        return Refusal("SliceTooSmall", f"GPUSlice {name} {message}")
    return None


def _claim(
    world: World, reference: Reference, node: NodeView, allocation: Allocation, choice: Choice
) -> Refusal | None:
    """What the server needs of the machine beside the slice; a server that stands there has it."""
    key, needs, host = reference.key, reference.asked.needs, node.host
    mine = claim(allocation, reference.model, choice.variant)
    if not _runs(world, reference, allocation):
        more = host.more_memory(key, needs)
        refusal = (host.short_of_memory(more) if more > 0 else None) or host.refuses(key, mine)
        if refusal is not None:
            message = f"GPUSlice {key[1]} lies on {node.name}, a node {refusal.message}"
            return Refusal(refusal.reason, message, refusal.near)
    host.hold(key, mine)
    world.ledger.hold(key, allocation)  # no more than it holds, and the node is known to be charged anew
    return None


def _assignment(world: World, slice_: GPUSlice, granted: Allocation, choice: Choice) -> Assignment:
    current = slice_.status.allocation
    target = current if current is not None and alike(current, granted) else granted
    found = platform_of(world, granted)
    return Assignment(
        slice=slice_.metadata.name,
        node=granted.node,
        device=granted.device,
        profile=granted.profile,
        stack="" if found is None else found[0].stack.name,
        variant=choice.variant,
        why=choice.why,
        asked="",
        request=slice_.spec,
        current=current,
        target=target,
        lost=lost(world.node(granted.node), granted),
    )
