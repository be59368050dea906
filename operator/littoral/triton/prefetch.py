"""How far the prefetch of what a replica is to serve next has come: a pure reading of its Job and of the Job's pod.

A prefetch Job brings the artifacts of a revision into the node's cache and its Triton image into the node's image
store, while the old server goes on serving. It has done so when its fetch container ended well and a container of the
image was made: how that one ended says nothing, for the image is there.

Another Job takes its place where it stands for something else than it was made for, or does not get on:

- its node was restarted (what is in the cache is hashed once more then, better here than while nothing serves) or
  replaced;
- its node was offline before it had ended, and its container waits for the kubelet's next try, or it has no pod. A
  fetch that runs went through the cut, and an archive would begin anew in another: it is left alone;
- it found the cache full, and knows another quota or other slices than one that were made now; or knows the same, and
  the grace that pins have on the node is over;
- it has ended without what is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from littoral.api.workload import ContainerFacts, JobFacts, NodeFacts, PodFacts
from littoral.modelstore.errors import CacheFull
from littoral.modelstore.report import FailedModel, parse_report
from littoral.triton.diagnosis import Diagnosis, fetch, not_fetched, waiting

RETRY_SECONDS: Final = 60.0
"""After a Job has ended without success (which only something else than its fetch can bring about: that is tried again
within the Job), or without a model that is needed, another is made. Twice as long after each further one."""
LONGEST_RETRY_SECONDS: Final = 3600.0
ROOM_SECONDS: Final = 360.0
"""The age at which another takes the place of one that found the cache full though it knew all: the pin of a slice that
was deleted right before holds for five minutes (modelstore.pins.GRACE). Twice as long for the second, the last."""
_ROOM_ATTEMPTS: Final = 2
STARTING_SECONDS: Final = 300.0
"""So long after its creation a Job without a pod, or whose fetch does not run yet, is taken to be about to start."""
_STARTING: Final = {"", "PodInitializing", "ContainerCreating"}
_BACKING_OFF: Final = {"CrashLoopBackOff", "ImagePullBackOff"}
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
    room: str = ""
    """The quota and the slices that a Job would be told of now; see prefetch_job.room."""

    def job(self, revision: str) -> JobFacts | None:
        """The Job for a revision, unless it is being deleted."""
        return next((job for job in self.jobs if job.revision == revision and not job.deleting), None)

    def loading(self, now: datetime) -> JobFacts | None:
        """The Job, if one asks its source for something now or is about to.

        One that is refused, has failed before, or does not come to its fetch does not, and holds up no other node.
        """
        return next((job for job in self.jobs if job.ended is None and self._loads(job, now)), None)

    def _loads(self, job: JobFacts, now: datetime) -> bool:
        pod = self._pod(job)
        if pod is None:
            return _age(job, now) < STARTING_SECONDS
        if pod.scheduling_message or pod.phase == "Failed" or pod.fetch.exit_code is not None:
            return False
        return pod.fetch.running or (pod.fetch.waiting_reason in _STARTING and _age(job, now) < STARTING_SECONDS)

    def replaced_after(self, job: JobFacts, now: datetime) -> float | None:
        """The seconds until another takes the place of a Job that cannot bring what is needed; None: it has, or may."""
        if self._outdated(job):
            return 0.0
        if job.ended is not None:
            if job.succeeded and not self._unproven(job):
                return None
            return max(0.0, _pause(job) - (now - job.ended).total_seconds())
        if job.interrupted and self._pod(job) is None:
            return max(0.0, STARTING_SECONDS - _age(job, now))
        if not self._lacks_room(job):
            return None
        if job.room != self.room:
            return 0.0
        if job.attempt >= _ROOM_ATTEMPTS:
            return None
        return max(0.0, ROOM_SECONDS * 2.0**job.attempt - _age(job, now))

    def attempt(self, job: JobFacts) -> int:
        """The number of the one that takes its place: how long that is given depends on it."""
        same = not self._outdated(job) and (job.ended is not None or (self._lacks_room(job) and job.room == self.room))
        return job.attempt + 1 if same else 0

    def _outdated(self, job: JobFacts) -> bool:
        """Whether what the Job says may not be so any more, or it waits for what is over."""
        if job.made_on != self.node:
            return True
        pod = self._pod(job)
        if not job.interrupted or job.succeeded or pod is None:
            return False
        return pod.fetch.waiting_reason in _BACKING_OFF or pod.server.waiting_reason == "ImagePullBackOff"

    def _unproven(self, job: JobFacts) -> bool:
        """Whether models are needed of which it did not bring one, or nothing says any more that it did."""
        return any(self._missing(job)) or bool(self.models and self._pod(job) is None)

    def seen(self, revision: str) -> Seen:
        """How far it has come with a revision."""
        job = self.job(revision)
        if job is None or self._outdated(job):
            return Seen(False, PREFETCHING, f"revision {revision} has yet to be prefetched")
        missing = [not_fetched(failure) for failure in self._missing(job)]
        if missing:
            worst = min(missing, key=lambda each: not each.terminal)
            return _failed(worst)
        pod = self._pod(job)
        if job.succeeded and pod is None and self.models:
            return Seen(False, PREFETCHING, "prefetch: what arrived is not known any more; it is begun anew")
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
            message = fetch(pod.fetch, self.size).message.replace("the model", f"revision {revision}", 1)
            return Seen(False, PREFETCHING, message)
        reason = PREFETCHING if fetched.reason == "Starting" else fetched.reason
        return Seen(False, reason, f"prefetch: {fetched.message}")

    def _lacks_room(self, job: JobFacts) -> bool:
        pod = self._pod(job)
        return pod is not None and fetch(pod.fetch).reason == CacheFull.__name__

    def _pod(self, job: JobFacts) -> PodFacts | None:
        """The Job's newest pod. One of a former Job of the same name may still be there."""
        mine = [pod for pod in self.pods if pod.job == job.uid and not pod.deleting]
        return max(mine, key=lambda p: (p.phase != "Failed", p.created is not None, p.created, p.name), default=None)

    def _missing(self, job: JobFacts) -> Iterator[FailedModel]:
        """The models of a shared server that are needed and did not arrive, though the fetch ended well."""
        pod = self._pod(job)
        report = parse_report(pod.fetch.termination_message) if pod is not None else None
        if report is not None and report.outcome == "partial":
            yield from (failure for failure in report.failures if failure.name in self.models)


def _age(job: JobFacts, now: datetime) -> float:
    return 0.0 if job.created is None else (now - job.created).total_seconds()


def _pause(job: JobFacts) -> float:
    return min(RETRY_SECONDS * 2.0 ** min(job.attempt, 10), LONGEST_RETRY_SECONDS)


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
