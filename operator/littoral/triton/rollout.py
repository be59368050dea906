"""The update of one model, node by node: a pure decision on what to do next, taken anew at every visit.

Each replica has a Deployment of its own, so each node moves by itself. The rules:

- One unavailable at a time: an update is begun only while every other replica on a ready node answers; one that does
  not answer anyway goes first.
- A replica that is not ready at the new revision within the startup timeout, or whose fetch fails for good, is put back
  to the revision that served there before; the update stops everywhere and that revision is not tried again.
- A replica that answered at the new revision is settled there: from then on its failures are no update's.
- A node that is offline is not touched. One that vanished before it answered at the new revision stops the update.
- Where nothing answered yet there is no gate and nothing to put back: nothing serves that could be lost.
- Figures are no revision: a replica that does not answer on new ones stops the update and waits for better ones.

All that is remembered is in the cluster: on the Deployment its revision and the last one that answered there, the time
the cutover in the slice's allocation, the failure in the status. So any process may go on where another died.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from littoral.api.gpuslice import Allocation
from littoral.api.workload import DeploymentFacts, PodFacts
from littoral.placement.results import Assignment
from littoral.triton.diagnosis import Diagnosis, diagnose, stands_for


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
    address: str = ""
    """The node's own, by which it is called where the server has ports of the node."""
    models: tuple[str, ...] = ()
    """Of a shared server: the models that must answer, beside the server itself."""

    @property
    def pod(self) -> PodFacts | None:
        """The newest pod of the Deployment's present revision and grant that is not on its way out."""
        if self.deployment is None:
            return None
        present = self.deployment.revision, self.deployment.grant
        mine = [p for p in self.pods if not p.deleting and (p.revision, p.grant) == present]
        return max(mine, key=lambda p: (p.phase != "Failed", p.created is not None, p.created, p.name), default=None)

    @property
    def ready(self) -> bool:
        """It answers at its Deployment's revision; on an offline node: it did when last seen."""
        return self.pod is not None and self._answers(self.pod)

    @property
    def serving(self) -> bool:
        """It answers at whatever revision."""
        return any(self._answers(p) and not p.deleting for p in self.pods)

    @property
    def updated(self) -> bool:
        """Its Deployment is at the revision and on the figures that the spec asks for."""
        deployed = self.deployment is not None and self.deployment.revision == self.wanted
        return deployed and not self.resized and not self.behind

    @property
    def behind(self) -> bool:
        """Its Deployment is not on what its slice is bound to: an operator died between the two, or somebody edited it.

        Drift repair puts it in line without a gate, and restarts it by that.
        """
        if self.deployment is None or self.allocation is None:
            return False
        return self.deployment.grant is None or not same_grant(self.deployment.grant, self.allocation)

    @property
    def on_trial(self) -> bool:
        """It was updated and has not answered since; there is something to put back."""
        return self.deployment is not None and self.deployment.previous not in {"", self.deployment.revision}

    @property
    def resized(self) -> bool:
        """The plan gives it other figures than it is bound to."""
        target = self.assignment.target
        return target is not None and self.allocation is not None and not same_grant(target, self.allocation)

    @property
    def diagnosis(self) -> Diagnosis:
        """How far it has come."""
        refused = self.deployment.refused if self.deployment is not None else ""
        return diagnose(self.pod, self.models, refused)

    def _answers(self, pod: PodFacts) -> bool:
        return pod.server.ready and all(stands_for(pod, model).ready for model in self.models)


@dataclass(frozen=True, slots=True)
class Step:
    """One change to one replica's Deployment."""

    kind: Literal["Create", "Update", "Revert", "Settle"]
    """Settle changes no pod: it notes on the Deployment that its revision answered."""
    slice: str
    revision: str
    previous: str = ""
    """The last revision that answered there, for the Deployment to remember; empty if none did."""


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
    steps = [*_creations(replicas, failed, fallback), *_reverts(replicas, failed), *_settlements(replicas, failed)]
    failure, recheck = _failure(replicas, failed, timeout, now)
    if failure is not None:
        return Decision(tuple(steps), failure, recheck=recheck)
    updates, waits_for = _updates(replicas, failed, paused=paused)
    moving = {step.slice for step in updates}
    steps = [step for step in steps if step.slice not in moving]
    return Decision((*steps, *updates), None, waits_for, recheck)


