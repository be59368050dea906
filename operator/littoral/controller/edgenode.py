"""One visit to one EdgeNode: it is made for every Node that discovery selects, and its status says what was found.

Its spec is the user's: the operator writes none after creation.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.discovery import selected
from littoral.accelerators.profile import Tops
from littoral.api import group
from littoral.api.base import Metadata
from littoral.api.conditions import CAPACITY_KNOWN, OVERCOMMITTED, Finding, merge
from littoral.api.edgenode import DeviceStatus, EdgeNode, EdgeNodeStatus, Exclusion
from littoral.api.gpuslice import GPUSlice
from littoral.api.quantity import from_mib, short_mib
from littoral.api.workload import NodeFacts
from littoral.autonomy.connectivity import connected
from littoral.controller import kinds
from littoral.controller.store import Store
from littoral.controller.work import PLAN, Refused, Work, utcnow
from littoral.controller.workqueue import Priority, WorkQueue
from littoral.controller.writer import Writer, status_patch
from littoral.placement import exclusions
from littoral.placement.exclusions import Tenant
from littoral.placement.results import DeviceLoad, NodePlan, Plan

_HOLD: Final = 1.0
"""Seconds between two statuses of one EdgeNode: a hundred slices bound to it make one write."""


class EdgeNodes:
    """Makes EdgeNodes and writes their statuses."""

    def __init__(
        self,
        store: Store,
        queue: WorkQueue[Work],
        writer: Writer,
        *,
        catalogue: Callable[[], Catalogue],
        refusal_grace: float,
    ) -> None:
        self._store = store
        self._queue = queue
        self._writer = writer
        self._catalogue = catalogue
        self._grace = refusal_grace
        self._written: dict[str, float] = {}

    async def reconcile(self, name: str, plan: Plan) -> float | None:
        """Write the status where it changed; the seconds after which it wants to be looked at again."""
        node = self._store.node(name)
        edge: EdgeNode | Refused | None = self._store.get(kinds.EDGENODES, ("", name))
        if edge is None:
            self._written.pop(name, None)
            await self._make(name, node)
            return None
        mine = plan.nodes.get(name)
        if isinstance(edge, Refused) or (node is not None and (mine is None or not mine.discovery.findings)):
            return None  # the plan that knows the Node enqueues it
        excluded, again = self._exclusions(edge, node)
        patch = status_patch(edge.status, status(edge, node, mine, excluded))
        if not patch:
            return again
        wait = self._written.get(name, -_HOLD) + _HOLD - time.monotonic()
        if wait > 0:
            return wait
        await self._writer.patch_status(kinds.EDGENODES, ("", name), patch, uid=edge.metadata.uid)
        self._written[name] = time.monotonic()
        if excluded != edge.status.exclusions:
            self._queue.add(PLAN, Priority.HIGH)
        return again

    async def _make(self, name: str, node: NodeFacts | None) -> None:
        if node is None or not selected(node, self._catalogue()):
            return
        await self._writer.create(kinds.EDGENODES, manifest(name))
        self._queue.add(PLAN, Priority.HIGH)
        # One that is made again may find the plan as it was.
        self._queue.add(Work("EdgeNode", "", name), Priority.HIGH)

    def _exclusions(self, edge: EdgeNode, node: NodeFacts | None) -> tuple[tuple[Exclusion, ...], float | None]:
        """What is excluded, and when that is to be looked at again. What is offline cannot be refused anything."""
        before = edge.status.exclusions
        if node is None or not node.connected:
            return before, None
        now, tenants = utcnow(), [self._tenant(slice_) for slice_ in self._store.slices_on(edge.metadata.name)]
        revised = exclusions.revise(before, tenants, grace=self._grace, now=now)
        return revised, exclusions.next_change(revised, tenants, self._grace, now)

    def _tenant(self, slice_: GPUSlice) -> Tenant:
        assert slice_.status.allocation is not None  # noqa: S101 (the store's index is of bound slices)
        return Tenant(slice_.status.allocation, self._store.pods_of(slice_.metadata.key))


def in_force(store: Store, catalogue: Catalogue) -> dict[str, EdgeNode]:
    """The EdgeNodes by name, an empty one included for each Node whose own is yet to be made.

    Else the first plans after an installation would give away the few nodes that users described beforehand.
    """
    found: dict[str, EdgeNode] = {key[1]: edge for key, edge in store.values(kinds.EDGENODES).items()}
    for (_, name), node in store.values(kinds.NODES).items():
        if store.get(kinds.EDGENODES, ("", name)) is None and selected(node, catalogue):
            found[name] = EdgeNode(metadata=Metadata(name=name))
    return found


def manifest(name: str) -> dict[str, object]:
    """The EdgeNode of a discovered Node, with an empty spec."""
    labels = {group.LABEL_MANAGED_BY: group.MANAGER, group.LABEL_PART_OF: group.MANAGER}
    return {
        "apiVersion": group.API_VERSION,
        "kind": "EdgeNode",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
    }


def status(
    edge: EdgeNode, node: NodeFacts | None, plan: NodePlan | None, excluded: Iterable[Exclusion] = ()
) -> EdgeNodeStatus:
    """What the EdgeNode shall say. A Node that is missing keeps the devices that were last seen."""
    generation = edge.metadata.generation
    if node is None or plan is None:
        missing = Finding(CAPACITY_KNOWN, "Unknown", "NodeMissing", f"there is no Node {edge.metadata.name}")
        unseen = (connected(node), missing)
        return edge.status.model_copy(
            update={
                "observed_generation": generation,
                "conditions": merge(edge.status.conditions, unseen, generation=generation, now=utcnow()),
            }
        )
    findings = [connected(node), *plan.discovery.findings]
    over = [load.device.id for load in plan.devices if load.overcommitted]
    if over:
        findings.append(Finding(OVERCOMMITTED, "True", "CapacityShrank", _overcommitted(over)))
    accelerators = [load for load in plan.devices if not load.device.profile.is_cpu]
    shown = accelerators or list(plan.devices)
    return EdgeNodeStatus(
        observed_generation=generation,
        conditions=merge(edge.status.conditions, findings, generation=generation, now=utcnow()),
        pool=plan.discovery.pool,
        site=plan.discovery.site,
        accelerators=", ".join(f"{load.device.count} x {load.device.profile.name}" for load in accelerators) or "none",
        free=f"{short_mib(sum(d.free for d in shown))}/{short_mib(sum(d.device.total_memory for d in shown))}",
        devices=tuple(_device(load) for load in plan.devices),
        exclusions=tuple(excluded),
        caches=edge.status.caches,  # written elsewhere (caches.py), and never from here
    )


def _overcommitted(devices: list[str]) -> str:
    return (
        f"{', '.join(devices)}: more is bound than there is now; what serves goes on, nothing new is placed there: "
        "delete or shrink models, or give the node its capacity back"
    )


def _device(load: DeviceLoad) -> DeviceStatus:
    device = load.device
    return DeviceStatus(
        id=device.id,
        profile=device.profile.name,
        family=device.profile.family,
        provider=device.provider,
        source=device.source,
        memory=from_mib(device.total_memory),
        granted=from_mib(load.memory),
        free=from_mib(load.free),
        compute_granted=load.compute,
        units=f"{load.units}/{device.units}" if device.resource is not None else "",
        tops=", ".join(_tops(each) for each in device.tops)[:64],
        stack=device.stack.name,
        runtime_class_name=device.runtime_class,
    )


def _tops(tops: Tops) -> str:
    return f"{tops.value:g} {tops.precision.upper()} TOPS {tops.sparsity}"
