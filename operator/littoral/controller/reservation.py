"""One visit to a GPUSlice that a user wrote: it is bound to what the plan found, or says why it waits."""

from littoral.api.conditions import BOUND, Finding, merge
from littoral.api.gpuslice import GPUSlice, GPUSliceStatus
from littoral.api.quantity import to_mib
from littoral.controller import kinds
from littoral.controller.slices import Slices
from littoral.controller.store import Refused, Store, utcnow
from littoral.controller.writer import Writer, status_patch
from littoral.placement.results import Plan


class Reservations:
    """Binds the slices that no model owns."""

    def __init__(self, store: Store, writer: Writer, slices: Slices) -> None:
        self._store = store
        self._writer = writer
        self._slices = slices

    async def reconcile(self, key: kinds.Key, plan: Plan) -> None:
        """Write what the plan says of the slice, where that is not what it says already."""
        existing: GPUSlice | Refused | None = self._store.get(kinds.SLICES, key)
        mine = plan.slices.get(key)
        if not isinstance(existing, GPUSlice) or mine is None or existing.metadata.deletion_timestamp is not None:
            return
        if mine.allocation is not None:
            enough = to_mib(mine.allocation.memory) >= to_mib(
                existing.spec.memory
            )  # else it was planned for another spec
            if existing.status.allocation is None and enough:
                await self._slices.reserve(existing, mine.allocation)
            return
        finding = Finding(BOUND, "False", mine.reason, mine.message)
        generation = existing.metadata.generation
        new = GPUSliceStatus(
            observed_generation=generation,
            phase="Pending",
            conditions=merge(existing.status.conditions, [finding], generation=generation, now=utcnow()),
        )
        patch = status_patch(existing.status, new)
        if patch:
            meta = existing.metadata
            await self._writer.patch_status(kinds.SLICES, key, patch, uid=meta.uid, version=meta.resource_version)
