"""Tenants: for whom slices are bound and servers run. One model by itself, or the models of a group together.

Both go the same way: bind, freeze a revision, update node by node. They differ in what a revision is made of, and in
which models must answer before an update of a node has succeeded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from littoral.accelerators.profile import Platform
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import DeploymentFacts
from littoral.placement.groups import Group, unit_key
from littoral.placement.results import Assignment
from littoral.triton import metadata, pod_template, revision, server_revision
from littoral.triton.metadata import Owner
from littoral.triton.namespace_policy import NamespacePolicy
from littoral.triton.revision import Frozen


class Tenant(Protocol):
    """What the common path asks of whom it works for."""

    @property
    def owner(self) -> Owner:
        """Whose its children are."""
        ...

    @property
    def models(self) -> tuple[InferenceModel, ...]:
        """The models that are served; what failed is remembered in the status of each."""
        ...

    @property
    def reserved(self) -> str:
        """The slice of a user's on which it serves; empty where it has slices of its own."""
        ...

    @property
    def paused(self) -> bool:
        """Whether no update may start on a further node."""
        ...

    @property
    def timeout(self) -> int:
        """Seconds after which an update of a node that does not answer is put back."""
        ...

    def revision_name(self, assignment: Assignment) -> str:
        """The revision that is wanted at a place."""
        ...

    def freeze(
        self, assignment: Assignment, platform: Platform, *, fetch_image: str, number: int, policy: NamespacePolicy
    ) -> Frozen:
        """Resolve that revision. Raises Unservable where the catalogue cannot serve it or the policy forbids it."""
        ...

    def gate(self, deployment: DeploymentFacts | None, frozen: Mapping[str, Frozen]) -> tuple[str, ...]:
        """The models of a shared server without which its present update has not succeeded."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """One model, with servers of its own."""

    model: InferenceModel

    @property
    def owner(self) -> Owner:
        """The model."""
        return metadata.alone(self.model.metadata)

    @property
    def models(self) -> tuple[InferenceModel, ...]:
        """The model."""
        return (self.model,)

    @property
    def reserved(self) -> str:
        """spec.sliceRef."""
        reference = self.model.spec.slice_ref
        return reference.name if reference is not None else ""

    @property
    def paused(self) -> bool:
        """spec.paused."""
        return self.model.spec.paused

    @property
    def timeout(self) -> int:
        """spec.serving.startupTimeout."""
        return pod_template.startup_seconds(self.model)

    def revision_name(self, assignment: Assignment) -> str:
        """That of the assignment's variant."""
        variant = next(v for v in self.model.spec.variants if v.name == assignment.variant)
        return revision.revision_name(self.model, variant, assignment.profile, assignment.stack)

    def freeze(
        self, assignment: Assignment, platform: Platform, *, fetch_image: str, number: int, policy: NamespacePolicy
    ) -> Frozen:
        """That of the assignment's variant."""
        variant = next(v for v in self.model.spec.variants if v.name == assignment.variant)
        return revision.freeze(self.model, variant, platform, fetch_image=fetch_image, number=number, policy=policy)

    def gate(self, deployment: DeploymentFacts | None, frozen: Mapping[str, Frozen]) -> tuple[str, ...]:  # noqa: ARG002 (the protocol's)
        """None: its server is ready when it is."""
        return ()


@dataclass(frozen=True, slots=True)
class Together:
    """The models of a group, on shared servers."""

    group: Group

    @property
    def owner(self) -> Owner:
        """All of them; what is theirs goes with the last."""
        key = self.group.key
        return metadata.together(unit_key(key), key[1], (model.metadata for model in self.group.members))

    @property
    def models(self) -> tuple[InferenceModel, ...]:
        """The members."""
        return self.group.members

    @property
    def reserved(self) -> str:
        """Never one: a group makes its own slices."""
        return ""

    @property
    def paused(self) -> bool:
        """One that pauses holds the server as it is for all."""
        return any(model.spec.paused for model in self.group.members)

    @property
    def timeout(self) -> int:
        """Of all, one after the other."""
        return min(
            sum(pod_template.startup_seconds(model) for model in self.group.members),
            pod_template.LONGEST_STARTUP_SECONDS,
        )

    def revision_name(self, assignment: Assignment) -> str:
        """That of all their variants there."""
        return server_revision.revision_name(self.group, assignment)

    def freeze(
        self, assignment: Assignment, platform: Platform, *, fetch_image: str, number: int, policy: NamespacePolicy
    ) -> Frozen:
        """That of all their variants there."""
        return server_revision.freeze(
            self.group, assignment, platform, fetch_image=fetch_image, number=number, policy=policy
        )

    def gate(self, deployment: DeploymentFacts | None, frozen: Mapping[str, Frozen]) -> tuple[str, ...]:
        """The models whose revision the update under way changes."""
        if deployment is None:
            return ()
        return server_revision.changed(frozen.get(deployment.previous), frozen.get(deployment.revision))
