"""Prefetch Jobs and their pods in the store: they serve nothing, are charged nothing, and wake whom they are for."""

from typing import Any

import pytest

from littoral.accelerators.catalogue import load
from littoral.api import group
from littoral.controller import kinds
from littoral.controller.kinds import KINDS
from littoral.controller.snapshots import Snapshots
from littoral.controller.store import Store
from littoral.controller.work import PLAN, Work

KEY = ("line", "s1")
MODEL = Work("Model", "line", "plate")
LABELS = {group.LABEL_PREFETCH: "s1", group.LABEL_REVISION: "plate-2", group.LABEL_MODEL: "plate"}
OURS = {
    "ownerReferences": [
        {
            "apiVersion": group.API_VERSION,
            "kind": "InferenceModel",
            "name": "plate",
            "uid": "o",
            "controller": True,
        }
    ]
}


def body(name: str, version: int, meta: Any, **rest: Any) -> Any:
    return {
        "metadata": {"name": name, "namespace": "line", "uid": name, "resourceVersion": str(version), **meta},
        **rest,
    }


def slice_(*, ours: bool = True, shared: bool = False) -> Any:
    labels = {"labels": {group.LABEL_GROUP: "vision"}} if shared else {}
    return body("s1", 1, {**(OURS if ours else {}), **labels}, spec={"memory": "1Gi"})


def job(version: int, **status: Any) -> Any:
    notes = {group.ANNOTATION_MADE_ON: "uid/boot"}
    made = {"labels": LABELS, "annotations": notes, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return body("j", version, made, status=status)


def pod(version: int, **status: Any) -> Any:
    return body("p", version, {"labels": LABELS}, spec={"nodeName": "a"}, status=status)


def ended(kind: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "message": "why", "lastTransitionTime": "2026-01-01T00:01:00Z"}


@pytest.fixture
def store() -> Store:
    store = Store()
    store.apply(kinds.SLICES, slice_())
    return store


ENDS: dict[str, tuple[list[dict[str, Any]], tuple[bool, str, bool]]] = {
    "under way": ([], (False, "", False)),
    "about to succeed": ([ended("SuccessCriteriaMet")], (False, "", False)),
    "done": ([ended("SuccessCriteriaMet"), ended("Complete")], (True, "", True)),
    "failed": ([ended("FailureTarget"), ended("Failed")], (False, "why", True)),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_job_has_ended_when_the_job_controller_says_so(case: str) -> None:
    conditions, (succeeded, failed, has_ended) = ENDS[case]
    project = next(kind.project for kind in KINDS if kind.resource == kinds.JOBS)
    found = project(job(1, conditions=conditions))
    assert (found.succeeded, found.failed, found.ended is not None) == (succeeded, failed, has_ended)
    assert (found.slice, found.revision, found.made_on, found.interrupted) == ("s1", "plate-2", "uid/boot", False)


def test_a_job_says_what_it_was_told_and_how_many_came_before_it() -> None:
    project = next(kind.project for kind in KINDS if kind.resource == kinds.JOBS)
    for text, attempt in (("3", 3), ("", 0), ("-1", 0), ("many", 0), ("9" * 400, 0)):
        body = job(1)
        body["metadata"]["annotations"] = {group.ANNOTATION_ROOM: "digest", group.ANNOTATION_ATTEMPT: text}
        assert (project(body).room, project(body).attempt) == ("digest", attempt)


def test_a_pod_is_its_jobs_by_the_uid_that_the_job_controller_labels_it_with() -> None:
    project = next(kind.project for kind in KINDS if kind.resource == kinds.PODS)
    body = pod(1)
    assert not project(body).job
    body["metadata"]["labels"] = {**LABELS, "batch.kubernetes.io/controller-uid": "j"}
    assert project(body).job == "j"


def test_what_prefetches_for_a_slice_is_found_and_is_none_of_its_servers(store: Store) -> None:
    store.apply(kinds.JOBS, job(2))
    store.apply(kinds.PODS, pod(3))
    jobs, pods = store.prefetches_of(KEY)
    assert ([each.name for each in jobs], [each.name for each in pods]) == (["j"], ["p"])
    assert store.pods_of(KEY) == store.pods_of(("line", "")) == ()
    store.apply(kinds.JOBS, job(4), deleted=True)
    store.apply(kinds.PODS, pod(5), deleted=True)
    assert store.prefetches_of(KEY) == ((), ())
    assert all(not index for index in store._prefetches.values())


def test_placement_does_not_see_it(store: Store) -> None:
    store.apply(kinds.PODS, pod(3))
    assert Snapshots(store, load).draw()[0].pods == {}


def test_it_wakes_the_model_and_never_the_planner(store: Store) -> None:
    refusal = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/3",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    for kind, change in (
        (kinds.JOBS, job(2)),
        (kinds.JOBS, job(3, conditions=[ended("Complete")])),
        (kinds.PODS, pod(4)),
        (kinds.PODS, pod(5, conditions=[refusal])),
    ):
        assert store.apply(kind, change) == {MODEL}
    assert store.apply(kinds.JOBS, job(6), deleted=True) == {MODEL}
    assert store.apply(kinds.PODS, pod(7), deleted=True) == {MODEL}


def test_it_wakes_the_group_whose_slice_it_is_for() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(shared=True))
    assert store.apply(kinds.JOBS, job(2)) == {Work("Group", "line", "vision")}


def test_it_wakes_the_model_on_a_slice_that_its_user_wrote() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(ours=False))
    assert store.apply(kinds.JOBS, job(2)) == {MODEL}
    assert store.apply(kinds.PODS, pod(3)) == {MODEL}


@pytest.mark.parametrize(("uid", "boot"), [("u2", "b1"), ("u1", "b2")], ids=["replaced", "restarted"])
def test_a_node_that_is_another_wakes_what_is_on_it(uid: str, boot: str) -> None:
    def node(version: int, uid: str, boot: str) -> Any:
        meta = {"name": "a", "uid": uid, "resourceVersion": str(version)}
        return {"metadata": meta, "status": {"nodeInfo": {"bootID": boot}}}

    allocation = {"node": "a", "device": "t4-0", "profile": "t4", "provider": "counted", "memory": "1Gi"}
    store = Store()
    store.apply(kinds.SLICES, {**slice_(), "status": {"allocation": allocation}})
    store.apply(kinds.NODES, node(2, "u1", "b1"))
    assert {MODEL, PLAN} <= store.apply(kinds.NODES, node(3, uid, boot))
    assert store.apply(kinds.NODES, node(4, uid, boot)) == set()
