"""Model caches of namespaces that are gone: a Job on each connected node removes the folder, then the note goes.

    the namespace is gone       -> a Job on every connected node whose EdgeNode notes it, AT_ONCE at a time
    the Job has succeeded       -> the note is taken back, then the Job is deleted
    the Job has failed          -> said by an Event on the EdgeNode; deleted, and made anew, after RETRY
    nothing is noted any more   -> the Job is deleted
    the node is offline         -> nothing is done there until it is back

What has been done stands in the cluster alone, so that an operator may die between any two of these steps. A folder is
named by its namespace's UID: one made again under an old name has another, and is not touched. That a namespace is gone
is not concluded from what was listed a while ago: it is asked for right before a Job is made.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from littoral.api import group
from littoral.api.base import Metadata
from littoral.api.edgenode import EdgeNode, NamespaceCache
from littoral.api.workload import JobFacts
from littoral.controller import kinds
from littoral.controller.caches import Caches
from littoral.controller.errors import Forbidden, Invalid
from littoral.controller.namespace import Storage
from littoral.controller.store import Store
from littoral.controller.triggers import abandoned
from littoral.controller.work import utcnow
from littoral.controller.writer import NameConflictError, Writer, side_by_side
from littoral.telemetry.events import EventRecorder, Subject
from littoral.triton import cleaning_job

AT_ONCE: Final = 32
"""Jobs that run at the same time, in the whole cluster: a namespace may have had models on thousands of nodes."""
RETRY: Final = timedelta(hours=1)
"""After a Job has failed; its pods were tried several times, each after a longer pause than the one before."""
_REFUSED_AGAIN: Final = 600.0
"""Seconds after which what the API server refused is tried again."""
_BINDING: Final = 1.0
"""Seconds until a volume that was bound to an earlier claim has given way to its successor."""
_ENFORCED: Final = "pod-security.kubernetes.io/enforce"

Place = tuple[str, str]
"""(node, UID of the namespace)."""


class Cleaning:
    """See the module's text."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        *,
        caches: Caches,
        storage: Storage,
        events: EventRecorder,
        namespace: str,
        image: str,
    ) -> None:
        """`namespace` is the operator's own, `image` the fetch container's."""
        self._store = store
        self._writer = writer
        self._caches = caches
        self._storage = storage
        self._events = events
        self._namespace = namespace
        self._image = image

    async def reconcile(self) -> float | None:
        """Do what is due on all nodes; the seconds after which to look again, if something is waited for."""
        jobs = {(job.node, job.cache): job for job in self._store.values(kinds.JOBS).values() if self._is_mine(job)}
        left = self._left()
        here = [place for place in sorted(jobs.keys() | left.keys()) if self._connected(place[0])]
        errors = await side_by_side(
            *(self._end(place, jobs[place], wanted=place in left) for place in here if place in jobs)
        )
        running = sum(1 for place in here if place in jobs and jobs[place].ended is None)
        due = [place for place in here if place not in jobs][: max(0, AT_ONCE - running)]
        again = await self._begin({place: left[place] for place in due}) if due else None
        if errors:
            raise errors[0]  # time may mend it: again after the key's back-off
        waits = [self._wait(job) for place, job in jobs.items() if place in here and job.failed]
        return min((each for each in (again, *waits) if each is not None), default=None)

    def _is_mine(self, job: JobFacts) -> bool:
        """Anybody may label a Job; only here and under its own name it is one that was made by this."""
        return job.namespace == self._namespace and job.name == cleaning_job.name(job.node, job.cache)

    def _left(self) -> dict[Place, NamespaceCache]:
        """The caches of namespaces that are not known any more."""
        edges = self._store.values(kinds.EDGENODES).items()
        return {(name, each.uid): each for (_, name), edge in edges for each in abandoned(self._store, edge)}

    def _connected(self, node: str) -> bool:
        facts = self._store.node(node)
        return facts is not None and facts.connected

    # Jobs that are there

    async def _end(self, place: Place, job: JobFacts, *, wanted: bool) -> None:
        """Take away what has ended, and what nobody needs."""
        if job.deleting:
            return
        if wanted and job.succeeded:
            await self._caches.forget(*place)
        elif wanted and job.failed:
            self._tell(place, "CacheNotRemoved", self._failure(job))
            if self._wait(job) > 0:
                return
        elif wanted:
            return
        await self._writer.delete(kinds.JOBS, (job.namespace, job.name), uid=job.uid)

    def _wait(self, job: JobFacts) -> float:
        """The seconds until a Job that failed is made anew."""
        return 0.0 if job.ended is None else max(0.0, (job.ended + RETRY - utcnow()).total_seconds())

    def _failure(self, job: JobFacts) -> str:
        return (
            f"the model cache of namespace {job.cache}, which is gone, could not be removed: {job.failed}; "
            f"kubectl logs -n {job.namespace} job/{job.name} says why; it is tried again every hour"
        )

    # Jobs to be made

    async def _begin(self, due: Mapping[Place, NamespaceCache]) -> float | None:
        """Make the Jobs for what is really gone."""
        gone = await self._gone(due.values())
        due = {place: each for place, each in due.items() if each.uid in gone}
        if not due:
            return None
        if problem := self._level():
            self._tell(next(iter(due)), "CacheNotRemoved", problem)
            return _REFUSED_AGAIN
        errors = await side_by_side(self._storage.ensure_cleanup(self._namespace))
        if not errors and not self._storage.has_cleanup(self._namespace):
            return _BINDING
        errors = errors or await side_by_side(*(self._make(place) for place in due))
        for error in errors:
            if not isinstance(error, Forbidden | Invalid | NameConflictError):
                raise error
        if errors:
            sentence = f"a namespace's model cache cannot be removed, for its Job may not be made: {errors[0]}"
            self._tell(next(iter(due)), "CacheNotRemoved", sentence)
            return _REFUSED_AGAIN
        return None

    async def _gone(self, noted: Iterable[NamespaceCache]) -> set[str]:
        """The UIDs of those namespaces that do not exist at this moment."""
        asked = {each.namespace: each for each in noted}
        found = {name: await self._writer.read(kinds.NAMESPACES, ("", name)) for name in sorted(asked)}
        alive = {body["metadata"]["uid"] for body in found.values() if body is not None}
        return {each.uid for each in noted} - alive

    async def _make(self, place: Place) -> None:
        edge = self._store.get(kinds.EDGENODES, ("", place[0]))
        if isinstance(edge, EdgeNode) and self._connected(place[0]):
            job = cleaning_job.build(edge.metadata, place[1], namespace=self._namespace, image=self._image)
            await self._writer.create(kinds.JOBS, job)

    def _level(self) -> str:
        """Why the Job's pod would be refused, in silence: Pod Security refuses pods, not Jobs."""
        meta = self._store.get(kinds.NAMESPACES, ("", self._namespace))
        if not isinstance(meta, Metadata) or meta.labels.get(_ENFORCED) != "restricted":
            return ""
        return (
            f"a namespace's model cache cannot be removed: namespace {self._namespace} enforces the Pod Security level "
            "restricted, which refuses the Job's uid 0; label it pod-security.kubernetes.io/enforce=baseline"
        )

    def _tell(self, place: Place, reason: str, sentence: str) -> None:
        edge = self._store.get(kinds.EDGENODES, ("", place[0]))
        if isinstance(edge, EdgeNode):
            subject = Subject(group.API_VERSION, "EdgeNode", "", place[0], edge.metadata.uid)
            self._events.record(subject, "Warning", reason, sentence)
