"""The replicas that a model has, and what shall become of each: kept, released, or held because its node is offline.

What served and may not stay is not simply released: it serves on, leaving, until its replacement has started.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count

from littoral.api.base import Metadata
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.placement.nodes import NodeView
from littoral.placement.results import Move
from littoral.placement.snapshot import Key
from littoral.placement.variants import Choice
from littoral.placement.workloads import Workloads
from littoral.slicing.provider import Refusal

_NEVER = datetime.max.replace(tzinfo=UTC)
_LONGEST_PREFIX = 54
"""A slice's name is the value of a label."""


def slice_name(owner: str, node: str, ordinal: int) -> str:
    """The name of a model's or group's nth slice on a node: the node is part of its identity, for it is never bound to
    another. A group's unit has a slash in its name: its slices never have the names of a model's.
    """
    _, slash, name = owner.rpartition("/")
    seed = f"{owner}/{node}/{ordinal}" if slash else f"{node}/{ordinal}"
    return f"{name[:_LONGEST_PREFIX]}-{sha256(seed.encode()).hexdigest()[:8]}"


def seniority(metadata: Metadata) -> tuple[datetime, Key]:
    """Who comes first where not all can: the older object, then the name."""
    return metadata.creation_timestamp or _NEVER, metadata.key


def age(slice_: GPUSlice | None, allocation: Allocation | None) -> datetime:
    """When it was bound, else made; what has no time is the youngest."""
    bound = allocation.bound_at if allocation is not None else None
    made = slice_.metadata.creation_timestamp if slice_ is not None else None
    return bound or made or _NEVER


@dataclass(frozen=True, slots=True)
class Replica:
    """A slice of a model that lies somewhere."""

    key: Key
    slice: GPUSlice
    allocation: Allocation
    """The one in its status, or the one adopted from its workload."""
    node: NodeView
    choice: Choice | Refusal | None
    """The variant it serves, or why none can; None where nobody knows its profile now, and so nothing can be said."""
    outdated: bool = False
    """The user asks for something else now than what the slice was made for."""
    outgrown: bool = False
    """What is asked now cannot be had where it is."""


@dataclass(frozen=True, slots=True)
class Leaver:
    """What has served on a connected node, and is to be replaced before it goes."""

    move: Move
    ready: bool
    age: datetime
    users: bool = False
    """It serves on a slice that its user wrote, which stays."""


@dataclass(slots=True)
class Triage:
    """A model's slices, sorted out."""

    kept: list[Replica] = field(default_factory=list)
    """The least dispensable first."""
    leavers: list[Leaver] = field(default_factory=list)
    released: dict[str, Move] = field(default_factory=dict)
    held: dict[str, Move] = field(default_factory=dict)
    vacated: dict[str, Move] = field(default_factory=dict)
    unbound: dict[str, GPUSlice] = field(default_factory=dict)
    """Made, but without a place: taken for a new replica on the node they were made for, else deleted."""

    def drop(self, replica: Replica, workloads: Workloads, cause: str) -> None:
        """Release the replica, or owe it where its node cannot be asked to stop it."""
        offline = replica.node.presence == "Offline"
        owed = offline and workloads.existed(replica.key, replica.allocation)
        name = replica.key[1]
        (self.held if owed else self.released)[name] = Move(name, replica.node.name, cause)

    def replace(self, replica: Replica, workloads: Workloads, cause: str) -> None:
        """Have it go as soon as another has started in its place; at once if it never did itself."""
        if replica.node.presence != "Connected" or not workloads.started(replica.key, replica.allocation):
            self.drop(replica, workloads, cause)
            return
        move = Move(replica.key[1], replica.node.name, cause)
        ready, since = workloads.ready(replica.key), age(replica.slice, replica.allocation)
        self.leavers.append(Leaver(move, ready, since))

    def dismiss(self, needed: int) -> tuple[str, ...]:
        """Keep as many leavers as are `needed` still, those that answer first; release the others."""
        ordered = sorted(self.leavers, key=lambda each: (not each.ready, each.age, each.move.slice))
        for each in ordered[needed:]:
            (self.vacated if each.users else self.released)[each.move.slice] = each.move
        self.leavers = ordered[:needed]
        return tuple(sorted(each.move.slice for each in self.leavers))

    @property
    def moves(self) -> tuple[Move, ...]:
        """Why each goes, by name."""
        leaving = {each.move.slice: each.move for each in self.leavers}
        found = self.released | self.held | self.vacated | leaving
        return tuple(found[name] for name in sorted(found))


def trim(triage: Triage, wanted: int, workloads: Workloads) -> None:
    """Order what is kept, and let go what is too many.

    What is asked for no more goes first, of that what cannot change where it is; then what does not answer, what can
    be had back at once, what never started, and the youngest.
    """

    def reluctance(replica: Replica) -> tuple[bool, bool, bool, bool, bool, float, str]:
        owed = replica.node.presence == "Offline" and workloads.existed(replica.key, replica.allocation)
        started = workloads.started(replica.key, replica.allocation)
        young = -age(replica.slice, replica.allocation).timestamp()
        ready = workloads.ready(replica.key)
        return not replica.outgrown, not replica.outdated, ready, owed, started, young, replica.key[1]

    ordered = sorted(triage.kept, key=reluctance)
    excess = max(0, len(ordered) - wanted)
    for replica in ordered[:excess]:
        if replica.outdated:  # it may be what serves, while what replaces it has not started
            triage.replace(replica, workloads, "another has its place, with what is asked for now")
        else:
            triage.drop(replica, workloads, f"{wanted} replicas are wanted")
    triage.kept = ordered[excess:][::-1]


def duplicates(kept: Iterable[Replica], workloads: Workloads) -> list[Replica]:
    """All but one replica on each node, for PerNode: the one that started, and the oldest, stays."""
    by_node: dict[str, list[Replica]] = {}
    for replica in kept:
        by_node.setdefault(replica.node.name, []).append(replica)

    def seniority(replica: Replica) -> tuple[bool, datetime, str]:
        started = workloads.started(replica.key, replica.allocation)
        return not started, age(replica.slice, replica.allocation), replica.key[1]

    return [extra for group in by_node.values() for extra in sorted(group, key=seniority)[1:]]


def free_name(model: str, node: str, taken: Callable[[str], bool]) -> str:
    """The first of the model's slice names for the node that is not taken."""
    return next(name for ordinal in count() if not taken(name := slice_name(model, node, ordinal)))
