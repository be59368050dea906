"""One visit to one EdgeNode: it is made for every Node that discovery selects, and its status says what was found.

Its spec is the user's: the operator writes none after creation.
"""

from littoral.api import group
from littoral.api.conditions import CAPACITY_KNOWN, Finding, merge
from littoral.api.edgenode import DeviceStatus, EdgeNode, EdgeNodeStatus
from littoral.api.quantity import from_mib, short_mib
from littoral.api.workload import NodeFacts
from littoral.autonomy.connectivity import connected
from littoral.controller.store import utcnow
from littoral.placement.results import DeviceLoad, NodePlan


def manifest(name: str) -> dict[str, object]:
    """The EdgeNode of a discovered Node, with an empty spec."""
    labels = {group.LABEL_MANAGED_BY: group.MANAGER, group.LABEL_PART_OF: group.MANAGER}
    return {
        "apiVersion": group.API_VERSION,
        "kind": "EdgeNode",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
    }


def status(edge: EdgeNode, node: NodeFacts | None, plan: NodePlan | None) -> EdgeNodeStatus:
    """What the EdgeNode shall say. A Node that is missing keeps the devices that were last seen."""
    generation = edge.metadata.generation
    if node is None or plan is None:
        missing = Finding(CAPACITY_KNOWN, "Unknown", "NodeMissing", f"there is no Node {edge.metadata.name}")
        findings = (connected(node), missing)
        return edge.status.model_copy(
            update={
                "observed_generation": generation,
                "conditions": merge(edge.status.conditions, findings, generation=generation, now=utcnow()),
            }
        )
    accelerators = [load for load in plan.devices if not load.device.profile.is_cpu]
    shown = accelerators or list(plan.devices)
    return EdgeNodeStatus(
        observed_generation=generation,
        conditions=merge(
            edge.status.conditions, (connected(node), *plan.discovery.findings), generation=generation, now=utcnow()
        ),
        pool=plan.discovery.pool,
        site=plan.discovery.site,
        accelerators=", ".join(f"{load.device.count} x {load.device.profile.name}" for load in accelerators) or "none",
        free=f"{short_mib(sum(d.free for d in shown))}/{short_mib(sum(d.device.total_memory for d in shown))}",
        devices=tuple(_device(load) for load in plan.devices),
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
    )
