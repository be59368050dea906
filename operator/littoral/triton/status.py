"""An InferenceModel's status as a function of what is wanted, what is placed and what its pods say.

Ready is True when every connected placed node answers at the wanted revision and every offline one answered, at
whatever revision it then had, when last seen: a node that is offline by nature of its place must hold no GitOps wave.
With all placed nodes offline Ready keeps the value it had.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from littoral.api import conditions
from littoral.api.conditions import Finding, Status
from littoral.api.inferencemodel import (
    MAX_NODES_LISTED,
    Failure,
    InferenceModel,
    InferenceModelStatus,
    NodeServing,
)
from littoral.modelstore.errors import REASONS
from littoral.placement.results import ModelPlan
from littoral.triton.diagnosis import JOINING
from littoral.triton.prefetch import Seen
from littoral.triton.replica import Replica
from littoral.triton.rollout import Decision
from littoral.triton.service import selector, url


@dataclass(frozen=True, slots=True)
class Problem:
    """What kept the operator from writing a child: NameConflict and the like."""

    reason: str
    message: str
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """All that a model's status is drawn from."""

    model: InferenceModel
    plan: ModelPlan
    replicas: Sequence[Replica]
    decision: Decision
    failed: Mapping[str, str]
    revision: str
    problem: Problem | None = None


def status(view: View, now: datetime) -> InferenceModelStatus:
    """The whole status, with the transition times of what did not change kept."""
    model, replicas = view.model, view.replicas
    connected = [r for r in replicas if r.connected]
    findings = [_ready(view), _placed(view), _fetched(connected), _loaded(connected), _nodes_connected(replicas)]
    stalled = _stalled(view)
    if stalled is not None:
        findings.append(stalled)
    ready = findings[0]
    caught_up = ready.status == "True" and not [r for r in replicas if not r.updated]
    return InferenceModelStatus(
        observed_generation=model.metadata.generation,
        conditions=conditions.merge(model.status.conditions, findings, generation=model.metadata.generation, now=now),
        url=url(model),
        revision=view.revision,
        last_good_revision=view.revision if caught_up and replicas else model.status.last_good_revision,
        failed_revisions=view.failed,
        replicas=len(replicas),
        wanted_replicas=view.plan.wanted,
        ready_replicas=sum(r.serving for r in connected),
        updated_replicas=sum(r.updated for r in replicas),
        offline_replicas=len(replicas) - len(connected),
        selector=selector(model),
        nodes=tuple(_node(view, r) for r in sorted(replicas, key=_listing_order)[:MAX_NODES_LISTED]),
        last_failure=_last_failure(view, ready, now),
    )


def _listing_order(replica: Replica) -> tuple[bool, str, str]:
    return replica.ready and replica.updated, replica.assignment.node, replica.assignment.slice


def _node(view: View, replica: Replica) -> NodeServing:
    assignment, ahead = replica.assignment, _ahead(view, replica)
    queued = view.decision.queued.get(assignment.slice, "")
    waits = queued or ahead.message if ahead is not None else ""
    message = replica.diagnosis.message if not replica.ready else waits
    return NodeServing(
        node=assignment.node,
        slice=assignment.slice,
        variant=assignment.variant,
        why=assignment.why[:512],
        revision="" if replica.deployment is None else replica.deployment.revision,
        updated=replica.updated,
        ready=replica.serving,
        connected=replica.connected,
        address=_address(view.model, replica),
        message=(assignment.lost or assignment.blocked or message or _unlimited(replica))[:512],
    )


def _ahead(view: View, replica: Replica) -> Seen | None:
    """How far the prefetch has come that the replica's update waits for; None where none goes on."""
    return None if not replica.connected or replica.wanted in view.failed else replica.ahead


def _unlimited(replica: Replica) -> str:
    return replica.pod.unlimited if replica.pod is not None else ""


def _address(model: InferenceModel, replica: Replica) -> str:
    """Where what stands beside the machine calls the model; empty where only the Service leads to it."""
    if model.spec.serving.network == "Pod" or not replica.address:
        return ""
    host = f"[{replica.address}]" if ":" in replica.address else replica.address
    return f"{host}:{model.spec.serving.ports.http}"


