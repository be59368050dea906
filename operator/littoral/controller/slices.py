"""The ledger's writes: slices made, bound, re-bound, stamped and released.

A bind carries the slice's uid and resourceVersion. From the moment it is begun until it has ended the store assumes it,
so that no plan made meanwhile gives the same memory away.
"""

from typing import Any, Final

from littoral.api import group
from littoral.api.base import Metadata
from littoral.api.conditions import BOUND, Finding, merge
from littoral.api.gpuslice import Allocation, GPUSlice, GPUSliceSpec, GPUSliceStatus
from littoral.api.inferencemodel import InferenceModel
from littoral.controller import kinds
from littoral.controller.store import Store, utcnow
from littoral.controller.writer import Writer, status_patch
from littoral.placement.results import Assignment
from littoral.triton import metadata

_TIMES: Final = ("bound_at", "started_at", "updated_at")


class Slices:
    """Writes GPUSlices."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def bound(self, model: InferenceModel, assignment: Assignment) -> GPUSlice:
        """The replica's slice, made and bound if it is not; its allocation is what it runs on now."""
        key = (model.metadata.namespace, assignment.slice)
        existing: GPUSlice | None = self._store.get(kinds.SLICES, key)
        if existing is not None and existing.status.allocation is not None and existing.metadata.uid:
            return existing
        granted = assignment.current or assignment.target
        if granted is None:
            raise RuntimeError(f"the plan has nothing for slice {key}")
        desired = _manifest(model, assignment)
        assumed = GPUSlice(
            metadata=existing.metadata if existing is not None else Metadata.model_validate(desired["metadata"]),
            spec=GPUSliceSpec.model_validate(desired["spec"]),
            status=GPUSliceStatus(allocation=granted),
        )
        self._store.assume(kinds.SLICES, key, assumed)
        try:
            if existing is None or not existing.metadata.uid:
                existing = GPUSlice.model_validate(await self._writer.create(kinds.SLICES, desired))
            return await self.bind(existing, granted)
        finally:
            self._store.forget(kinds.SLICES, key)

    async def bind_assumed(self, existing: GPUSlice, granted: Allocation) -> GPUSlice:
        """Bind a slice that is there, counted as bound from the moment the write is begun."""
        key = existing.metadata.key
        assumed = existing.model_copy(update={"status": GPUSliceStatus(allocation=granted)})
        self._store.assume(kinds.SLICES, key, assumed)
        try:
            return await self.bind(existing, granted)
        finally:
            self._store.forget(kinds.SLICES, key)

    async def bind(self, existing: GPUSlice, granted: Allocation) -> GPUSlice:
        """Write the allocation; Conflict where the slice has changed since it was read."""
        now = utcnow()
        allocation = granted.model_copy(update={"bound_at": granted.bound_at or now})
        return await self._write(existing, allocation, bound_finding(allocation))

    async def cut_over(self, existing: GPUSlice, assignment: Assignment) -> GPUSlice:
        """Before the Deployment moves: stamp the time of the cutover and take the plan's figures where they are new."""
        current = existing.status.allocation
        target = assignment.target or current
        if current is None or target is None:
            raise RuntimeError(f"slice {existing.metadata.key} is not bound")
        spec = assignment.request
        if target is not current and spec != existing.spec:
            patch = {
                "metadata": {"annotations": {group.ANNOTATION_ASKED: assignment.asked}},
                "spec": spec.model_dump(mode="json", by_alias=True),
            }
            existing = GPUSlice.model_validate(
                await self._writer.patch(kinds.SLICES, existing.metadata.key, patch, uid=existing.metadata.uid)
            )
        times = {name: getattr(current, name) for name in _TIMES} | {"updated_at": utcnow()}
        allocation = target.model_copy(update=times)
        return await self._write(existing, allocation, bound_finding(allocation))

    async def started(self, existing: GPUSlice) -> GPUSlice:
        """Stamp when the server was first ready: from now on the slice is never taken from it."""
        assert existing.status.allocation is not None  # noqa: S101 - only bound slices start
        patch = {"allocation": {"startedAt": utcnow().isoformat().replace("+00:00", "Z")}}
        body = await self._writer.patch_status(kinds.SLICES, existing.metadata.key, patch, uid=existing.metadata.uid)
        return GPUSlice.model_validate(body)

    async def release(self, key: kinds.Key) -> None:
        """Delete the slice, and with it what runs on it; Conflict where it has changed since the plan was made."""
        existing: GPUSlice | None = self._store.get(kinds.SLICES, key)
        if existing is None or not existing.metadata.uid:
            return
        version = self._store.version(kinds.SLICES, key)
        await self._writer.delete(kinds.SLICES, key, uid=existing.metadata.uid, version=version)

    async def _write(self, existing: GPUSlice, allocation: Allocation, finding: Finding) -> GPUSlice:
        meta = existing.metadata
        merged = merge(existing.status.conditions, [finding], generation=meta.generation, now=utcnow())
        new = GPUSliceStatus(
            observed_generation=meta.generation, phase="Bound", conditions=merged, allocation=allocation
        )
        patch = status_patch(existing.status, new)
        version = self._store.version(kinds.SLICES, meta.key) or meta.resource_version
        body = await self._writer.patch_status(kinds.SLICES, meta.key, patch, uid=meta.uid, version=version)
        return GPUSlice.model_validate(body)


def bound_finding(allocation: Allocation) -> Finding:
    """What a bound slice says of itself."""
    message = f"{allocation.memory} of {allocation.device} on {allocation.node} by {allocation.provider}"
    return Finding(BOUND, "True", "Bound", message)


def _manifest(model: InferenceModel, assignment: Assignment) -> dict[str, Any]:
    """The GPUSlice of one replica, owned by its model."""
    meta = model.metadata
    labels = metadata.labels(meta.name)
    if len(assignment.node) <= 63:
        labels[group.LABEL_NODE] = assignment.node
    return {
        "apiVersion": group.API_VERSION,
        "kind": "GPUSlice",
        "metadata": {
            "name": assignment.slice,
            "namespace": meta.namespace,
            "labels": labels,
            "annotations": {group.ANNOTATION_ASKED: assignment.asked},
            "ownerReferences": metadata.owned_by_model(meta),
        },
        "spec": assignment.request.model_dump(mode="json", by_alias=True),
    }
