"""The update of one model, node by node: a pure decision on what to do next, taken anew at every visit.

Each replica has a Deployment of its own, so each node moves by itself. The rules:

- One unavailable at a time: an update is begun only while every other replica on a ready node answers; one that does
  not answer anyway goes first.
- A replica that is not ready at the new revision within the startup timeout, or whose fetch fails for good, is put back
  to the revision that served there before; the update stops and that revision is not tried again.
- A node that is offline is not touched. One that vanished before it answered at the new revision stops the update.
- What is wanted for the first time has no gate: nothing serves that could be lost.

All that is remembered is in the cluster: the revision and its predecessor on the Deployment, the time of the cutover in
the slice's allocation, the failure on the ControllerRevision. So any process may go on where another died.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from littoral.api.gpuslice import Allocation
from littoral.api.workload import DeploymentFacts, PodFacts
from littoral.placement.results import Assignment
from littoral.triton.diagnosis import Diagnosis, diagnose


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica: where it shall be, and what is there."""

    assignment: Assignment
    wanted: str
    """The revision that the spec asks for here."""
    allocation: Allocation | None = None
    """What its slice is bound to now."""
    deployment: DeploymentFacts | None = None
    pods: tuple[PodFacts, ...] = ()
    connected: bool = True
    node_ready: bool = True
    """The kubelet says so itself: what is begun there can become ready."""

    @property
    def pod(self) -> PodFacts | None:
        """The newest pod of the Deployment's present revision that is not on its way out."""
        if self.deployment is None:
            return None
        mine = [p for p in self.pods if not p.deleting and p.revision == self.deployment.revision]
        return max(mine, key=lambda p: (p.created is not None, p.created, p.name), default=None)

    @property
    def ready(self) -> bool:
        """It answers at its Deployment's revision; on an offline node: it did when last seen."""
        return self.pod is not None and self.pod.server.ready

    @property
    def serving(self) -> bool:
        """It answers at whatever revision."""
        return any(p.server.ready and not p.deleting for p in self.pods)

    @property
    def updated(self) -> bool:
        """Its Deployment is at the revision and on the figures that the spec asks for."""
        deployed = self.deployment is not None and self.deployment.revision == self.wanted
        return deployed and not self.resized

    @property
    def resized(self) -> bool:
        """The plan gives it other figures than it is bound to."""
        target = self.assignment.target
        return target is not None and self.allocation is not None and not same_grant(target, self.allocation)

    @property
    def diagnosis(self) -> Diagnosis:
        """How far it has come."""
        return diagnose(self.pod)


@dataclass(frozen=True, slots=True)
class Step:
    """One change to one replica's Deployment."""

    kind: Literal["Create", "Update", "Revert"]
    slice: str
    revision: str
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A revision that is given up, and what it did."""

    revision: str
    node: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, what has failed, what the next step waits for, and when to look again (seconds)."""

    steps: tuple[Step, ...] = ()
    failure: Failed | None = None
    waits_for: str = ""
    recheck: float | None = None


def same_grant(one: Allocation, other: Allocation) -> bool:
    """Whether two allocations give the same on the same device, whenever they were bound."""
    times = {"bound_at": None, "started_at": None, "updated_at": None}
    return one.model_copy(update=times) == other.model_copy(update=times)


def decide(
    replicas: Sequence[Replica],
    *,
    failed: Mapping[str, str],
    fallback: Mapping[str, str],
    paused: bool,
    timeout: float,
    now: datetime,
) -> Decision:
    """The next steps for a model.

    `failed` are the revisions given up, with why; `fallback` gives, for a wanted revision that was given up, the newest
    one of the same variant and profile that was not; `timeout` is the startup timeout in seconds.
    """
    steps = [*_creations(replicas, failed, fallback), *_reverts(replicas, failed)]
    failure, recheck = _failure(replicas, failed, timeout, now)
    if failure is not None:
        return Decision(tuple(steps), failure, recheck=recheck)
    update, waits_for = _update(replicas, failed, paused=paused)
    return Decision(tuple(steps if update is None else [*steps, update]), None, waits_for, recheck)


def _creations(replicas: Sequence[Replica], failed: Mapping[str, str], fallback: Mapping[str, str]) -> list[Step]:
    missing = [r for r in replicas if r.deployment is None and r.connected and r.allocation is not None]
    revisions = [(r, r.wanted if r.wanted not in failed else fallback.get(r.wanted, "")) for r in missing]
    return [Step("Create", r.assignment.slice, revision) for r, revision in revisions if revision]


def _reverts(replicas: Sequence[Replica], failed: Mapping[str, str]) -> list[Step]:
    """Level-triggered: whoever marked the revision as failed may have died before putting its node back."""
    return [
        Step("Revert", r.assignment.slice, r.deployment.previous)
        for r in replicas
        if r.deployment is not None
        and r.connected
        and not r.ready
        and r.deployment.revision in failed
        and r.deployment.previous
        and r.deployment.previous not in failed
    ]


def _failure(
    replicas: Sequence[Replica], failed: Mapping[str, str], timeout: float, now: datetime
) -> tuple[Failed | None, float | None]:
    """The first update that has to be given up, else the seconds until the next one would be."""
    remaining: list[float] = []
    for r in replicas:
        if r.deployment is None or not r.connected or r.ready or not r.deployment.previous:
            continue
        if r.deployment.revision in failed or r.allocation is None or r.allocation.updated_at is None:
            continue
        seen = r.diagnosis
        left = timeout - (now - r.allocation.updated_at).total_seconds()
        if seen.terminal or left <= 0:
            message = seen.message if seen.terminal else f"not ready within {timeout:g} s: {seen.message}"
            return Failed(r.deployment.revision, r.assignment.node, seen.reason, message), None
        remaining.append(left)
    return None, min(remaining, default=None)


def _update(replicas: Sequence[Replica], failed: Mapping[str, str], *, paused: bool) -> tuple[Step | None, str]:
    """The one replica to update next, or what that waits for."""
    outdated = [r for r in replicas if r.deployment is not None and not r.updated and r.wanted not in failed]
    reachable = [r for r in outdated if r.connected and r.node_ready and not r.assignment.blocked]
    if paused or not reachable:
        return None, "paused" if paused and outdated else ""
    for r in replicas:
        lost = not r.connected and r.deployment is not None and r.deployment.previous and not r.ready and r.updated
        if lost:
            return None, f"node {r.assignment.node}, which went offline while it was being updated"
    unavailable = [r for r in replicas if r.connected and r.node_ready and not r.ready]
    if any(r not in reachable for r in unavailable):
        waiting = next(r for r in unavailable if r not in reachable)
        return None, f"node {waiting.assignment.node}: {waiting.diagnosis.message}"
    chosen = min(reachable, key=lambda r: (r.ready, r.assignment.node, r.assignment.slice))
    return Step("Update", chosen.assignment.slice, chosen.wanted, _previous(chosen)), ""


def _previous(replica: Replica) -> str:
    """What to put back to: the present revision if it ever answered here, else what that one would be put back to."""
    assert replica.deployment is not None  # noqa: S101 - the caller chose among replicas that have one
    if replica.ready or not replica.deployment.previous:
        return replica.deployment.revision if replica.ready or _started(replica) else ""
    return replica.deployment.previous


def _started(replica: Replica) -> bool:
    return replica.allocation is not None and replica.allocation.started_at is not None
