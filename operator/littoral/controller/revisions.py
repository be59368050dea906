"""A tenant's ControllerRevisions: what its revisions were resolved to, frozen when first needed and read ever after."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.profile import Platform
from littoral.api.base import Metadata
from littoral.api.inferencemodel import InferenceModel
from littoral.controller import kinds
from littoral.controller.kinds import Child
from littoral.controller.store import Store
from littoral.controller.writer import Writer
from littoral.placement.results import Assignment
from littoral.triton import namespace_policy, prefetch_job, revision
from littoral.triton.errors import Unservable
from littoral.triton.replica import Replica
from littoral.triton.revision import Frozen
from littoral.triton.tenant import Tenant

_HISTORY: Final = 10
"""Kept of a tenant beyond those in use, as Deployments keep ReplicaSets by default."""


class Revisions:
    """Reads and writes them."""

    def __init__(self, store: Store, writer: Writer, *, catalogue: Callable[[], Catalogue], fetch_image: str) -> None:
        self._store = store
        self._writer = writer
        self._catalogue = catalogue
        self._fetch_image = fetch_image

    def frozen(self, tenant: Tenant) -> dict[str, Frozen]:
        """The tenant's revisions by name; one that cannot be read, being somebody else's, is none."""
        found = {}
        for name, child in self._children(tenant).items():
            try:
                found[name] = revision.read(child.live)
            except (KeyError, TypeError, ValueError):
                continue
        return found

    def given_up(self, tenant: Tenant) -> dict[str, str]:
        """The revisions given up, with why, as the status remembers them; those that nothing keeps are forgotten."""
        noted: dict[str, str] = {}
        for model in tenant.models:
            latest = self._store.get(kinds.MODELS, model.metadata.key)
            noted |= (latest if isinstance(latest, InferenceModel) else model).status.failed_revisions
        kept = self._children(tenant)
        return {name: why for name, why in noted.items() if name in kept}

    async def freeze(self, tenant: Tenant, assignments: Iterable[Assignment]) -> list[Unservable]:
        """Freeze what is wanted and is not yet, with what is present of catalogue, fetch image and policy.

        What cannot be is returned, with why.
        """
        children = self._children(tenant)
        wanted = {tenant.revision_name(assignment): assignment for assignment in assignments}
        missing = {name: assignment for name, assignment in sorted(wanted.items()) if name not in children}
        namespace = self._store.get(kinds.NAMESPACES, ("", tenant.owner.namespace))
        if not missing or not isinstance(namespace, Metadata):
            return []  # one that was not seen yet may ask for signatures; when it is, its models are visited
        number = max((int(child.live.get("revision", 0)) for child in children.values()), default=0)
        refused = []
        for assignment in missing.values():
            number += 1
            try:
                new = self._resolved(tenant, assignment, namespace, number)
            except Unservable as error:
                refused.append(error)
                continue
            await self._writer.create(kinds.REVISIONS, revision.controller_revision(tenant.owner, new))
        return refused

    def _resolved(self, tenant: Tenant, assignment: Assignment, namespace: Metadata, number: int) -> Frozen:
        policy = namespace_policy.read(namespace.name, namespace.labels, namespace.annotations)
        profile = self._catalogue().get(assignment.profile)
        if profile is None:
            raise Unservable("UnknownProfile", f"the catalogue has no profile {assignment.profile!r} any more")
        platform = Platform(profile, profile.stack_named(assignment.stack) or profile.stacks[0])
        return tenant.freeze(assignment, platform, fetch_image=self._fetch_image, number=number, policy=policy)

    def permit(self, tenant: Tenant, frozen: Frozen) -> None:
        """Raise Unservable where the namespace's present policy forbids to begin what was frozen earlier."""
        namespace = self._store.get(kinds.NAMESPACES, ("", tenant.owner.namespace))
        if isinstance(namespace, Metadata) and namespace_policy.requires_signature(namespace.labels):
            namespace_policy.permit(namespace.name, namespace.labels, prefetch_job.request(frozen).models)

    def barred(
        self, tenant: Tenant, replicas: Iterable[Replica], frozen: Mapping[str, Frozen]
    ) -> dict[str, Unservable | None]:
        """The revisions to which no replica may be updated now, with why; None: only because it is yet to be frozen."""
        found: dict[str, Unservable | None] = {}
        for name in sorted({replica.wanted for replica in replicas if replica.connected and replica.revised}):
            if name not in frozen:
                found[name] = None
                continue
            try:
                prefetch_job.request(frozen[name])
                self.permit(tenant, frozen[name])
            except Unservable as error:
                found[name] = error
        return found

    async def forget_old(self, tenant: Tenant, replicas: Iterable[Replica]) -> None:
        """Delete the oldest that nothing runs, wants or would be put back to."""
        children = self._children(tenant)
        if len(children) <= _HISTORY:
            return
        used: set[str] = set()
        for replica in replicas:
            used.add(replica.wanted)
            if replica.deployment is not None:
                used |= {replica.deployment.revision, replica.deployment.previous}
        unused = [child for name, child in children.items() if name not in used]
        unused.sort(key=lambda child: int(child.live.get("revision", 0)), reverse=True)
        for child in unused[_HISTORY:]:
            await self._writer.delete(kinds.REVISIONS, child.metadata.key, uid=child.metadata.uid)

    def _children(self, tenant: Tenant) -> dict[str, Child]:
        children = self._store.of_owner(kinds.REVISIONS, tenant.owner.key)
        return {name: child for name, child in children.items() if isinstance(child, Child)}


def fallbacks(frozen: Mapping[str, Frozen], given_up: Iterable[str]) -> dict[str, str]:
    """For each revision given up: the newest of the same variant and profile that was not."""
    bad = set(given_up)
    found = {}
    for name in bad & frozen.keys():
        mine = frozen[name]
        same = [f for f in frozen.values() if (f.variant, f.profile) == (mine.variant, mine.profile)]
        good = [f for f in same if f.name not in bad and f.number < mine.number]
        if good:
            found[name] = max(good, key=lambda f: f.number).name
    return found
