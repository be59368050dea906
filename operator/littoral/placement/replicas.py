"""The replicas that a model has, and what shall become of each: kept, released, or held because its node is offline."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count

from littoral.api.base import Metadata
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.workload import PodFacts
from littoral.placement.nodes import NodeView
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.variants import Choice
from littoral.slicing.provider import Refusal

_NEVER = datetime.max.replace(tzinfo=UTC)


def slice_name(model: str, node: str, ordinal: int) -> str:
    """The name of a model's nth slice on a node: the node is part of its identity, for it is never bound to another."""
    return f"{model}-{sha256(f'{node}/{ordinal}'.encode()).hexdigest()[:8]}"


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
        self._deployed = {(each.namespace, each.slice) for each in snapshot.deployments.values()}

    def started(self, key: Key, allocation: Allocation) -> bool:
        """Whether its server was ready once, or may have been: a start that nobody noted shows in its pods."""
        return allocation.started_at is not None or any(_ran(pod) for pod in self._pods.get(key, ()))

    def existed(self, key: Key, allocation: Allocation | None) -> bool:
        """Whether anything of it may be on its node, where nobody can look."""
        started = allocation is not None and allocation.started_at is not None
        return started or key in self._pods or key in self._deployed


def _ran(pod: PodFacts) -> bool:
    """Whether one of its containers was ever seen to run."""
    containers = (pod.fetch, pod.server)
    return pod.phase != "Pending" or any(c.running or c.exit_code is not None or c.restarts for c in containers)


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


@dataclass(slots=True)
class Triage:
    """A model's slices, sorted out."""

    kept: list[Replica] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    unbound: dict[str, GPUSlice] = field(default_factory=dict)
    """Made, but without a place: taken for a new replica on the node they were made for, else deleted."""

    def drop(self, replica: Replica, workloads: Workloads) -> None:
        """Release the replica, or owe it where its node cannot be asked to stop it."""
        offline = replica.node.presence == "Offline"
        owed = offline and workloads.existed(replica.key, replica.allocation)
        (self.held if owed else self.released).append(replica.key[1])


def trim(triage: Triage, excess: int, workloads: Workloads) -> None:
    """Scale down: what can be had back at once goes first, of that what never started, then the youngest."""
    if excess <= 0:
        return

    def reluctance(replica: Replica) -> tuple[bool, bool, float, str]:
        owed = replica.node.presence == "Offline" and workloads.existed(replica.key, replica.allocation)
        started = workloads.started(replica.key, replica.allocation)
        return owed, started, -age(replica.slice, replica.allocation).timestamp(), replica.key[1]

    for replica in sorted(triage.kept, key=reluctance)[:excess]:
        triage.kept.remove(replica)
        triage.drop(replica, workloads)


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
