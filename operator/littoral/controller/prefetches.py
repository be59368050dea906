"""The prefetch Jobs of a tenant's slices: read, made, replaced, noted, deleted; what is due is decided elsewhere.

A Job is never changed but by that note: its template is immutable, and another revision has another Job.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from littoral.api import group
from littoral.api.base import Metadata
from littoral.api.workload import DeploymentFacts, JobFacts, NodeFacts
from littoral.controller import kinds
from littoral.controller.kinds import Key
from littoral.controller.store import Store
from littoral.controller.work import utcnow
from littoral.controller.writer import Writer
from littoral.triton import namespace_policy, prefetch_job
from littoral.triton.errors import Unservable
from littoral.triton.prefetch import Prefetch, identity
from littoral.triton.prefetch_job import Slice
from littoral.triton.prefetch_steps import JobStep
from littoral.triton.replica import Replica
from littoral.triton.revision import Frozen
from littoral.triton.tenant import Tenant


class Prefetches:
    """Reads and writes them."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def of(  # noqa: PLR0917 (where, what is there, what is to be)
        self,
        tenant: Tenant,
        key: Key,
        node: NodeFacts | None,
        live: DeploymentFacts | None,
        wanted: str,
        frozen: Mapping[str, Frozen],
    ) -> Prefetch:
        """What is there of a slice's prefetches, and what of the wanted revision its update needs."""
        jobs, pods = self._store.prefetches_of(key)
        # Were it updated now, these would be the models that must answer.
        after = replace(live, previous=live.revision, revision=wanted) if live is not None else None
        needed = set(tenant.gate(after, frozen))
        names = tuple(model.model_name for model in tenant.models if model.metadata.name in needed)
        room = prefetch_job.room(*self._told(key[0], node.name)) if jobs and node is not None else ""
        return Prefetch(jobs, pods, identity(node), size(frozen.get(wanted)), names, room)

    def writes(
        self,
        tenant: Tenant,
        replicas: Sequence[Replica],
        steps: Sequence[JobStep],
        frozen: Mapping[str, Frozen],
        *,
        permit: Callable[[Tenant, Frozen], None],
    ) -> list[Awaitable[Any]]:
        """The steps decided on; `permit` raises Unservable where a revision may not be brought to a node any more."""
        places = {replica.assignment.slice: replica for replica in replicas}
        writes: list[Awaitable[Any]] = []
        for step in steps:
            if step.kind in {"Prefetch", "Replace"}:
                if step.revision in frozen:
                    writes.append(self._make(tenant, places[step.slice], frozen, step, permit))
            elif step.job is not None and step.kind == "Interrupt":
                writes.append(self._note(step.job))
            elif step.job is not None:
                writes.append(self._forget(step.job, places[step.slice].assignment.node))
        return writes

    async def vacate(self, key: Key, model: str) -> None:
        """Delete what a model has on a slice of its user's, which it leaves; Jobs of its own slices go with those."""
        for job in self._store.prefetches_of(key)[0]:
            if job.model == model:
                await self._delete(job)

    async def _make(
        self,
        tenant: Tenant,
        replica: Replica,
        known: Mapping[str, Frozen],
        step: JobStep,
        permit: Callable[[Tenant, Frozen], None],
    ) -> None:
        owner, assignment, frozen = tenant.owner, replica.assignment, known[step.revision]
        if (
            replica.deployment is None or replica.deployment.revision != frozen.name
        ):  # else room is made for what it is at
            permit(tenant, frozen)
        found = self._store.seen(kinds.SLICES, (owner.namespace, assignment.slice))
        meta: Metadata | None = getattr(found, "metadata", None)
        if meta is None or not meta.uid or not self._connected(assignment.node):
            return  # deleted or gone offline meanwhile: the plan sees to it
        # A slice that a user wrote outlives the model; the Job must not.
        owners = owner.references if assignment.slice == tenant.reserved else ()
        slices, quota = self._told(owner.namespace, assignment.node)
        body = prefetch_job.build(
            owner,
            frozen,
            assignment.node,
            of=Slice(name=assignment.slice, uid=meta.uid, owners=owners),
            slices=slices,
            listed=int(utcnow().timestamp()),
            back=known.get(_answered(replica)),
            quota=quota,
            made_on=replica.prefetch.node,
            attempt=step.attempt,
        )
        if step.job is not None:
            await self._delete(step.job)
        await self._writer.create(kinds.JOBS, body)

    async def _note(self, job: JobFacts) -> None:
        patch = {"metadata": {"annotations": {group.ANNOTATION_INTERRUPTED: "true"}}}
        await self._writer.patch(kinds.JOBS, (job.namespace, job.name), patch, uid=job.uid)

    async def _forget(self, job: JobFacts, node: str) -> None:
        if self._connected(node):
            await self._delete(job)

    async def _delete(self, job: JobFacts) -> None:
        await self._writer.delete(kinds.JOBS, (job.namespace, job.name), uid=job.uid)

    def _connected(self, node: str) -> bool:
        facts = self._store.node(node)
        return facts is not None and facts.connected

    def _told(self, namespace: str, node: str) -> tuple[list[str], int | None]:
        """What a Job on the node is told by which its fetch makes room: the namespace's slices there, and its quota."""
        here = [each.metadata.name for each in self._store.slices_on(node) if each.metadata.namespace == namespace]
        return here, self._quota(namespace)

    def _quota(self, namespace: str) -> int | None:
        """The present one; None where the namespace says nothing that can be read: then the revision's own holds."""
        found = self._store.get(kinds.NAMESPACES, ("", namespace))
        if not isinstance(found, Metadata):
            return None
        try:
            return namespace_policy.read(namespace, found.labels, found.annotations).quota
        except Unservable:
            return None


def _answered(replica: Replica) -> str:
    """The revision that answers on a slice, or did last: what it is put back to when an update fails."""
    live = replica.deployment
    if live is None:
        return ""
    return live.revision if replica.ready else live.previous


def size(frozen: Frozen | None) -> int | None:
    """How many bytes a revision has to fetch; None where nobody says, or a later version did in words of its own."""
    try:
        return None if frozen is None else prefetch_job.size(frozen)
    except Unservable:
        return None
