"""The update of one model, node by node: a pure decision on what to do next, taken anew at every visit.

Each replica has a Deployment of its own, so each node moves by itself. The rules:

- What answers, or did and is not broken, is updated only once the wanted revision is on its node: a prefetch Job has
  brought artifacts and image. A server that restarts comes back sooner at what it was at than at what is not there yet.
  What only waits for its prefetch answers meanwhile and holds up nobody. Nothing that serves is touched by a prefetch,
  so it goes on while the update is paused; the Job is kept until the update has answered, for its finished pod keeps
  the kubelet from collecting the image. Other figures alone need no prefetch.
- A prefetch that fails for good gives the revision up, with nothing touched; but where another node serves or holds the
  revision it is that node's own, and waited for.
- One unavailable at a time: an update is begun only while every other replica on a ready node answers; one that does
  not answer anyway goes first.
- A replica that is not ready at the new revision within the startup timeout, or whose fetch fails for good, is put back
  to the revision that served there before; the update stops everywhere and that revision is not tried again.
- A replica that answered at the new revision is settled there: from then on its failures are no update's.
- A node that is offline is not touched. One that vanished before it answered at the new revision stops the update.
- Where nothing answered yet there is no gate and nothing to put back: nothing serves that could be lost.
- Figures are no revision: a replica that does not answer on new ones stops the update and waits for better ones.

All that is remembered is in the cluster: on the Deployment its revision and the last one that answered there, the time
the cutover in the slice's allocation, the failure in the status, on the Job what its node was when it was made. So any
process may go on where another died.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from littoral.triton import prefetch_steps
from littoral.triton.prefetch import PREFETCHING
from littoral.triton.prefetch_steps import JobStep
from littoral.triton.replica import Replica


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
    jobs: tuple[JobStep, ...] = ()
    queued: Mapping[str, str] = field(default_factory=dict)
    """The slices whose prefetch waits for its turn, with the sentence that says so."""


def decide(
    replicas: Sequence[Replica],
    *,
    failed: Mapping[str, str],
    fallback: Mapping[str, str],
    paused: bool,
    timeout: float,
    now: datetime,
    barred: Container[str] = (),
) -> Decision:
    """The next steps for a model.

    `failed` are the revisions given up, with why; `fallback` gives, for a wanted revision that was given up, the newest
    one of the same variant and profile that was not; `timeout` is the startup timeout in seconds; to `barred` revisions
    nothing is updated, nor are they prefetched for it: they are not frozen yet, or may not be begun.
    """
    steps = [*_creations(replicas, failed, fallback), *_reverts(replicas, failed), *_settlements(replicas, failed)]
    jobs, queued, retry = prefetch_steps.due(replicas, failed, barred, now)
    failure, recheck = _failure(replicas, failed, timeout, now)
    if failure is not None:
        jobs = tuple(step for step in jobs if step.revision != failure.revision or step.kind == "Interrupt")
        return Decision(tuple(steps), failure, recheck=recheck, jobs=jobs, queued=queued)
    updates, waits_for = _updates(replicas, failed, barred, queued, paused=paused)
    moving = {step.slice for step in updates}
    steps = [step for step in steps if step.slice not in moving]
    soonest = min((seconds for seconds in (recheck, retry) if seconds is not None), default=None)
    return Decision((*steps, *updates), None, waits_for, soonest, jobs, queued)


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
        ahead = r.ahead if r.connected and r.wanted not in failed else None
        if ahead is not None and ahead.terminal and not _proven(r.wanted, replicas):
            return Failed(r.wanted, r.assignment.node, ahead.reason, ahead.message), None
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


def _proven(revision: str, replicas: Sequence[Replica]) -> bool:
    """Whether a node serves the revision or holds it ready, so that what fails elsewhere is that node's own."""
    return any(
        (r.deployment is not None and r.deployment.revision == revision and (r.ready or not r.on_trial) and r.started)
        or r.prefetch.seen(revision).arrived
        for r in replicas
    )


def _updates(
    replicas: Sequence[Replica],
    failed: Mapping[str, str],
    barred: Container[str],
    queued: Mapping[str, str],
    *,
    paused: bool,
) -> tuple[list[Step], str]:
    """The replicas to update now, or what that waits for: all that never answered, else one."""
    outdated = [r for r in replicas if r.deployment is not None and not r.updated]
    permitted = [r for r in outdated if not (r.revised and r.wanted in barred)]
    reachable = [r for r in permitted if r.connected and r.node_ready and not r.assignment.blocked]
    if paused or not reachable or any(r.wanted in failed for r in replicas):
        return [], "paused" if paused and outdated else ""
    blank = [r for r in reachable if not r.started]
    if blank:
        return [Step("Update", r.assignment.slice, r.wanted) for r in blank], ""
    held_up = _held_up(replicas, reachable)
    if held_up:
        return [], held_up
    reachable.sort(key=lambda r: (r.assignment.node, r.assignment.slice))
    candidates = [r for r in reachable if not r.ready] or reachable
    chosen = next((r for r in candidates if r.ahead is None), None)
    if chosen is None:
        return [], _ahead(candidates, queued)
    return [Step("Update", chosen.assignment.slice, chosen.wanted, _previous(chosen, failed))], ""


def _ahead(replicas: Sequence[Replica], queued: Mapping[str, str]) -> str:
    """What the prefetches are at that all of these wait for: the first that something is wrong with, else the first.

    Who waits for its turn is told of last.
    """
    waits = [(r.assignment, r.ahead) for r in replicas if r.ahead is not None]
    place, seen = min(waits, key=lambda each: (each[0].slice in queued, each[1].reason == PREFETCHING))
    return f"node {place.node}: {queued.get(place.slice, seen.message)}"


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
    stamped = replica.allocation is not None and replica.allocation.started_at is not None
    return replica.deployment.revision if replica.ready or stamped else ""
