"""The world as one value: everything that placement may look at, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from littoral.accelerators.catalogue import Catalogue
from littoral.api.edgenode import EdgeNode, Exclusion
from littoral.api.gpuslice import GPUSlice
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import DeploymentFacts, NodeFacts, PodFacts

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"

Key = tuple[str, str]
"""(namespace, name)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Immutable; the maps may be shared with other snapshots and must not change under it."""

    catalogue: Catalogue
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    edge_nodes: Mapping[str, EdgeNode] = field(default_factory=dict)
    slices: Mapping[Key, GPUSlice] = field(default_factory=dict)
    models: Mapping[Key, InferenceModel] = field(default_factory=dict)
    pods: Mapping[Key, PodFacts] = field(default_factory=dict)
    deployments: Mapping[Key, DeploymentFacts] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of each Namespace by its name."""
    priorities: Mapping[str, int] = field(default_factory=dict)
    """Value of each PriorityClass by its name."""
    runtime_classes: frozenset[str] | None = None
    """The RuntimeClasses that there are; None where nobody can say."""
    exclusions: Mapping[str, tuple[Exclusion, ...]] = field(default_factory=dict)
    """By node: what is excluded there now; those whose time is over are left out."""
    refused: Mapping[Key, str] = field(default_factory=dict)
    """Models that cannot be parsed, with the reason: they get no plan, and what they have stays."""

    def namespace(self, name: str) -> Mapping[str, str]:
        """Labels of a namespace; of one that is not known its name, which the API server makes a label of it."""
        return self.namespaces.get(name) or {NAMESPACE_NAME: name}
