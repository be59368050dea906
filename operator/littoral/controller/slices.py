"""The ledger's writes: slices made, bound, re-bound, stamped and released.

A bind carries the slice's uid and resourceVersion. From the moment the visit that makes it begins, before anything is
awaited, the store assumes it, so that no plan made meanwhile gives the same memory away; and where the API server's
answer was lost, until a later visit knows what became of it.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

from littoral.api import group
from littoral.api.base import Metadata
from littoral.api.conditions import BOUND, Finding, merge
from littoral.api.gpuslice import Allocation, GPUSlice, GPUSliceSpec, GPUSliceStatus
from littoral.controller import kinds
from littoral.controller.errors import ApiError, Unavailable
from littoral.controller.kinds import Key
from littoral.controller.store import Store
from littoral.controller.work import utcnow
from littoral.controller.writer import Writer, status_patch
from littoral.placement.results import Assignment
from littoral.triton.metadata import Owner

LOST: Final = "Lost"
"""The phase of a slice whose device has disappeared."""
_TIMES: Final = ("bound_at", "started_at", "updated_at")


class Slices:
    """Reads and writes GPUSlices."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._assumed: dict[Key, set[Key]] = {}
        """By owner: the slices that are counted as bound and are not known to be."""

    def get(self, key: Key) -> GPUSlice | None:
        """The slice as it was last read, whatever is assumed of it; None where there is none that can be read."""
        found = self._store.seen(kinds.SLICES, key)
        return found if isinstance(found, GPUSlice) else None

    def assume(self, owner: Owner, assignments: Iterable[Assignment]) -> None:
        """Count what the plan gives the owner as bound, and no longer what it does not give."""
        doubtful = self._assumed.get(owner.key, set())
        namespace = owner.namespace
        unbound = [
            a for a in assignments if (namespace, a.slice) in doubtful or not self._is_bound((namespace, a.slice))
        ]
        keys = {(namespace, a.slice) for a in unbound}
        self.settle(owner.key, keep=keys)
        self._assumed[owner.key] = keys
        for assignment in unbound:
            key = (namespace, assignment.slice)
            existing = self.get(key)
            desired = _manifest(owner, assignment)
            assumed = GPUSlice(
                metadata=existing.metadata if existing else Metadata.model_validate(desired["metadata"]),
                spec=GPUSliceSpec.model_validate(desired["spec"]),
                status=GPUSliceStatus(allocation=assignment.current or assignment.target),
            )
            self._store.assume(kinds.SLICES, key, assumed)

    def settle(self, owner: Key, *, keep: Collection[Key]) -> None:
        """End what is assumed for the owner, but for `keep`."""
        for key in self._assumed.pop(owner, set()):
            if key not in keep:
                self._store.forget(kinds.SLICES, key)

    async def bound(self, owner: Owner, assignment: Assignment) -> None:
        """Make and bind the replica's slice, unless it is; it has been assumed."""
        key = (owner.namespace, assignment.slice)
        if key not in self._assumed.get(owner.key, ()):
            return
        try:
            await self._bound(owner, assignment)
        except Unavailable:
            raise  # it may have happened: assumed until the next visit
        except ApiError:
            self._known(owner, key)
            raise
        self._known(owner, key)

    def _known(self, owner: Owner, key: Key) -> None:
        self._assumed.get(owner.key, set()).discard(key)
        self._store.forget(kinds.SLICES, key)

    async def _bound(self, owner: Owner, assignment: Assignment) -> None:
        granted = assignment.current or assignment.target
        if granted is None:
            return
        existing = self.get((owner.namespace, assignment.slice))
        if existing is None:
            body = await self._writer.create(kinds.SLICES, _manifest(owner, assignment))
            existing = GPUSlice.model_validate(body)
        if existing.status.allocation is None:  # else it is ours of an earlier attempt whose answer was lost
            await self.bind(existing, granted)

    async def bind(self, existing: GPUSlice, granted: Allocation) -> None:
        """Write the allocation; Conflict where the slice has changed since it was read."""
        allocation = granted.model_copy(update={"bound_at": granted.bound_at or utcnow()})
        await self._write(existing, allocation)

    async def reserve(
        self, existing: GPUSlice, granted: Allocation, finding: Finding, phase: str, *, observed: bool = True
    ) -> None:
        """Bind a slice that a user wrote, or bind it anew; counted as bound from the moment the write is begun.

        `observed` is whether that settles what its present spec asks.
        """
        key = existing.metadata.key
        allocation = granted.model_copy(update={"bound_at": granted.bound_at or utcnow()})
        assumed = existing.model_copy(update={"status": GPUSliceStatus(allocation=allocation)})
        self._store.assume(kinds.SLICES, key, assumed)
        try:
            await self._write(existing, allocation, finding, phase, observed=observed)
        finally:
            self._store.forget(kinds.SLICES, key)

    async def noted(self, key: Key, assignment: Assignment) -> None:
        """Say what the slice's figures were drawn from, where that is new and the figures are not."""
        existing = self.get(key)
        if existing is None or assignment.blocked or assignment.request != existing.spec:
            return
        if existing.metadata.annotations.get(group.ANNOTATION_ASKED, "") == assignment.asked:
            return
        patch = {"metadata": {"annotations": {group.ANNOTATION_ASKED: assignment.asked}}}
        await self._writer.patch(kinds.SLICES, key, patch, uid=existing.metadata.uid)

    async def shown(self, key: Key, lost: str) -> None:
        """Say on a replica's slice that its device has disappeared, or that it is there again."""
        existing = self.get(key)
        if existing is None or existing.status.allocation is None:
            return
        if lost:
            await self._write(existing, existing.status.allocation, lost_finding(lost), LOST)
        elif existing.status.phase == LOST:
            await self._write(existing, existing.status.allocation)

    async def cut_over(self, existing: GPUSlice, assignment: Assignment) -> None:
        """Before the Deployment moves: stamp the time of the cutover and take the plan's figures where they are new."""
        current = existing.status.allocation
        if current is None:
            return
        target = assignment.target or current
        meta = existing.metadata
        asked = meta.annotations.get(group.ANNOTATION_ASKED, "")
        if assignment.target is not None and (assignment.request, assignment.asked) != (existing.spec, asked):
            patch = {
                "metadata": {"annotations": {group.ANNOTATION_ASKED: assignment.asked}},
                "spec": assignment.request.model_dump(mode="json", by_alias=True),
            }
            existing = GPUSlice.model_validate(await self._writer.patch(kinds.SLICES, meta.key, patch, uid=meta.uid))
        times = {name: getattr(current, name) for name in _TIMES} | {"updated_at": utcnow()}
        await self._write(existing, target.model_copy(update=times))

    async def own(self, existing: GPUSlice, owner: Owner) -> None:
        """Write whose it is."""
        meta = existing.metadata
        patch = {"metadata": {"ownerReferences": [dict(reference) for reference in owner.references]}}
        await self._writer.patch(kinds.SLICES, meta.key, patch, uid=meta.uid)

    async def started(self, existing: GPUSlice) -> None:
        """Stamp when the server was first ready: from now on the slice is never taken from it."""
        patch = {"allocation": {"startedAt": utcnow().isoformat().replace("+00:00", "Z")}}
        meta = existing.metadata
        await self._writer.patch_status(kinds.SLICES, meta.key, patch, uid=meta.uid)

    async def release(self, existing: GPUSlice) -> None:
        """Delete the slice, and with it what runs on it; Conflict where it has changed since it was read."""
        meta = existing.metadata
        if meta.uid:
            version = meta.resource_version or None
            await self._writer.delete(kinds.SLICES, meta.key, uid=meta.uid, version=version)

    def _is_bound(self, key: Key) -> bool:
        found = self.get(key)
        return found is not None and found.status.allocation is not None

    async def _write(
        self,
        existing: GPUSlice,
        allocation: Allocation,
        finding: Finding | None = None,
        phase: str = "Bound",
        *,
        observed: bool = True,
    ) -> None:
        meta = existing.metadata
        generation = meta.generation if observed else existing.status.observed_generation or 0
        findings = [finding or bound_finding(allocation)]
        merged = merge(existing.status.conditions, findings, generation=generation, now=utcnow())
        new = GPUSliceStatus(observed_generation=generation, phase=phase, conditions=merged, allocation=allocation)
        patch = status_patch(existing.status, new)
        if not patch:
            return
        version = meta.resource_version or None
        await self._writer.patch_status(kinds.SLICES, meta.key, patch, uid=meta.uid, version=version)


def bound_finding(allocation: Allocation) -> Finding:
    """What a bound slice says of itself."""
    message = f"{allocation.memory} of {allocation.device} on {allocation.node} by {allocation.provider}"
    return Finding(BOUND, "True", "Bound", message)


def lost_finding(sentence: str) -> Finding:
    """What a slice says whose device has disappeared from a node that is connected."""
    return Finding(BOUND, "False", "DeviceLost", sentence)


def _manifest(owner: Owner, assignment: Assignment) -> dict[str, Any]:
    """The GPUSlice of one replica."""
    labels = dict(owner.labels)
    if len(assignment.node) <= 63:
        labels[group.LABEL_NODE] = assignment.node
    return {
        "apiVersion": group.API_VERSION,
        "kind": "GPUSlice",
        "metadata": {
            "name": assignment.slice,
            "namespace": owner.namespace,
            "labels": labels,
            "annotations": {group.ANNOTATION_ASKED: assignment.asked},
            "ownerReferences": [dict(reference) for reference in owner.references],
        },
        "spec": assignment.request.model_dump(mode="json", by_alias=True),
    }
