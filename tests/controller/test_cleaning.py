"""Model caches of namespaces that are gone: what is done about them, step by step, and what is never done."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from tests.controller.cluster import Cluster, Json

from littoral.api import group
from littoral.api.base import Metadata
from littoral.controller import kinds
from littoral.controller.caches import Caches
from littoral.controller.cleaning import AT_ONCE, RETRY, Cleaning
from littoral.controller.errors import Forbidden, Unavailable
from littoral.controller.namespace import Storage
from littoral.controller.store import Store
from littoral.controller.work import utcnow
from littoral.controller.writer import Writer
from littoral.triton import cleaning_job, storage

OURS = "littoral-system"
LINE = str(uuid.UUID(int=1))
AGAIN = str(uuid.UUID(int=2))
NOTE = {"uid": LINE, "namespace": "line"}


class Events:
    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def record(self, subject: Any, _: str, reason: str, message: str) -> None:
        self.said.append((subject.name, reason, message))


class Operator:
    """The parts that clean, on a cluster of one node with one note, whose namespace is gone."""

    def __init__(self, *, level: str = "baseline") -> None:
        self.cluster, self.store, self.events = Cluster(), Store(), Events()
        label = {"pod-security.kubernetes.io/enforce": level}
        self.cluster.put(kinds.NAMESPACES, {"metadata": {"name": OURS, "uid": "ours", "labels": label}})
        self.node("a")
        writer = Writer(self.cluster, self.store, list)  # type: ignore[arg-type]
        self.cleaning = Cleaning(
            self.store,
            writer,
            caches=Caches(self.store, writer),
            storage=Storage(self.store, writer),
            events=self.events,  # type: ignore[arg-type]
            namespace=OURS,
            image="littoral:7",
        )

    def node(self, name: str, ready: str = "True") -> None:
        status = {"conditions": [{"type": "Ready", "status": ready}]}
        self.cluster.put(kinds.NODES, {"metadata": {"name": name}, "status": status})
        self.cluster.put(kinds.EDGENODES, {"metadata": {"name": name}, "spec": {}, "status": {"caches": [NOTE]}})

    def job(self, end: str = "", *, since: timedelta = timedelta(0)) -> None:
        """The Job is there, and may have ended."""
        body = cleaning_job.build(Metadata(name="a", uid="uid-a"), LINE, namespace=OURS, image="littoral:7")
        at = (utcnow() - since).isoformat()
        ended = [{"type": end, "status": "True", "message": "it broke", "lastTransitionTime": at}] if end else []
        self.cluster.put(kinds.JOBS, {**body, "status": {"conditions": ended}})

    async def __call__(self) -> float | None:
        """One visit, after a look at everything."""
        self.cluster.list_into(self.store)
        return await self.cleaning.reconcile()

    def names(self, resource: Any) -> list[str]:
        return [name for kind, _, name in self.cluster.objects if kind == resource]

    @property
    def caches(self) -> list[Json]:
        found: list[Json] = self.cluster.objects[kinds.EDGENODES, "", "a"]["status"]["caches"]
        return found


JOB = cleaning_job.name("a", LINE)


async def test_a_job_is_made_with_what_it_needs() -> None:
    operator = Operator()

    assert await operator() is None
    await operator()

    assert operator.cluster.writes == [
        f"create persistentvolumes {group.CLEANUP_CLAIM}",
        f"create persistentvolumeclaims {group.CLEANUP_CLAIM}",
        f"create jobs {JOB}",
    ]
    assert operator.caches == [NOTE]


async def test_when_it_has_succeeded_the_note_goes_and_then_the_job() -> None:
    operator = Operator()
    operator.job("Complete")

    await operator()
    await operator()

    assert operator.cluster.writes == ["patch edgenodes a", f"delete jobs {JOB}"]
    assert operator.caches == []


@pytest.mark.parametrize("place", [{"namespace": "tenant"}, {"name": "another"}])
async def test_what_anybody_labels_so_is_no_job_of_ours(place: Json) -> None:
    operator = Operator()
    operator.job("Complete")
    ((key, body),) = [(key, body) for key, body in operator.cluster.objects.items() if key[0] == kinds.JOBS]
    del operator.cluster.objects[key]
    operator.cluster.put(kinds.JOBS, {**body, "metadata": {**body["metadata"], **place}})

    await operator()
    await operator()

    assert operator.caches == [NOTE]
    assert f"create jobs {JOB}" in operator.cluster.writes


async def test_a_job_that_nobody_needs_goes() -> None:
    operator = Operator()
    operator.cluster.objects[kinds.EDGENODES, "", "a"]["status"]["caches"] = []
    operator.job("Complete")  # an operator died after it had taken the note back

    await operator()

    assert operator.cluster.writes == [f"delete jobs {JOB}"]


async def test_nothing_is_done_on_a_node_that_is_offline() -> None:
    for end in (None, "", "Complete", "Failed"):
        operator = Operator()
        if end is not None:
            operator.job(end, since=2 * RETRY)
        operator.node("a", "Unknown")

        assert await operator() is None

        assert (operator.cluster.writes, operator.events.said) == ([], [])


async def test_a_namespace_that_exists_keeps_its_folder_whatever_was_listed() -> None:
    operator = Operator()
    operator.cluster.list_into(operator.store)
    operator.cluster.put(kinds.NAMESPACES, {"metadata": {"name": "line", "uid": LINE}})  # the watch is late

    assert await operator.cleaning.reconcile() is None

    assert operator.cluster.writes == []


async def test_one_made_again_under_the_old_name_is_another() -> None:
    operator = Operator()
    operator.cluster.put(kinds.NAMESPACES, {"metadata": {"name": "line", "uid": AGAIN}})
    edge = operator.cluster.objects[kinds.EDGENODES, "", "a"]
    edge["status"]["caches"] = [NOTE, {"uid": AGAIN, "namespace": "line"}]

    await operator()

    (job,) = [body for (kind, _, _), body in operator.cluster.objects.items() if kind == kinds.JOBS]
    assert job["spec"]["template"]["spec"]["containers"][0]["command"][-1] == LINE


async def test_one_that_is_going_is_not_gone() -> None:
    operator = Operator()
    going = {"name": "line", "uid": LINE, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    operator.cluster.put(kinds.NAMESPACES, {"metadata": going})

    await operator()

    assert operator.cluster.writes == []


async def test_a_failure_is_said_and_tried_again_an_hour_later() -> None:
    operator = Operator()
    operator.job("Failed", since=timedelta(minutes=20))

    again = await operator()

    assert again is not None
    assert 2390 <= again <= 2400
    assert operator.cluster.writes == []
    sentence = (
        f"the model cache of namespace {LINE}, which is gone, could not be removed: it broke; "
        f"kubectl logs -n {OURS} job/{JOB} says why; it is tried again every hour"
    )
    assert operator.events.said == [("a", "CacheNotRemoved", sentence)]


async def test_what_has_failed_long_ago_is_made_anew() -> None:
    operator = Operator()
    operator.job("Failed", since=RETRY)

    await operator()
    assert operator.cluster.writes == [f"delete jobs {JOB}"]
    await operator()

    assert operator.cluster.writes[-1] == f"create jobs {JOB}"


async def test_so_many_at_once() -> None:
    operator = Operator()
    for number in range(AT_ONCE + 5):
        operator.node(f"n{number:02}")

    await operator()
    assert len(operator.names(kinds.JOBS)) == AT_ONCE
    await operator()
    assert len(operator.names(kinds.JOBS)) == AT_ONCE

    for name in operator.names(kinds.JOBS)[:3]:
        body = operator.cluster.objects[kinds.JOBS, OURS, name]
        body["status"] = {"conditions": [{"type": "Complete", "status": "True", "message": ""}]}
        body["status"]["conditions"][0]["lastTransitionTime"] = utcnow().isoformat()
        operator.cluster.put(kinds.JOBS, body)
    await operator()
    await operator()

    assert len(operator.names(kinds.JOBS)) == AT_ONCE


async def test_what_may_not_be_made_is_said_and_left_alone_for_a_while() -> None:
    operator = Operator()
    refusal = Forbidden(f"create jobs {OURS}/{JOB}", "exceeded quota: jobs")
    operator.cluster.refuses = lambda write: refusal if write.startswith("create jobs") else None

    assert await operator() == 600

    (said,) = operator.events.said
    assert said[2] == (
        "a namespace's model cache cannot be removed, for its Job may not be made: "
        f"create jobs {OURS}/{JOB}: exceeded quota: jobs"
    )


async def test_what_time_may_mend_is_the_queues_to_try_again() -> None:
    operator = Operator()
    operator.cluster.refuses = lambda write: Unavailable(write, "no answer")

    with pytest.raises(Unavailable):
        await operator()

    assert operator.events.said == []


async def test_where_the_pod_would_be_refused_no_job_waits_in_silence() -> None:
    operator = Operator(level="restricted")

    assert await operator() == 600

    assert operator.cluster.writes == []
    sentence = (
        f"a namespace's model cache cannot be removed: namespace {OURS} enforces the Pod Security level restricted, "
        "which refuses the Job's uid 0; label it pod-security.kubernetes.io/enforce=baseline"
    )
    assert operator.events.said == [("a", "CacheNotRemoved", sentence)]


async def test_a_volume_that_was_bound_to_an_earlier_claim_gives_way() -> None:
    operator = Operator()
    volume = storage.cleanup_volume(OURS, "ours")
    volume["spec"]["claimRef"]["uid"] = "of-the-claim-that-somebody-deleted"
    operator.cluster.put(kinds.VOLUMES, volume)

    assert await operator() == 1.0
    assert operator.cluster.writes == [f"delete persistentvolumes {group.CLEANUP_CLAIM}"]
    await operator()

    assert operator.names(kinds.JOBS) == [JOB]


async def test_the_operators_own_volume_is_no_leftover_of_its_namespace() -> None:
    operator = Operator()
    await operator()
    operator.cluster.list_into(operator.store)

    await operator.cleaning._storage.reconcile(OURS)

    assert operator.names(kinds.VOLUMES) == [group.CLEANUP_CLAIM]
