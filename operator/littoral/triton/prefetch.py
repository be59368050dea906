"""How far the prefetch of what a replica is to serve next has come: a pure reading of its Job and of the Job's pod.

A prefetch Job brings the artifacts of a revision into the node's cache and its Triton image into the node's image
store, while the old server goes on serving. It has done so when its fetch container ended well and a container of the
image was made: how that one ended says nothing, for the image is there.

A Job is made anew where what it says may not be so any more: its node went offline before it had ended, or was
restarted (what is in the cache is hashed once more then, better here than while nothing serves) or replaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from littoral.api.workload import ContainerFacts, JobFacts, NodeFacts, PodFacts
from littoral.modelstore.errors import CacheFull
from littoral.modelstore.report import FailedModel, parse_report
from littoral.triton.diagnosis import Diagnosis, expected, fetch, not_fetched, waiting

RETRY_SECONDS: Final = 60.0
"""After a Job has ended without success (which only something else than its fetch can bring about: that is tried again
within the Job), or without a model that is needed, another is made; and in the place of one that found the cache full,
for the quota and the slices that it knows are those of when it was made. Its cost is two writes and a pod."""
PREFETCHING: Final = "Prefetching"
"""The reason of an update that waits for a prefetch of which nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the prefetch of one revision: whether it is all on the node, else why not yet."""

    arrived: bool
    reason: str = ""
    message: str = ""
    terminal: bool = False
    """It will not heal without a change of the spec or of the artifact."""


@dataclass(frozen=True, slots=True)
class Prefetch:
    """The prefetch Jobs of one slice and their pods, beside what the slice's node is now."""

    jobs: tuple[JobFacts, ...] = ()
    pods: tuple[PodFacts, ...] = ()
    node: str = ""
    """The node's identity."""
    size: int | None = None
    """Bytes that the wanted revision has, as far as declared."""
    models: tuple[str, ...] = ()
    """Of a shared server: the models, by their names in Triton, without which its update is not begun."""

    def job(self, revision: str) -> JobFacts | None:
        """The Job for a revision, unless it is being deleted."""
        return next((job for job in self.jobs if job.revision == revision and not job.deleting), None)

    @property
    def under_way(self) -> int:
        """How many have not ended."""
        return sum(job.ended is None for job in self.jobs)

    def outdated(self, job: JobFacts) -> bool:
        """Whether what the Job says may not be so any more."""
        return job.made_on != self.node or (job.interrupted and not job.succeeded)

    def retried_after(self, job: JobFacts, now: datetime) -> float | None:
        """The seconds until another takes the place of one that cannot bring what is needed; None: it has, or may."""
        since = job.ended
        if since is None and self._lacks_room(job):
            since = job.created
        if since is None or (job.succeeded and not any(self._missing(job))):
            return None
        return max(0.0, RETRY_SECONDS - (now - since).total_seconds())

    def seen(self, revision: str) -> Seen:
        """How far it has come with a revision."""
        job = self.job(revision)
        if job is None or self.outdated(job):
            return Seen(False, PREFETCHING, f"revision {revision} has yet to be prefetched")
        missing = [not_fetched(failure) for failure in self._missing(job)]
        if missing:
            worst = min(missing, key=lambda each: not each.terminal)
            return _failed(worst)
        pod = self._pod(job)
        if job.succeeded and (pod is None or pod.phase == "Succeeded"):  # else what it reports is still on its way
            return Seen(True)
        if job.failed:
            return Seen(False, "PrefetchFailed", f"prefetch: {job.failed}; it is begun anew")
        if pod is None:
            why = f"`kubectl describe job --namespace={job.namespace} {job.name}` says why"
            return Seen(False, PREFETCHING, f"prefetch: waiting for the Job's pod; {why}")
        return self._of(pod, revision)

    def _of(self, pod: PodFacts, revision: str) -> Seen:
        if pod.scheduling_message:
            return Seen(False, "PodRefused", f"prefetch: {pod.scheduling_message}"[:1024])
        fetched = fetch(pod.fetch)
        if fetched.fetched == "False":
            return _failed(fetched)
        if fetched.fetched == "True":
            return _image(pod.server)
        if pod.fetch.running:
            return Seen(False, PREFETCHING, f"fetching revision {revision}{expected(self.size, pod.fetch.started)}")
        reason = PREFETCHING if fetched.reason == "Starting" else fetched.reason
        return Seen(False, reason, f"prefetch: {fetched.message}")

    def _lacks_room(self, job: JobFacts) -> bool:
        pod = self._pod(job)
        return pod is not None and fetch(pod.fetch).reason == CacheFull.__name__

    def _pod(self, job: JobFacts) -> PodFacts | None:
        """The Job's newest pod; those of a former Job for the same revision are older than it."""
        mine = [
            pod
            for pod in self.pods
            if pod.revision == job.revision
            and not pod.deleting
            and (job.created is None or pod.created is None or pod.created >= job.created)
        ]
        return max(mine, key=lambda p: (p.phase != "Failed", p.created is not None, p.created, p.name), default=None)

    def _missing(self, job: JobFacts) -> Iterator[FailedModel]:
        """The models of a shared server that are needed and did not arrive, though the fetch ended well."""
        pod = self._pod(job)
        report = parse_report(pod.fetch.termination_message) if pod is not None else None
        if report is not None and report.outcome == "partial":
            yield from (failure for failure in report.failures if failure.name in self.models)


def identity(node: NodeFacts | None) -> str:
    """What a node is, until it is restarted or replaced."""
    return "" if node is None else f"{node.uid}/{node.boot_id}"


def _failed(seen: Diagnosis) -> Seen:
    return Seen(False, seen.reason, f"prefetch: {seen.reason}: {seen.message}"[:1024], seen.terminal)


def _image(container: ContainerFacts) -> Seen:
    """The image is there once a container of it was made, however that one ended."""
    if container.exit_code is not None or container.running:
        return Seen(True)
    seen = waiting(container, "True")
    if seen.reason == "Starting":
        return Seen(False, PREFETCHING, "prefetch: the model is there, its Triton image is pulled")
    return Seen(False, seen.reason, f"prefetch: {seen.message}"[:1024])