def _given_up(view: View) -> bool:
    return any(r.wanted in view.failed for r in view.replicas)


def _ready(view: View) -> Finding:
    """The first thing that keeps the model from being ready, else that it is."""
    replicas, plan = view.replicas, view.plan
    if view.problem is not None:
        return Finding(conditions.READY, "False", view.problem.reason, view.problem.message)
    if plan.wanted == 0 and not replicas and view.model.spec.placement.mode == "Replicas":
        return Finding(conditions.READY, "True", "ScaledToZero", "no replica is asked for")
    if plan.waiting:
        return Finding(conditions.READY, "False", plan.reason, plan.message)
    if not replicas:
        return Finding(conditions.READY, "False", plan.reason, plan.message)
    connected = [r for r in replicas if r.connected]
    if not connected:
        return _all_offline(view)
    behind = [r for r in connected if not (r.ready and r.updated)]
    if behind:
        given_up = next((r for r in behind if r.wanted in view.failed), None)
        silent_one = next((r for r in behind if not r.ready), None)
        return _not_ready(view, given_up or silent_one or behind[0])
    silent = [r for r in replicas if not r.connected and not r.serving]
    if silent:
        message = f"node {silent[0].assignment.node} went offline before the model answered there"
        return Finding(conditions.READY, "False", "OfflineBeforeReady", message)
    return _serving(view, connected)


def _serving(view: View, connected: Sequence[Replica]) -> Finding:
    offline = len(view.replicas) - len(connected)
    if not offline:
        return Finding(conditions.READY, "True", "Serving", f"{len(connected)} of {view.plan.wanted} serving")
    owed = sum(not r.updated for r in view.replicas)
    still = f"; {owed} still owed revision {view.revision}" if owed else ""
    message = f"{len(connected)} serving, {offline} offline, serving when last seen{still}"
    return Finding(conditions.READY, "True", "ServingNodesOffline", message)


def _all_offline(view: View) -> Finding:
    before = conditions.find(view.model.status.conditions, conditions.READY)
    message = f"all {len(view.replicas)} nodes are offline; this is what was so when the last was seen"
    if before is None:
        return Finding(conditions.READY, "Unknown", "AllNodesOffline", message)
    return Finding(conditions.READY, before.status, "AllNodesOffline", message)


def _not_ready(view: View, replica: Replica) -> Finding:
    """The word for what is behind: an update that failed or waits, a fetch, a load."""
    node = replica.assignment.node
    if replica.wanted in view.failed:
        told = f"{view.failed[replica.wanted]}; {_meanwhile(view)}"
        return Finding(conditions.READY, "False", "UpdateFailed", told)
    if replica.assignment.blocked and (replica.ready or replica.diagnosis.reason == JOINING):
        return Finding(conditions.READY, "False", "UpdateBlocked", f"node {node}: {replica.assignment.blocked}")
    done = sum(r.updated and r.ready for r in view.replicas)
    if replica.ready and view.model.spec.paused:
        message = f"the update is paused: {done} of {len(view.replicas)} updated"
        return Finding(conditions.READY, "False", "Paused", message)
    if replica.ready:
        waits = f"; waits for {view.decision.waits_for}" if view.decision.waits_for else ""
        return Finding(conditions.READY, "False", "Updating", f"{done} of {len(view.replicas)} updated{waits}")
    seen = replica.diagnosis
    return Finding(conditions.READY, "False", seen.reason, f"node {node}: {seen.message}")


def _meanwhile(view: View) -> str:
    """What serves where a revision was given up."""
    serving = [r for r in view.replicas if r.connected and r.serving]
    connected = sum(r.connected for r in view.replicas)
    if len(serving) < connected:
        return f"{len(serving)} of {connected} serve meanwhile"
    kept = sum(r.deployment is not None and r.deployment.revision in view.failed for r in serving)
    if kept:
        return f"{kept} of {connected} answered at it before and serve it, the others the last good revision"
    return "the last good revision serves"


