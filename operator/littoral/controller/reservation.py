"""One visit to a GPUSlice that a user wrote: it is bound to what the plan found, or says why it waits.

While a model serves on it (sliceRef), other figures are the model's to take over, through the gates of an update: the
pod restarts for them.
"""

from littoral.api.conditions import BOUND, Finding, merge
from littoral.api.gpuslice import GPUSlice, GPUSliceStatus
from littoral.api.quantity import to_mib
from littoral.controller import kinds
from littoral.controller.slices import LOST, Slices, lost_finding
from littoral.controller.store import Store
from littoral.controller.work import Refused, utcnow
from littoral.controller.writer import Writer, status_patch
from littoral.placement.results import Plan, SlicePlan


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
        if mine.allocation is None:
            await self._waits(existing, mine)
        elif self._enough(existing, mine):
            allocation = mine.allocation
            if self._in_use(key, plan) and existing.status.allocation is not None:
                allocation = existing.status.allocation
            finding = lost_finding(mine.message) if mine.lost else Finding(BOUND, "True", mine.reason, mine.message)
            await self._slices.reserve(existing, allocation, finding, LOST if mine.lost else "Bound")

    def _enough(self, existing: GPUSlice, mine: SlicePlan) -> bool:
        """Whether the plan is for this spec: a larger one may have come meanwhile. What is bound stands anyway."""
        if existing.status.allocation is not None or mine.allocation is None:
            return True
        spec = existing.spec
        return to_mib(mine.allocation.memory) >= to_mib(spec.memory) and mine.allocation.compute >= spec.compute

    def _in_use(self, key: kinds.Key, plan: Plan) -> bool:
        """Whether a model serves on it."""
        return any(
            model_key[0] == key[0] and any(assignment.slice == key[1] for assignment in mine.assignments)
            for model_key, mine in plan.models.items()
        )

    async def _waits(self, existing: GPUSlice, mine: SlicePlan) -> None:
        finding = Finding(BOUND, "False", mine.reason, mine.message)
        meta = existing.metadata
        new = GPUSliceStatus(
            observed_generation=meta.generation,
            phase="Pending",
            conditions=merge(existing.status.conditions, [finding], generation=meta.generation, now=utcnow()),
        )
        patch = status_patch(existing.status, new)
        if patch:
            await self._writer.patch_status(kinds.SLICES, meta.key, patch, uid=meta.uid, version=meta.resource_version)
