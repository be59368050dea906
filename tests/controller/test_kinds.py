"""Projections of bodies as the API server sends them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from littoral.api import group
from littoral.controller import kinds
from littoral.controller.kinds import KINDS, Child, LiveDeployment

PROJECT = {kind.resource: kind.project for kind in KINDS}
GRANT = '{"node":"a","device":"t4-0","profile":"t4","provider":"counted","memory":"1Gi"}'
POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "line",
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {group.LABEL_SLICE: "s1", group.LABEL_REVISION: "plate-1"},
        "annotations": {group.ANNOTATION_GRANT: GRANT},
    },
    "spec": {"nodeName": "a"},
    "status": {"phase": "Pending"},
}


def pod(**status: Any) -> Any:
    return PROJECT[kinds.PODS]({**POD, "status": {**POD["status"], **status}})


def test_a_node_is_its_facts() -> None:
    body = {
        "metadata": {"name": "a", "uid": "u", "labels": {"littoral.dev/pool": "line3"}},
        "spec": {"unschedulable": True, "taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": {
                "cpu": "3920m",
                "memory": "32780672Ki",
                "nvidia.com/gpu": "4",
                "pods": "110",
                "ephemeral-storage": "9663676416",
            },
            "addresses": [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "192.0.2.7"}],
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
            "nodeInfo": {"architecture": "arm64", "bootID": "b", "kubeletVersion": "v1.32.10-kubeedge-v1.21"},
        },
    }
    facts = PROJECT[kinds.NODES](body)
    assert (facts.cpu, facts.memory, facts.resources) == (3920, 32013, {"nvidia.com/gpu": 4})
    assert (facts.ready, facts.ready_since, facts.connected) == ("True", datetime(2026, 1, 1, tzinfo=UTC), True)
    assert (facts.unschedulable, facts.taints[0].key, facts.architecture, facts.boot_id) == (True, "gpu", "arm64", "b")
    assert (facts.pods, facts.disk, facts.address) == (110, 9216, "192.0.2.7")
    assert facts.kubelet == "v1.32.10-kubeedge-v1.21"


def test_of_a_nodes_annotations_only_what_is_read_is_kept() -> None:
    register = {"hami.io/node-nvidia-register": "[]"}
    body = {"metadata": {"name": "a", "annotations": {**register, "flannel/backend": "x" * 1000}}}
    assert PROJECT[kinds.NODES](body).annotations == register


def test_a_priority_class_is_its_value() -> None:
    assert PROJECT[kinds.PRIORITYCLASSES]({"metadata": {"name": "first"}, "value": 7}).value == 7


def test_a_node_that_never_said_anything_is_not_connected() -> None:
    assert not PROJECT[kinds.NODES]({"metadata": {"name": "a"}}).connected


def test_a_pod_says_how_its_fetch_ended_and_that_its_server_runs() -> None:
    ended = {"name": group.FETCH_CONTAINER, "state": {"terminated": {"exitCode": 0, "message": "report"}}}
    running = {
        "name": group.SERVER_CONTAINER,
        "ready": True,
        "state": {"running": {"startedAt": "2026-11-22T09:00:00Z"}},
        "restartCount": 2,
    }
    found = pod(phase="Running", initContainerStatuses=[ended], containerStatuses=[{"name": "other"}, running])
    assert (found.fetch.exit_code, found.fetch.termination_message, found.fetch.running) == (0, "report", False)
    assert (found.server.ready, found.server.running, found.server.restarts) == (True, True, 2)
    assert found.server.started == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert (found.node, found.slice, found.revision, found.deleting) == ("a", "s1", "plate-1", False)
    assert found.grant is not None
    assert found.grant.memory == "1Gi"


def test_a_container_that_waits_to_be_restarted_still_says_how_it_ended() -> None:
    server = {
        "name": group.SERVER_CONTAINER,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
        "lastState": {"terminated": {"exitCode": 1, "message": "error: no"}},
    }
    found = pod(containerStatuses=[server]).server
    assert (found.waiting_reason, found.exit_code, found.termination_message) == ("CrashLoopBackOff", 1, "error: no")


SINCE = "2026-01-01T00:00:07Z"
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "by the scheduler": (
        {
            "conditions": [
                {"type": "PodScheduled", "status": "False", "message": "0/3 nodes", "lastTransitionTime": SINCE}
            ]
        },
        "0/3 nodes",
    ),
    "by the kubelet": (
        {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no device", "startTime": SINCE},
        "UnexpectedAdmissionError: no device",
    ),
    "by the kubelet that evicted it after it ran": (
        {
            "phase": "Failed",
            "reason": "Evicted",
            "startTime": "2025-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": SINCE}],
        },
        "Evicted",
    ),
    "by nobody": ({"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": SINCE}]}, ""),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_pod_says_who_refused_it(case: str) -> None:
    status, message = REFUSALS[case]
    found = pod(**status)
    assert found.scheduling_message == message
    assert found.refused_at == (datetime.fromisoformat(SINCE) if message else None)


@pytest.mark.parametrize("text", [None, "{", '{"memory":1}', "[]"])
def test_a_grant_that_cannot_be_read_is_none(text: str | None) -> None:
    assert kinds.parse_grant({} if text is None else {group.ANNOTATION_GRANT: text}) is None


def test_a_deployment_keeps_what_is_written_of_it_and_not_what_it_reports() -> None:
    body: dict[str, Any] = {
        "metadata": {
            "name": "s1",
            "namespace": "line",
            "uid": "u",
            "resourceVersion": "5",
            "managedFields": [{}],
            "labels": {group.LABEL_SLICE: "s1", group.LABEL_MODEL: "plate", group.LABEL_REVISION: "plate-1"},
            "annotations": {group.ANNOTATION_PREVIOUS: "plate-0"},
        },
        "spec": {"replicas": 1, "template": {"metadata": {"annotations": {group.ANNOTATION_GRANT: GRANT}}}},
        "status": {
            "readyReplicas": 1,
            "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=1"}],
        },
    }
    live = PROJECT[kinds.DEPLOYMENTS](body)
    assert isinstance(live, LiveDeployment)
    assert (live.facts.model, live.facts.revision, live.facts.previous) == ("plate", "plate-1", "plate-0")
    assert live.facts.refused == "exceeded quota: pods=1"
    assert live.live["spec"] == body["spec"]
    assert set(live.live["metadata"]) == set(body["metadata"]) - {"managedFields", "resourceVersion"}
    reports = {**body["status"], "readyReplicas": 0}
    later = {**body, "metadata": {**body["metadata"], "resourceVersion": "6"}, "status": reports}
    assert PROJECT[kinds.DEPLOYMENTS](later) == live
    assert isinstance(PROJECT[kinds.SERVICES](body), Child)


HAMI_GRANT = GRANT.replace("counted", "hami")
ALLOCATED = {"hami.io/vgpu-devices-allocated": "GPU-1,NVIDIA,4096,30:;"}
HAMI: dict[str, tuple[str, dict[str, str], dict[str, str], str]] = {
    "its limits hold": (HAMI_GRANT, ALLOCATED, {"nodeName": "a", "schedulerName": "hami-scheduler"}, ""),
    "another scheduler": (HAMI_GRANT, ALLOCATED, {"nodeName": "a", "schedulerName": "mine"}, "its scheduler is mine"),
    "passed over": (HAMI_GRANT, {}, {"nodeName": "a", "schedulerName": "hami-scheduler"}, "passed it over"),
    "not bound yet": (HAMI_GRANT, {}, {"schedulerName": "hami-scheduler"}, ""),
    "no HAMi": (GRANT, {}, {"nodeName": "a"}, ""),
}


@pytest.mark.parametrize("case", HAMI)
def test_a_pod_that_hami_passed_over_is_known_to_run_without_limits(case: str) -> None:
    grant, annotations, spec, sentence = HAMI[case]
    meta = {**POD["metadata"], "annotations": {group.ANNOTATION_GRANT: grant, **annotations}}
    found = PROJECT[kinds.PODS]({**POD, "metadata": meta, "spec": spec})
    assert sentence in found.unlimited
    assert bool(found.unlimited) is bool(sentence)
    assert (found.reported.uuid if found.reported else "") == ("GPU-1" if annotations else "")