def _placed(view: View) -> Finding:
    plan = view.plan
    if plan.waiting:
        return Finding(conditions.PLACED, "False", plan.reason, plan.message)
    return Finding(conditions.PLACED, "True", "Placed", plan.message)


def _fetched(connected: Sequence[Replica]) -> Finding:
    return _worst(conditions.FETCHED, connected, "Fetched", "verified on {} of {} connected nodes")


def _loaded(connected: Sequence[Replica]) -> Finding:
    return _worst(conditions.LOADED, connected, "Loaded", "loaded on {} of {} connected nodes")


def _worst(name: str, connected: Sequence[Replica], good: str, summary: str) -> Finding:
    """The condition over all connected nodes: False where one failed, else Unknown where one is silent, else True."""
    if not connected:
        return Finding(name, "Unknown", "NoConnectedNode", "no replica is on a connected node")
    field = name.lower()
    counts = Counter(getattr(r.diagnosis, field) for r in connected)
    bad: tuple[Status, ...] = ("False", "Unknown")
    for status_ in bad:
        worst = next((r for r in connected if getattr(r.diagnosis, field) == status_), None)
        if worst is not None:
            seen = worst.diagnosis
            message = f"{counts['True']} of {len(connected)}; node {worst.assignment.node}: {seen.message}"
            return Finding(name, status_, seen.reason, message)
    return Finding(name, "True", good, summary.format(counts["True"], len(connected)))


def _nodes_connected(replicas: Sequence[Replica]) -> Finding:
    offline = [r.assignment.node for r in replicas if not r.connected]
    if not offline:
        return Finding(conditions.NODES_CONNECTED, "True", "Connected", f"{len(replicas)} of {len(replicas)} connected")
    names = ", ".join(sorted(offline)[:5]) + (" and others" if len(offline) > 5 else "")
    message = f"{len(offline)} of {len(replicas)} offline: {names}; nothing of them is touched"
    return Finding(conditions.NODES_CONNECTED, "False", "NodesOffline", message)


def _stalled(view: View) -> Finding | None:
    """What never heals by itself; None is the usual case, and the condition is then absent."""
    if view.problem is not None and view.problem.terminal:
        return Finding(conditions.STALLED, "True", view.problem.reason, view.problem.message)
    if _given_up(view):
        message = next(view.failed[r.wanted] for r in view.replicas if r.wanted in view.failed)
        return Finding(
            conditions.STALLED,
            "True",
            "UpdateFailed",
            f"{message}; change the variant or run `littoral rollout refresh` to try again",
        )
    for replica in view.replicas:
        seen = replica.diagnosis
        if replica.connected and seen.terminal and not replica.serving:
            message = f"node {replica.assignment.node}: {seen.message}"
            return Finding(conditions.STALLED, "True", seen.reason, message)
    return None


def _last_failure(view: View, ready: Finding, now: datetime) -> Failure | None:
    """Kept until everything is ready at the wanted revision; its time moves only when it is another failure."""
    if ready.status == "True":
        return None
    before = view.model.status.last_failure
    new = next(_failures(view, now), None)
    if new is None or (before is not None and before.model_copy(update={"time": now}) == new):
        return before
    return new


def _failures(view: View, now: datetime) -> Iterator[Failure]:
    """What has failed: what the update was given up for, then what keeps a connected node from serving or updating."""
    failed = view.decision.failure
    if failed is not None:
        yield _failure(failed.node, failed.revision, failed.reason, failed.message, now)
    for replica in view.replicas:
        seen, ahead, node = replica.diagnosis, _ahead(view, replica), replica.assignment.node
        if replica.connected and "False" in {seen.fetched, seen.loaded}:
            revision = replica.deployment.revision if replica.deployment else ""
            yield _failure(node, revision, seen.reason, seen.message, now)
        elif ahead is not None and ahead.reason in REASONS:
            yield _failure(node, replica.wanted, ahead.reason, ahead.message, now)


def _failure(node: str, revision: str, reason: str, message: str, now: datetime) -> Failure:
    return Failure(node=node, revision=revision, reason=reason, message=message[:2048], time=now)
