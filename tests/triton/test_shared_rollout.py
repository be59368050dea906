"""Updates of shared servers: which models must answer before a node's update counts, and what each sees of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.triton.rollouts import job, prefetched

from littoral.api.gpuslice import Allocation, GPUSliceSpec
from littoral.api.workload import ContainerFacts, DeploymentFacts, PodFacts
from littoral.modelstore.report import Report
from littoral.placement.results import Assignment
from littoral.triton.replica import Replica
from littoral.triton.rollout import Decision, decide

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
READY, NOT_READY = ContainerFacts(ready=True, running=True), ContainerFacts(running=True)
FETCHED = ContainerFacts(exit_code=0, termination_message=Report("ok").dump())
GRANT = Allocation(node="n", device="t4-0", profile="t4", provider="counted", memory="1Gi")


def replica(
    node: str, revision: str, previous: str, *models: str, broken: tuple[str, ...] = (), age: int = 30
) -> Replica:
    """A server with models a and b that was updated `age` seconds ago; `models` must answer."""
    containers = {name: NOT_READY if name in broken else READY for name in ("a", "b")}
    pod = PodFacts(
        "line", f"{node}-pod", "", node, f"s-{node}", revision, "Running", deleting=False, fetch=FETCHED,
        server=READY, grant=GRANT, model_containers=containers,
    )  # fmt: skip
    times = {"started_at": NOW - timedelta(days=1), "updated_at": NOW - timedelta(seconds=age)}
    allocation = GRANT.model_copy(update=times)
    return Replica(
        Assignment(f"s-{node}", node, "t4-0", "t4", "", "", "", GPUSliceSpec(memory="1Gi"), allocation, allocation),
        wanted="new",
        allocation=allocation,
        deployment=DeploymentFacts("line", f"s-{node}", "", f"s-{node}", "", revision, GRANT, previous),
        pods=(pod,),
        models=models,
        prefetch=prefetched(node, job(node, "new")),
    )


def decided(*replicas: Replica) -> Decision:
    return decide(replicas, failed={}, fallback={}, paused=False, timeout=60, now=NOW)


def steps(decision: Decision) -> list[tuple[str, str]]:
    return [(step.kind, step.slice) for step in decision.steps]


def test_the_next_node_waits_until_the_model_that_changed_answers_on_this() -> None:
    waiting = decided(replica("n1", "new", "old", "b", broken=("b",)), replica("n2", "old", "old"))
    assert (steps(waiting), waiting.failure) == ([], None)
    assert waiting.waits_for.startswith("node n1: Triton is up but does not serve it")
    assert steps(decided(replica("n1", "new", "old", "b"), replica("n2", "old", "old"))) == [
        ("Settle", "s-n1"),
        ("Update", "s-n2"),
    ]


def test_an_update_has_failed_when_that_model_does_not_answer_in_time() -> None:
    failure = decided(replica("n1", "new", "old", "b", broken=("b",), age=61)).failure
    assert failure is not None
    assert (failure.revision, failure.node, failure.reason) == ("new", "n1", "ModelNotReady")


def test_a_model_that_the_update_does_not_change_holds_up_nothing() -> None:
    going_on = decided(replica("n1", "new", "old", "b", broken=("a",)), replica("n2", "old", "old", broken=("a",)))
    assert steps(going_on) == [("Settle", "s-n1"), ("Update", "s-n2")]


def test_each_model_sees_its_own_readiness() -> None:
    shared = replica("n1", "new", "new", broken=("b",))
    assert (shared.ready, shared.serving) == (True, True)
    assert [replace(shared, models=(name,)).ready for name in ("a", "b")] == [True, False]
    assert [replace(shared, models=(name,)).serving for name in ("a", "b")] == [True, False]
