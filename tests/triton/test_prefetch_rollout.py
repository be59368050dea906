"""When a prefetch is begun, waited for, made anew and taken away: the rules as tables."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.triton.rollouts import (
    BAD_DIGEST,
    FETCHED,
    NOW,
    OFFLINE,
    UNREACHABLE,
    decided,
    job,
    job_pod,
    prefetched,
    replica,
    steps,
)

from littoral.api.workload import ContainerFacts, JobFacts
from littoral.triton.prefetch import Prefetch
from littoral.triton.replica import Replica
from littoral.triton.rollout import PREFETCHES, Decision

NONE = Prefetch(node="boot-0")
CACHE_FULL = ContainerFacts(
    exit_code=1, termination_message='{"outcome":"failed","reason":"CacheFull","message":"18Gi of 20Gi are in use"}'
)


def under_way(node: str, *, fetch: ContainerFacts | None = None, **changes: Any) -> Prefetch:
    mine = job(node, succeeded=False, **changes)
    return prefetched(node, mine, pods=(job_pod(node, fetch=fetch or ContainerFacts(running=True)),))


def jobs(decision: Decision) -> list[tuple[str, str, str]]:
    return [(step.kind, step.slice.removeprefix("s-"), step.revision) for step in decision.jobs]


def of(node: str, *its: JobFacts) -> Prefetch:
    return prefetched(node, *its)


CASES: dict[str, tuple[list[Replica], dict[str, Any], list[tuple[str, str, str]], list[str]]] = {
    "what answers is updated after its prefetch": (
        [replica("a", prefetch=NONE)],
        {},
        [("Prefetch", "a", "B")],
        [],
    ),
    "not while it is under way": ([replica("a", prefetch=under_way("a"))], {}, [], []),
    "but when it is there": ([replica("a")], {}, [], ["Update a"]),
    "all nodes are prefetched at once, in the order of their names": (
        [replica("b", prefetch=NONE), replica("a", prefetch=NONE)],
        {},
        [("Prefetch", "a", "B"), ("Prefetch", "b", "B")],
        [],
    ),
    "who waits for a source holds up nobody": (
        [replica("a", prefetch=under_way("a", fetch=UNREACHABLE)), replica("b")],
        {},
        [],
        ["Update b"],
    ),
    "what does not answer is updated without": (
        [replica("a", ready=False, prefetch=NONE), replica("b", prefetch=NONE)],
        {},
        [("Prefetch", "b", "B")],
        ["Update a"],
    ),
    "a shared server that misses a model still answers for others, and goes first": (
        [replica("a", models=("m",), prefetch=NONE), replica("b")],
        {},
        [("Prefetch", "a", "B")],
        [],
    ),
    "other figures need none": (
        [replica("a", wanted="A", target="2Gi", prefetch=NONE)],
        {},
        [],
        ["Update a"],
    ),
    "the first revision needs none": ([replica("a", deployment=None, pods=(), prefetch=NONE)], {}, [], ["Create a"]),
    "a paused update is prefetched": ([replica("a", prefetch=NONE)], {"paused": True}, [("Prefetch", "a", "B")], []),
    "nothing is begun on an offline node": ([replica("a", prefetch=NONE, **OFFLINE)], {}, [], []),
    "nor on one that says it is not ready": ([replica("a", prefetch=NONE, node_ready=False)], {}, [], []),
    "nor for figures that cannot be had": ([replica("a", prefetch=NONE, blocked="full")], {}, [], []),
    "nor once a revision of the update was given up": (
        [replica("a", wanted="B-t4", prefetch=NONE), replica("b", wanted="B-orin", prefetch=NONE)],
        {"failed": {"B-t4": "bad"}},
        [],
        [],
    ),
    "what went offline before it had ended is noted": (
        [replica("a", prefetch=under_way("a"), **OFFLINE)],
        {},
        [("Interrupt", "a", "B")],
        [],
    ),
    "once": ([replica("a", prefetch=under_way("a", interrupted=True), **OFFLINE)], {}, [], []),
    "and not where it had ended": ([replica("a", **OFFLINE)], {}, [], []),
    "nothing of an offline node is deleted": (
        [replica("a", prefetch=of("a", job("a", "O"), job("a", made_on="boot-9")), **OFFLINE)],
        {},
        [],
        [],
    ),
    "after the reconnection it is begun anew": (
        [replica("a", prefetch=under_way("a", interrupted=True))],
        {},
        [("Forget", "a", "B")],
        [],
    ),
    "unless it has ended well": ([replica("a", prefetch=of("a", job("a", interrupted=True)))], {}, [], ["Update a"]),
    "a node that was restarted looks at its disk again before the cutover": (
        [replica("a", prefetch=of("a", job("a", made_on="boot-9")))],
        {},
        [("Forget", "a", "B")],
        [],
    ),
    "nothing is made beside what is being deleted": (
        [replica("a", prefetch=of("a", job("a", "O", deleting=True)))],
        {},
        [],
        [],
    ),
    "what nobody wants any more goes first": (
        [replica("a", prefetch=of("a", job("a", "O", succeeded=False)))],
        {},
        [("Forget", "a", "O")],
        [],
    ),
    "what was given up goes": (
        [replica("a", prefetch=under_way("a", fetch=BAD_DIGEST))],
        {"failed": {"B": "bad"}},
        [("Forget", "a", "B")],
        [],
    ),
    "it is kept until the update has answered": ([replica("a", "B", ready=False, previous="A")], {}, [], []),
    "and goes then": ([replica("a", "B", previous="A")], {}, [("Forget", "a", "B")], ["Settle a"]),
    "also where that was noted already": ([replica("a", "B", previous="B")], {}, [("Forget", "a", "B")], []),
    "a server that restarts does not stop the prefetch": (
        [replica("a", ready=False, prefetch=under_way("a"))],
        {"paused": True},
        [],
        [],
    ),
    "one that ended without success is tried again a minute later": (
        [replica("a", prefetch=of("a", job("a", succeeded=False, failed="evicted", ended=NOW - timedelta(minutes=1))))],
        {},
        [("Forget", "a", "B")],
        [],
    ),
    "and not before": (
        [replica("a", prefetch=of("a", job("a", succeeded=False, failed="evicted", ended=NOW - timedelta(seconds=9))))],
        {},
        [],
        [],
    ),
    "a cache without room is collected by a prefetch of the same revision": (
        [replica("a", wanted="A", ready=False, fetch=CACHE_FULL, prefetch=NONE)],
        {},
        [("Prefetch", "a", "A")],
        [],
    ),
    "which stays as long as that": (
        [replica("a", wanted="A", ready=False, fetch=CACHE_FULL, prefetch=of("a", job("a", "A")))],
        {},
        [],
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_rule_gives_its_steps(case: str) -> None:
    replicas, arguments, of_jobs, of_servers = CASES[case]
    decision = decided(*replicas, **arguments)
    assert decision.failure is None
    assert (jobs(decision), [f"{kind} {node}" for kind, node, *_ in steps(decision)]) == (of_jobs, of_servers)


def test_a_few_at_a_time_are_under_way() -> None:
    """A fleet of which ten fetch, three of them on nodes that went offline meanwhile and may do so for days."""
    busy = [replica(f"a{i}", prefetch=under_way(f"a{i}")) for i in range(PREFETCHES - 3)]
    away = [replica(f"b{i}", prefetch=under_way(f"b{i}", interrupted=True), **OFFLINE) for i in range(3)]
    ended = [replica(f"c{i}", ready=True) for i in range(2)]
    idle = [replica(f"d{i}", prefetch=NONE) for i in range(5)]
    decision = decided(*busy, *away, *ended, *idle, paused=True)
    assert jobs(decision) == [("Prefetch", f"d{i}", "B") for i in range(3)]


def test_a_prefetch_that_fails_for_good_gives_the_revision_up_with_what_serves_untouched() -> None:
    decision = decided(replica("a", prefetch=under_way("a", fetch=BAD_DIGEST)), replica("b"))
    assert decision.failure is not None
    assert (decision.failure.revision, decision.failure.node) == ("B", "a")
    assert decision.failure.reason == "DigestMismatch"
    assert decision.failure.message == "prefetch: DigestMismatch: not the bytes"
    assert decision.steps == ()


WAITS: dict[str, tuple[Prefetch, str]] = {
    "none yet": (NONE, "node a: revision B has yet to be prefetched"),
    "no pod yet": (
        of("a", job("a", succeeded=False)),
        "node a: prefetch: waiting for the Job's pod; `kubectl describe job --namespace=line a-B` says why",
    ),
    "fetching": (
        replace(under_way("a", fetch=ContainerFacts(running=True, started=NOW)), size=180 * 2**20),
        "node a: fetching revision B (180Mi) since 2026-01-01T12:00:00Z by the node's clock",
    ),
    "a source that is away": (
        under_way("a", fetch=UNREACHABLE),
        "node a: prefetch: SourceUnreachable: nobody answers",
    ),
    "a full cache": (under_way("a", fetch=CACHE_FULL), "node a: prefetch: CacheFull: 18Gi of 20Gi are in use"),
    "the image": (under_way("a", fetch=FETCHED), "node a: prefetch: the model is there, its Triton image is pulled"),
    "ended without success": (
        of("a", job("a", succeeded=False, failed="evicted", ended=NOW)),
        "node a: prefetch: evicted; it is begun anew",
    ),
}


@pytest.mark.parametrize("case", WAITS)
def test_an_update_that_waits_says_for_what(case: str) -> None:
    ahead, message = WAITS[case]
    assert decided(replica("a", prefetch=ahead)).waits_for == message


def test_what_is_wrong_is_said_before_what_only_takes_time() -> None:
    decision = decided(replica("a", prefetch=under_way("a")), replica("b", prefetch=under_way("b", fetch=UNREACHABLE)))
    assert decision.waits_for == "node b: prefetch: SourceUnreachable: nobody answers"


def test_one_that_ended_without_success_is_looked_at_again_in_time() -> None:
    ended = job("a", succeeded=False, failed="evicted", ended=NOW - timedelta(seconds=9))
    assert decided(replica("a", prefetch=of("a", ended))).recheck == 51
