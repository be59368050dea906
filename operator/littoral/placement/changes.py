"""What differs between two snapshots: values are immutable and shared, so that what is the same object is unchanged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from littoral.api.workload import DeploymentFacts, PodFacts
from littoral.placement.snapshot import Key, Snapshot


@dataclass(frozen=True, slots=True)
class Changes:
    """By name or key, what was added, removed or replaced."""

    nodes: frozenset[str]
    """Whose facts, EdgeNode or exclusions are not as they were."""
    models: frozenset[Key]
    slices: frozenset[Key]
    """Slices, and those of which a pod or a Deployment is not as it was."""


def between(old: Snapshot, new: Snapshot) -> Changes:
    """What differs."""
    nodes = differing(old.nodes, new.nodes) | differing(old.edge_nodes, new.edge_nodes)
    nodes |= differing(old.exclusions, new.exclusions)
    models = differing(old.models, new.models) | (old.refused.keys() ^ new.refused.keys())
    slices = differing(old.slices, new.slices)
    for before, after in ((old.pods, new.pods), (old.deployments, new.deployments)):
        for key in differing(before, after):
            slices |= {_slice(each) for each in (before.get(key), after.get(key)) if each is not None}
    return Changes(frozenset(nodes), frozenset(models), frozenset(slices))


def comparable(old: Snapshot, new: Snapshot) -> bool:
    """Whether the two differ in nothing on which everything may depend."""
    names = ("namespaces", "priorities", "runtime_classes")
    return old.catalogue is new.catalogue and all(getattr(old, name) == getattr(new, name) for name in names)


def differing(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> set[Any]:
    """The keys whose values are not the same object."""
    if old is new:
        return set()
    get = old.get
    found = {key for key, value in new.items() if get(key) is not value}
    if len(old) != len(new) or found:
        found |= old.keys() - new.keys()
    return found


def _slice(workload: PodFacts | DeploymentFacts) -> Key:
    return workload.namespace, workload.slice