def _creations(replicas: Sequence[Replica], failed: Mapping[str, str], fallback: Mapping[str, str]) -> list[Step]:
    missing = [r for r in replicas if r.deployment is None and r.connected and r.allocation is not None]
    revisions = [(r, r.wanted if r.wanted not in failed else fallback.get(r.wanted, "")) for r in missing]
    return [Step("Create", r.assignment.slice, revision) for r, revision in revisions if revision]


def _reverts(replicas: Sequence[Replica], failed: Mapping[str, str]) -> list[Step]:
    """Level-triggered: whoever marked the revision as failed may have died before putting its node back."""
    return [
        Step("Revert", r.assignment.slice, r.deployment.previous, r.deployment.previous)
        for r in replicas
        if r.deployment is not None
        and r.connected
        and not r.ready
        and r.on_trial
        and r.deployment.revision in failed
        and r.deployment.previous not in failed
    ]


def _settlements(replicas: Sequence[Replica], failed: Mapping[str, str]) -> list[Step]:
    """Without this, a pod that restarts long after its update would count as an update that timed out."""
    return [
        Step("Settle", r.assignment.slice, r.deployment.revision, r.deployment.revision)
        for r in replicas
        if r.deployment is not None
        and r.connected
        and r.ready
        and r.on_trial
        and not r.behind
        and r.deployment.revision not in failed
    ]


def _failure(
    replicas: Sequence[Replica], failed: Mapping[str, str], timeout: float, now: datetime
) -> tuple[Failed | None, float | None]:
    """The first update that has to be given up, else the seconds until the next one would be."""
    remaining: list[float] = []
    for r in replicas:
        if r.deployment is None or not r.connected or r.ready or not r.on_trial:
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


def _updates(replicas: Sequence[Replica], failed: Mapping[str, str], *, paused: bool) -> tuple[list[Step], str]:
    """The replicas to update now, or what that waits for: all that never answered, else one."""
    outdated = [r for r in replicas if r.deployment is not None and not r.updated]
    reachable = [r for r in outdated if r.connected and r.node_ready and not r.assignment.blocked]
    if paused or not reachable or any(r.wanted in failed for r in replicas):
        return [], "paused" if paused and outdated else ""
    blank = [r for r in reachable if r.deployment and not (r.deployment.previous or r.serving or _started(r))]
    if blank:
        return [Step("Update", r.assignment.slice, r.wanted) for r in blank], ""
    held_up = _held_up(replicas, reachable)
    if held_up:
        return [], held_up
    chosen = min(reachable, key=lambda r: (r.ready, r.assignment.node, r.assignment.slice))
    return [Step("Update", chosen.assignment.slice, chosen.wanted, _previous(chosen, failed))], ""


def _held_up(replicas: Sequence[Replica], reachable: Sequence[Replica]) -> str:
    """Why no replica that answers may be taken away now; empty if one may."""
    for r in replicas:
        node = f"node {r.assignment.node}"
        if r.updated and r.on_trial and not r.ready and not (r.connected and r.node_ready):
            return f"{node}, which went offline while it was being updated"
        if r.connected and r.behind:
            return f"{node}, whose Deployment is being brought onto what its slice was granted"
        if r.connected and r.node_ready and not r.ready and r not in reachable:
            return f"{node}: {r.diagnosis.message}"
    return ""


def _previous(replica: Replica, failed: Mapping[str, str]) -> str:
    """The last revision that answered here: the present one, or what that one would be put back to."""
    assert replica.deployment is not None  # noqa: S101 - the caller chose among replicas that have one
    if replica.on_trial and (not replica.ready or replica.deployment.revision in failed):
        return replica.deployment.previous
    return replica.deployment.revision if replica.ready or _started(replica) else ""


def _started(replica: Replica) -> bool:
    return replica.allocation is not None and replica.allocation.started_at is not None
