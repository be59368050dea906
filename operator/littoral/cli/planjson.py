"""What `littoral plan --json` prints. The keys are stable: new ones may come, none goes or changes its meaning.

Memory is MiB, compute percent of one device. `changes` is null where nothing was bound before.
"""

from collections.abc import Sequence
from typing import Any

from littoral.api.gpuslice import Allocation
from littoral.cli.changes import Change
from littoral.cli.manifests import World
from littoral.cli.report import waiting
from littoral.cli.simulation import Outcome
from littoral.placement.ledger import mib
from littoral.placement.results import Assignment, DeviceLoad, ModelPlan, NodePlan, SlicePlan
from littoral.placement.snapshot import Key


def document(
    world: World, outcome: Outcome, changed: Sequence[Change] | None, node: str | None = None
) -> dict[str, Any]:
    """The whole output; of one node alone where `node` names it."""
    plan = outcome.plan
    models = [
        _model(key, its, node) | {"group": outcome.snapshot.models[key].spec.server.group}
        for key, its in sorted(plan.models.items())
    ]
    slices = [_reservation(key, mine) for key, mine in sorted(plan.slices.items()) if node in {None, mine.node}]
    return {
        "models": [each for each in models if node is None or each["replicas"]],
        "reservations": slices,
        "waiting": [{"object": owner, "message": message} for owner, message in waiting(outcome)],
        "changes": None if changed is None else [_change(each) for each in changed if _touches(each, node)],
        "nodes": [
            _node(name, its, world.assumed.get(name, ""))
            for name, its in sorted(plan.nodes.items())
            if node in {None, name}
        ],
        "notes": list(world.notes),
    }


def _model(key: Key, its: ModelPlan, node: str | None) -> dict[str, Any]:
    return {
        "namespace": key[0],
        "name": key[1],
        "wanted": its.wanted,
        "waiting": its.waiting,
        "held": list(its.held),
        "reason": its.reason,
        "message": its.message,
        "replicas": [_replica(each) for each in its.assignments if node in {None, each.node}],
    }


def _replica(each: Assignment) -> dict[str, Any]:
    return {
        "slice": each.slice,
        "node": each.node,
        "device": each.device,
        "profile": each.profile,
        "stack": each.stack,
        "variant": each.variant,
        "why": each.why,
        "blocked": each.blocked,
        "granted": _granted(each.target or each.current),
    }


def _granted(allocation: Allocation | None) -> dict[str, Any] | None:
    if allocation is None:
        return None
    return {
        "memory": mib(allocation.memory),
        "compute": allocation.compute,
        "provider": allocation.provider,
        "isolation": allocation.isolation,
        "resources": dict(allocation.resources),
    }


def _reservation(key: Key, mine: SlicePlan) -> dict[str, Any]:
    return {
        "namespace": key[0],
        "name": key[1],
        "node": mine.node,
        "device": mine.device,
        "reason": mine.reason,
        "message": mine.message,
        "lost": mine.lost,
        "granted": _granted(mine.allocation),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "namespace": change.namespace,
        "object": change.owner,
        "action": change.action,
        "from": _place(change.before),
        "to": _place(change.after),
        "cause": change.cause,
    }


def _place(allocation: Allocation | None) -> dict[str, Any] | None:
    if allocation is None:
        return None
    return {"node": allocation.node, "device": allocation.device, **(_granted(allocation) or {})}


def _touches(change: Change, node: str | None) -> bool:
    return node is None or any(each and each.node == node for each in (change.before, change.after))


def _node(name: str, its: NodePlan, assumed: str) -> dict[str, Any]:
    findings = its.discovery.findings
    return {
        "name": name,
        "pool": its.discovery.pool,
        "site": its.discovery.site,
        "connected": its.connected,
        "assumed": assumed,
        "problems": [{"reason": each.reason, "message": each.message} for each in findings if each.status != "True"],
        "devices": [_device(load) for load in its.devices],
    }


def _device(load: DeviceLoad) -> dict[str, Any]:
    device = load.device
    return {
        "id": device.id,
        "profile": device.profile.name,
        "family": device.profile.family,
        "provider": device.provider,
        "count": device.count,
        "source": device.source,
        "stack": device.stack.name,
        "memory": {"total": device.total_memory, "granted": load.memory, "free": load.free},
        "compute": {"total": 100 * device.count, "granted": load.compute},
        "units": {"resource": device.resource, "total": device.units, "granted": load.units},
        "slices": load.slices,
        "overcommitted": load.overcommitted,
    }
