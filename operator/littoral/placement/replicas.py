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
from littoral.api.workload import DeploymentFacts, PodFacts
from littoral.placement.nodes import NodeView
from littoral.placement.results import Move
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.variants import Choice
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


def age(slice_: GPUSlice, allocation: Allocation | None) -> datetime:
    """When it was bound, else made; what has no time is the youngest."""
    bound = allocation.bound_at if allocation is not None else None
    return bound or slice_.metadata.creation_timestamp or _NEVER


class Workloads:
    """What runs, or may run, for each slice."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._pods: dict[Key, list[PodFacts]] = {}
        for pod in snapshot.pods.values():
            self._pods.setdefault((pod.namespace, pod.slice), []).append(pod)
        self._deployed: dict[Key, DeploymentFacts] = {}
        self._of: dict[Key, list[DeploymentFacts]] = {}
        for each in snapshot.deployments.values():
            self._deployed[each.namespace, each.slice] = each
            self._of.setdefault((each.namespace, each.model), []).append(each)

    def pods(self, key: Key) -> Iterable[PodFacts]:
        """The slice's pods."""
        return self._pods.get(key, ())

    def deployment(self, key: Key) -> DeploymentFacts | None:
        """What stands on the slice."""
        return self._deployed.get(key)

    def deployments_of(self, model: Key) -> list[DeploymentFacts]:
        """The model's Deployments, by the names of their slices."""
        return sorted(self._of.get(model, ()), key=lambda each: each.slice)

    def started(self, key: Key, allocation: Allocation) -> bool:
        """Whether its server was ready once, or may have been: a start that nobody noted shows in its pods."""
        return allocation.started_at is not None or any(_ran(pod) for pod in self._pods.get(key, ()))

    def ready(self, key: Key, model: str = "") -> bool:
        """Whether it answers, or did when its node was last seen; with `model`, whether that is what answers."""
        pods = self._pods.get(key, ())
        return any(pod.server.ready and not pod.deleting and model in ("", pod.model) for pod in pods)

    def refused(self, key: Key) -> bool:
        """Whether the scheduler or the kubelet refuses its pod."""
        return any(pod.scheduling_message and not pod.deleting for pod in self._pods.get(key, ()))

    def existed(self, key: Key, allocation: Allocation | None) -> bool:
        """Whether anything of it may be on its node, where nobody can look."""
        started = allocation is not None and allocation.started_at is not None
        return started or key in self._pods or key in self._deployed


def _ran(pod: PodFacts) -> bool:
    """Whether one of its containers was ever seen to run. A pod that the kubelet refused is Failed, and never did."""
    containers = (pod.fetch, pod.server, *pod.model_containers.values())
    if any(c.running or c.exit_code is not None or c.restarts for c in containers):
        return True
    return pod.phase != "Pending" and not pod.scheduling_message


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
