"""Slices that users write to reserve capacity: bound as replicas are, and left where they are."""

from dataclasses import replace

from littoral.api.gpuslice import ISOLATION_ORDER, Allocation, GPUSlice
from littoral.placement import reasons
from littoral.placement.claims import of_pod
from littoral.placement.filters import Ask
from littoral.placement.host import NO_NEEDS
from littoral.placement.ledger import mib
from littoral.placement.lost import lost
from littoral.placement.market import Market, allocate, fit
from littoral.placement.replicas import seniority
from littoral.placement.results import SlicePlan
from littoral.placement.seeker import Seeker
from littoral.placement.snapshot import Key
from littoral.placement.staying import TIMES, alike
from littoral.placement.variants import choose
from littoral.placement.wants import reservation
from littoral.placement.world import World
from littoral.slicing.provider import Refusal


def plans(world: World, market: Market) -> dict[Key, SlicePlan]:
    """A plan for each slice that a user wrote; those that lie somewhere first, then the older."""
    found = {}
    waiting = []
    for slice_ in world.reservations:
        allocation = world.allocation(slice_)
        if slice_.metadata.deletion_timestamp is not None:
            continue
        if allocation is not None and _stands(world, slice_, allocation):
            found[slice_.metadata.key] = _keep(world, slice_, allocation)
        else:
            waiting.append(slice_)
    for slice_ in sorted(waiting, key=lambda each: seniority(each.metadata)):
        found[slice_.metadata.key] = _place(world, market, slice_)
    return found


def _stands(world: World, slice_: GPUSlice, allocation: Allocation) -> bool:
    """Whether it keeps its place: as long as the node is anybody's, and nothing older needs the room."""
    return slice_.metadata.key not in world.evicted and world.node(allocation.node).presence != "Retired"


def _keep(world: World, slice_: GPUSlice, allocation: Allocation) -> SlicePlan:
    """Where it is; a larger or smaller grant there, if the user changed the figures and they fit."""
    key, node = slice_.metadata.key, world.node(allocation.node)
    if gone := lost(node, allocation):
        return SlicePlan(key, node.name, allocation.device, allocation, "DeviceLost", gone, lost=True)
    bound = _bound(key, allocation)
    settled = slice_.metadata.generation == slice_.status.observed_generation
    if settled and _covers(allocation, slice_):
        return bound
    slot = world.ledger.slot(allocation) if node.presence == "Connected" else None
    if slot is None:
        return replace(bound, judged=settled)
    choice = choose(reservation(slice_.spec), slot.device.platform, slot.device.provider)
    granted = choice if isinstance(choice, Refusal) else fit(node, slot, choice, NO_NEEDS, key)
    if isinstance(granted, Refusal):
        if _covers(allocation, slice_):
            return bound
        message = f"keeps {allocation.memory} as before: no room on {node.name} ({granted.message})"
        return SlicePlan(key, node.name, allocation.device, allocation, granted.reason, message)
    target = allocate(node.name, slot, granted)
    if alike(target, allocation):
        return bound
    world.ledger.hold(key, target)
    if key in node.host.claims:  # a server is on it
        node.host.hold(key, of_pod(target))
    target = target.model_copy(update={name: getattr(allocation, name) for name in TIMES})
    return _bound(key, target)


def _covers(allocation: Allocation, slice_: GPUSlice) -> bool:
    """Whether the grant is at least what is asked."""
    spec = slice_.spec
    strong = ISOLATION_ORDER.index(allocation.isolation) >= ISOLATION_ORDER.index(spec.isolation)
    return strong and mib(allocation.memory) >= mib(spec.memory) and allocation.compute >= spec.compute


def _place(world: World, market: Market, slice_: GPUSlice) -> SlicePlan:
    key = slice_.metadata.key
    asked = Ask(reservation(slice_.spec), namespace=tuple(sorted(world.snapshot.namespace(key[0]).items())))
    place = market.place(asked, Seeker(lambda _: key))
    if place is None:
        reason, message = reasons.summary(market.refusals(asked))
        return SlicePlan(key, "", "", None, reason, message)
    return _bound(key, place.allocation)


def _bound(key: Key, there: Allocation) -> SlicePlan:
    return SlicePlan(key, there.node, there.device, there, "Bound", f"{there.memory} of {there.device} on {there.node}")
