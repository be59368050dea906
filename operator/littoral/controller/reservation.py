"""One visit to a GPUSlice that a user wrote: it is bound to what the plan found, or says why it waits.

While a model serves on it (sliceRef), other figures are the model's to take over, through the gates of an update: the
pod restarts for them.
"""

from littoral.api.conditions import BOUND, Finding, merge
from littoral.api.gpuslice import Allocation, GPUSlice, GPUSliceStatus
from littoral.api.quantity import to_mib
from littoral.controller import kinds
from littoral.controller.slices import LOST, Slices, lost_finding
from littoral.controller.store import Store
from littoral.controller.work import Refused, utcnow
from littoral.controller.writer import Writer, status_patch
from littoral.placement.results import Plan, SlicePlan
from littoral.triton.replica import same_grant


class Reservations:
    """Binds the slices that no model owns."""

    def __init__(self, store: Store, writer: Writer, slices: Slices) -> None:
        self._store = store
        self._writer = writer
        self._slices = slices

    async def reconcile(self, key: kinds.Key, plan: Plan) -> bool:
        """Write what the plan says of the slice, where that is not what it says already.

        Whether it was bound by that: then whoever is to serve on it can begin.
        """
        existing: GPUSlice | Refused | None = self._store.get(kinds.SLICES, key)
        mine = plan.slices.get(key)
        if not isinstance(existing, GPUSlice) or mine is None or existing.metadata.deletion_timestamp is not None:
            return False
        if mine.allocation is None:
            await self._waits(existing, mine)
        elif self._enough(existing, mine):
            await self._reserve(existing, mine, mine.allocation, in_use=bool(served(key, plan)))
            return existing.status.allocation is None
        return False

    async def _reserve(self, existing: GPUSlice, mine: SlicePlan, planned: Allocation, *, in_use: bool) -> None:
        """Bind it. What is bound keeps its times; under a server it keeps its figures, until that takes others over."""
        bound, message = existing.status.allocation, mine.message
        same = bound is None or same_grant(bound, planned)
        if bound is not None and not same and in_use:
            message = f"{bound.memory} of {bound.device} on {bound.node}; its server is to take over {planned.memory}"
        keeps = bound is not None and (same or in_use)
        finding = lost_finding(message) if mine.lost else Finding(BOUND, "True", mine.reason, message)
        await self._slices.reserve(
            existing,
            bound if keeps and bound is not None else planned,
            finding,
            LOST if mine.lost else "Bound",
            observed=mine.judged and (same or not in_use),
        )

    def _enough(self, existing: GPUSlice, mine: SlicePlan) -> bool:
        """Whether the plan is for this spec: a larger one may have come meanwhile. What is bound stands anyway."""
        if existing.status.allocation is not None or mine.allocation is None:
            return True
        spec = existing.spec
        return to_mib(mine.allocation.memory) >= to_mib(spec.memory) and mine.allocation.compute >= spec.compute

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


def served(key: kinds.Key, plan: Plan) -> list[kinds.Key]:
    """The models that the plan has on the slice."""
    return [
        model
        for model, mine in plan.models.items()
        if model[0] == key[0] and any(assignment.slice == key[1] for assignment in mine.assignments)
    ]
