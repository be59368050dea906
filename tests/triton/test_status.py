"""What a model says of itself: each rule of Ready, and what explains it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from littoral.api import conditions
from littoral.api.conditions import Finding
from littoral.api.gpuslice import Allocation, GPUSliceSpec
from littoral.api.inferencemodel import MAX_NODES_LISTED, Failure, InferenceModel
from littoral.api.workload import ContainerFacts, DeploymentFacts, JobFacts, PodFacts
from littoral.placement.results import Assignment, ModelPlan
from littoral.triton.prefetch import Prefetch
from littoral.triton.replica import Replica
from littoral.triton.rollout import Decision, Failed
from littoral.triton.status import Problem, View, status

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ALWAYS = ["Ready", "Placed", "Fetched", "Loaded", "NodesConnected"]
FETCHED = ContainerFacts(exit_code=0, termination_message='{"outcome":"ok"}')
MISMATCH = ContainerFacts(
    exit_code=1, termination_message='{"outcome":"failed","reason":"DigestMismatch","message":"not the bytes"}'
)
SPEC: dict[str, Any] = {
    "variants": [
        {
            "name": "v",
            "accelerators": ["*"],
            "format": "onnx",
            "source": {"uri": "https://models.example/7", "sha256": "a" * 64},
        }
    ]
}


def replica(
    node: str, *, ready: bool = True, revision: str = "A", wanted: str = "A", blocked: str = "", **changes: Any
) -> Replica:
    grant = Allocation(node=node, device="t4-0", profile="t4", provider="counted", memory="1Gi")
    place = Assignment(
        f"s-{node}", node, "t4-0", "t4", "v", "why", "", GPUSliceSpec(memory="1Gi"), grant, grant, blocked
    )
    live = DeploymentFacts("line", f"s-{node}", "", f"s-{node}", "plate", revision, grant)
    fetch = changes.pop("fetch", FETCHED)
    server = ContainerFacts(ready=ready, running=True)
    pod = PodFacts("line", node, "", node, f"s-{node}", revision, "Running", False, fetch, server, grant)
    return replace(Replica(place, wanted, grant, live, (pod,)), **changes)


def offline(node: str, **changes: Any) -> Replica:
    return replica(node, **changes, connected=False, node_ready=False)


def view(
    *replicas: Replica, before: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **changes: Any
) -> View:
    model = InferenceModel.model_validate(
        {
            "metadata": {"name": "plate", "namespace": "line", "generation": 3},
            "spec": {**SPEC, **(spec or {})},
            "status": before or {},
        }
    )
    plan = ModelPlan(len(replicas), tuple(r.assignment for r in replicas), (), (), 0, "Placed", "placed")
    return View(**{
        "model": model, "plan": plan, "replicas": replicas, "decision": Decision(), "failed": {}, "revision": "rev",
        **changes,
    })  # fmt: skip


def ready_before(value: str, **more: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": value, "reason": "Serving", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"conditions": [condition], **more}


def waiting(message: str, *, wanted: int = 1, missing: int = 1) -> ModelPlan:
    return ModelPlan(wanted, (), (), (), missing, "InsufficientMemory", message)


READY: dict[str, tuple[View, str, str, str]] = {
    "serving": (view(replica("a"), replica("b")), "True", "Serving", "2 of 2 serving"),
    "some nodes offline": (
        view(replica("a"), offline("b", revision="O")),
        "True",
        "ServingNodesOffline",
        "1 serving, 1 offline, serving when last seen; 1 still owed revision rev",
    ),
    "all offline, and it was ready": (
        view(offline("a"), before=ready_before("True")),
        "True",
        "AllNodesOffline",
        "all 1",
    ),
    "all offline, and it was not": (
        view(offline("a"), before=ready_before("False")),
        "False",
        "AllNodesOffline",
        "all 1",
    ),
    "all offline, and nobody ever saw it": (view(offline("a")), "Unknown", "AllNodesOffline", "all 1"),
    "offline before it answered": (
        view(replica("a"), offline("b", ready=False)),
        "False",
        "OfflineBeforeReady",
        "node b went offline before",
    ),
    "an update that failed": (
        view(replica("a", wanted="B"), failed={"B": "node a: no"}),
        "False",
        "UpdateFailed",
        "node a: no; the last good revision serves",
    ),
    "one that failed on its second node, and serves on its first": (
        view(replica("a", revision="B", wanted="B"), replica("b", wanted="B"), failed={"B": "node b: no"}),
        "False",
        "UpdateFailed",
        "node b: no; 1 of 2 answered at it before and serve it, the others the last good revision",
    ),
    "one that is being put back": (
        view(replica("a", wanted="B"), replica("b", revision="B", wanted="B", ready=False), failed={"B": "node b: no"}),
        "False",
        "UpdateFailed",
        "node b: no; 1 of 2 serve meanwhile",
    ),
    "an update that failed, while another node loads": (
        view(replica("a", ready=False), replica("b", wanted="B"), failed={"B": "node b: no"}),
        "False",
        "UpdateFailed",
        "node b: no; 1 of 2 serve meanwhile",
    ),
    "paused": (
        view(replica("a"), replica("b", wanted="B"), spec={"paused": True}),
        "False",
        "Paused",
        "the update is paused: 1 of 2 updated",
    ),
    "updating": (
        view(replica("a", wanted="B"), decision=Decision(waits_for="node b: its pod is starting")),
        "False",
        "Updating",
        "0 of 1 updated; waits for node b: its pod is starting",
    ),
    "new figures that wait": (
        view(replica("a", wanted="B", blocked="t4-0 has 1Gi free")),
        "False",
        "UpdateBlocked",
        "node a: t4-0 has 1Gi free",
    ),
    "loading": (
        view(replica("a"), replica("b", ready=False)),
        "False",
        "Loading",
        "node b: Triton is loading the model",
    ),
    "scaled to zero": (view(spec={"replicas": 0}), "True", "ScaledToZero", "no replica is asked for"),
    "on every node that fits, and none does": (
        view(
            spec={"placement": {"mode": "PerNode"}},
            plan=replace(waiting("no node", wanted=0, missing=0), reason="NoNode"),
        ),
        "False",
        "NoNode",
        "no node",
    ),
    "no place": (view(plan=waiting("t4-0 is full")), "False", "InsufficientMemory", "t4-0 is full"),
    "no place for one of two": (
        view(replica("a"), plan=waiting("t4-0 is full", wanted=2)),
        "False",
        "InsufficientMemory",
        "t4-0 is full",
    ),
    "a stranger's object": (
        view(replica("a"), problem=Problem("NameConflict", "Service plate exists")),
        "False",
        "NameConflict",
        "Service plate exists",
    ),
}


@pytest.mark.parametrize("case", READY)
def test_ready_follows_its_rules(case: str) -> None:
    shown, value, reason, message = READY[case]
    found = status(shown, NOW)
    ready = conditions.find(found.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == (value, reason)
    assert ready.message.startswith(message)
    assert [c.type for c in found.conditions if c.type != "Stalled"] == ALWAYS
    assert {c.observed_generation for c in found.conditions} == {found.observed_generation} == {3}


STALLED: dict[str, tuple[View, str | None]] = {
    "serving": (view(replica("a")), None),
    "loading": (view(replica("a", ready=False)), None),
    "an update that failed": (view(replica("a", wanted="B"), failed={"B": "no"}), "UpdateFailed"),
    "a failure that nobody wants any more": (view(replica("a"), failed={"B": "no"}), None),
    "a fetch that never heals": (view(replica("a", ready=False, fetch=MISMATCH)), "DigestMismatch"),
    "the same on an offline node": (view(offline("a", ready=False, fetch=MISMATCH)), None),
    "what may heal": (view(problem=Problem("NameConflict", "no")), None),
    "what never does": (view(problem=Problem("NoImage", "no", terminal=True)), "NoImage"),
}


@pytest.mark.parametrize("case", STALLED)
def test_stalled_is_there_only_for_what_never_heals(case: str) -> None:
    shown, reason = STALLED[case]
    found = conditions.find(status(shown, NOW).conditions, "Stalled")
    assert (found and found.reason) == reason
    assert found is None or found.status == "True"


def test_a_transition_time_moves_with_the_status_alone() -> None:
    same, moved = (
        conditions.find(status(view(replica("a"), before=ready_before(value)), NOW).conditions, "Ready")
        for value in ("True", "False")
    )
    assert same is not None
    assert moved is not None
    assert (same.last_transition_time, moved.last_transition_time) == (THEN, NOW)


def test_the_worst_node_speaks_for_what_was_fetched_and_loaded() -> None:
    found = status(view(replica("a"), replica("b", ready=False, fetch=MISMATCH), offline("c")), NOW)
    fetched, loaded = (conditions.find(found.conditions, name) for name in ("Fetched", "Loaded"))
    assert fetched is not None
    assert loaded is not None
    assert (fetched.status, fetched.reason) == ("False", "DigestMismatch")
    assert fetched.message == "1 of 2; node b: not the bytes"
    assert (loaded.status, loaded.reason) == ("Unknown", "DigestMismatch")


def test_the_last_failure_stays_until_all_is_ready() -> None:
    failure = Failed("B", "a", "Loading", "not ready within 600 s")
    first = status(view(replica("a", wanted="B"), decision=Decision(failure=failure), failed={"B": "no"}), THEN)
    kept = Failure(node="a", revision="B", reason="Loading", message="not ready within 600 s", time=THEN)
    assert first.last_failure == kept
    before = first.model_dump(by_alias=True)
    again = view(replica("a", wanted="B"), decision=Decision(failure=failure), failed={"B": "no"}, before=before)
    later = view(replica("a", ready=False, wanted="B"), failed={"B": "no"}, before=before)
    healed = view(replica("a"), before=before)
    assert [status(each, NOW).last_failure for each in (again, later, healed)] == [kept, kept, None]


def test_a_status_is_its_own_fixed_point() -> None:
    """Nothing is written at rest: drawn again from itself it is the same."""
    shown = view(replica("a"), replica("b", ready=False, fetch=MISMATCH), offline("c"))
    first = status(shown, THEN)
    again = replace(shown, model=shown.model.model_copy(update={"status": first}))
    assert status(again, NOW) == first


def test_what_does_not_serve_is_listed_first_and_the_list_is_bounded() -> None:
    many = [replica(f"n{number:03}") for number in range(MAX_NODES_LISTED + 5)]
    found = status(view(*many, replica("z", ready=False)), NOW)
    assert [found.nodes[0].node, found.nodes[1].node] == ["z", "n000"]
    assert len(found.nodes) == MAX_NODES_LISTED
    assert (found.replicas, found.ready_replicas, found.offline_replicas) == (len(many) + 1, len(many), 0)


def test_offline_nodes_are_named_and_counted() -> None:
    found = status(view(replica("a"), *(offline(f"n{number}") for number in range(7))), NOW)
    connected = conditions.find(found.conditions, "NodesConnected")
    assert (
        connected
        == conditions.merge(
            (),
            [Finding("NodesConnected", "False", "NodesOffline", connected.message if connected else "")],
            generation=3,
            now=NOW,
        )[0]
    )
    assert connected.message == "7 of 8 offline: n0, n1, n2, n3, n4 and others; nothing of them is touched"
    assert (found.offline_replicas, found.ready_replicas) == (7, 1)


UNREACHABLE = ContainerFacts(
    exit_code=1, termination_message='{"outcome":"failed","reason":"SourceUnreachable","message":"nobody answers"}'
)


def prefetching(fetch: ContainerFacts, **changes: Any) -> Replica:
    """A node that answers at A, to which B is being brought."""
    pod = PodFacts("line", "j", "", "a", "", "B", "Pending", False, fetch, ContainerFacts(), None, prefetch="s-a")
    ahead = Prefetch((JobFacts("line", "j", "", "s-a", "B"),), (pod,), size=2**31)
    return replace(replica("a", wanted="B"), prefetch=ahead, **changes)


def test_a_node_says_what_its_update_waits_for() -> None:
    running = ContainerFacts(running=True, started=THEN)
    (node,) = status(view(prefetching(running)), NOW).nodes
    assert node.message == "fetching revision B (2Gi) since 2026-01-01T00:00:00Z by the node's clock"
    for silent in (view(prefetching(running), failed={"B": "no"}), view(prefetching(running, connected=False))):
        (node,) = status(silent, NOW).nodes
        assert node.message == "", "nothing of it goes on"


def test_a_prefetch_that_waits_for_its_source_is_the_last_failure() -> None:
    found = status(view(prefetching(UNREACHABLE)), NOW).last_failure
    message = "prefetch: SourceUnreachable: nobody answers"
    assert found == Failure(node="a", revision="B", reason="SourceUnreachable", message=message, time=NOW)
    assert status(view(prefetching(ContainerFacts(running=True))), NOW).last_failure is None


def test_a_first_fetch_says_since_when_and_how_much() -> None:
    fetching = replace(replica("a", ready=False, fetch=ContainerFacts(running=True, started=THEN)), size=180 * 2**20)
    ready = conditions.find(status(view(fetching), NOW).conditions, "Ready")
    assert ready is not None
    assert ready.message == "node a: fetching the model (180Mi) since 2026-01-01T00:00:00Z by the node's clock"
