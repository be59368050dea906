"""What becomes of the prefetch Jobs of one model or group: a pure decision, part of that on its update (rollout.py).

- A few nodes load from the source at a time. Who was never tried comes first, then whose last try is longest ago. Only
  what loads counts: Jobs that are refused, or whose source is away, hold up no other node.
- A replica whose own fetch finds the cache full gets a Job for what it is at, first and whatever else is wanted: it
  knows which slices are on the node, and so whose pins no longer count.
- A Job of a node that is offline is not touched, only noted; one that nobody wants any more is deleted.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from littoral.api.workload import JobFacts
from littoral.triton.prefetch import STARTING_SECONDS
from littoral.triton.replica import Replica

PREFETCHES: Final = 10
"""Prefetch Jobs of one model or group that may load at a time, so that a fleet's nodes do not all ask its source at
once."""


@dataclass(frozen=True, slots=True)
class JobStep:
    """One change of a replica's prefetch Job."""

    kind: Literal["Prefetch", "Replace", "Interrupt", "Forget"]
    """Replace deletes a Job and makes another. Interrupt touches nothing on the node, which is offline: it notes on the
    Job that it was cut off."""
    slice: str
    revision: str
    job: JobFacts | None = None
    """The Job that is there, if any."""
    attempt: int = 0
    """The number of the one to be made among those that took each other's place."""


def due(
    replicas: Sequence[Replica], failed: Mapping[str, str], barred: Container[str], now: datetime
) -> tuple[tuple[JobStep, ...], dict[str, str], float | None]:
    """What becomes of the prefetch Jobs, who waits for its turn, and the seconds until another look is due."""
    steps: list[JobStep] = []
    called_for: list[tuple[Replica, JobStep]] = []
    delays: list[float] = []
    for r in replicas:
        revision = _prefetched(r, failed)
        there = [job for job in r.prefetch.jobs if not job.deleting]
        if not r.connected:
            lost = [job for job in there if job.ended is None and not job.interrupted]
            steps += [JobStep("Interrupt", r.assignment.slice, job.revision, job) for job in lost]
            continue
        steps += [JobStep("Forget", r.assignment.slice, job.revision, job) for job in there if job.revision != revision]
        if not revision or not _is_due(r, revision, replicas, failed, barred):
            continue
        job = r.prefetch.job(revision)
        again = None if job is None else r.prefetch.replaced_after(job, now)
        if again:
            delays.append(again)
        elif job is not None and again is not None:
            called_for.append((r, JobStep("Replace", r.assignment.slice, revision, job, r.prefetch.attempt(job))))
        elif not r.prefetch.jobs:
            called_for.append((r, JobStep("Prefetch", r.assignment.slice, revision)))
    begun, queued = _in_turn(replicas, called_for, now)
    if queued:
        delays.append(STARTING_SECONDS)
    return (*steps, *begun), queued, min(delays, default=None)


def _in_turn(
    replicas: Sequence[Replica], called_for: Sequence[tuple[Replica, JobStep]], now: datetime
) -> tuple[list[JobStep], dict[str, str]]:
    """Of the Jobs that are to be made those that may be now, and of the others that they wait.

    Who loads already and begins anew takes no more room by that.
    """
    loading = {r.assignment.slice for r in replicas if r.connected and r.node_ready and r.prefetch.loading(now)}
    begun: list[JobStep] = []
    queued: dict[str, str] = {}

    def longest_ago(one: tuple[Replica, JobStep]) -> tuple[bool, datetime, str, str]:
        r, step = one
        at = step.job.created if step.job is not None else None
        return at is not None, at or now, r.assignment.node, r.assignment.slice

    for r, step in sorted(called_for, key=longest_ago):
        if r.assignment.slice in loading or len(loading) < PREFETCHES:
            loading.add(r.assignment.slice)
            begun.append(step)
        else:
            what = f"revision {step.revision} waits for its turn to be prefetched"
            queued[r.assignment.slice] = f"{what}: {PREFETCHES} nodes load at a time"
    return begun, queued


def _prefetched(replica: Replica, failed: Mapping[str, str]) -> str:
    """The revision of which a prefetch Job may stand on the replica's node; empty: of none."""
    live = replica.deployment
    if live is None:
        return ""
    if replica.lacks_room and not replica.answering and not (replica.on_trial and live.revision in failed):
        return live.revision
    if replica.revised and replica.wanted not in failed:
        return replica.wanted
    starting = (replica.on_trial and not replica.ready) or replica.lacks_room
    return live.revision if starting and live.revision not in failed else ""


def _is_due(
    replica: Replica, revision: str, replicas: Sequence[Replica], failed: Mapping[str, str], barred: Container[str]
) -> bool:
    """Whether a prefetch of the revision is called for: an update waits for it, or room has to be made."""
    if not replica.node_ready:
        return False
    if revision != replica.wanted or not replica.revised:
        return replica.lacks_room
    stopped = any(r.wanted in failed for r in replicas)
    return replica.ahead is not None and not replica.assignment.blocked and not stopped and revision not in barred
