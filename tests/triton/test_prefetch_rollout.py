"""When a prefetch is begun, waited for, made anew and taken away: the rules as tables."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.triton.rollouts import (
    BAD_DIGEST,
    FETCHED,
    LOADING,
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
from littoral.triton.prefetch_steps import PREFETCHES
from littoral.triton.replica import Replica
from littoral.triton.rollout import Decision

NONE = Prefetch(node="boot-0")
BACKING_OFF = replace(UNREACHABLE, waiting_reason="CrashLoopBackOff")
WAITING = ContainerFacts(waiting_reason="PodInitializing")
CRASHING = ContainerFacts(exit_code=1, termination_message="error: no", waiting_reason="CrashLoopBackOff")
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


def broken(node: str, server: ContainerFacts = WAITING, *, fetch: ContainerFacts = FETCHED) -> Replica:
    """One that answered and does not, for what its pod says."""
    one = replica(node, ready=False, fetch=fetch, previous="A", prefetch=NONE)
    return replace(one, pods=(replace(one.pods[0], server=server),))


def no_room(node: str, *at: str, fetch: ContainerFacts = CACHE_FULL, **changes: Any) -> Replica:
    return replica(node, *at, **{"ready": False, "prefetch": NONE, **changes}, fetch=fetch)


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
    "what never answered is updated without": (
        [replica("a", ready=False, started=False, prefetch=NONE), replica("b", prefetch=NONE)],
        {},
        [("Prefetch", "b", "B")],
        ["Update a"],
    ),
    "so is what is broken at what it is at": (
        [broken("a", CRASHING), replica("b", prefetch=NONE)],
        {},
        [("Prefetch", "b", "B")],
        ["Update a"],
    ),
    "or will never fetch it": ([broken("a", fetch=BAD_DIGEST)], {}, [], ["Update a"]),
    "not what only starts": ([broken("a", ContainerFacts())], {}, [("Prefetch", "a", "B")], []),
    "nor what only loads": ([broken("a", LOADING)], {}, [("Prefetch", "a", "B")], []),
    "nor what was killed with its machine and runs again": (
        [broken("a", ContainerFacts(running=True, exit_code=255))],
        {},
        [("Prefetch", "a", "B")],
        [],
    ),
    "nor what was evicted": ([replica("a", pods=(), prefetch=NONE)], {}, [("Prefetch", "a", "B")], []),
    "nor what fetches": ([broken("a", fetch=ContainerFacts(running=True))], {}, [("Prefetch", "a", "B")], []),
    "nor what waits for its source: the other may be away as well": (
        [broken("a", fetch=UNREACHABLE)],
        {},
        [("Prefetch", "a", "B")],
        [],
    ),
    "nor what waits for its image": (
        [broken("a", ContainerFacts(waiting_reason="ImagePullBackOff"))],
        {},
        [("Prefetch", "a", "B")],
        [],
    ),
    "what restarts is updated after its prefetch, before others": (
        [replica("a", prefetch=NONE), replica("b", ready=False)],
        {},
        [("Prefetch", "a", "B")],
        ["Update b"],
    ),
    "and while it restarts no other is taken away": (
        [replica("a"), replica("b", ready=False, prefetch=under_way("b", fetch=UNREACHABLE))],
        {},
        [],
        [],
    ),
    "nothing is begun of what may not be": (
        [replica("a", prefetch=NONE), replica("b")],
        {"barred": {"B"}},
        [],
        [],
    ),
    "which takes nobody's place": (
        [*(replica(f"a{i}", prefetch=NONE) for i in range(PREFETCHES)), replica("z", wanted="C", prefetch=NONE)],
        {"barred": {"B"}},
        [("Prefetch", "z", "C")],
        [],
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
    "after the reconnection one that waits is begun anew": (
        [replica("a", prefetch=under_way("a", fetch=BACKING_OFF, interrupted=True))],
        {},
        [("Replace", "a", "B")],
        [],
    ),
    "one that runs is left alone": ([replica("a", prefetch=under_way("a", interrupted=True))], {}, [], []),
    "unless it has ended well": ([replica("a", prefetch=of("a", job("a", interrupted=True)))], {}, [], ["Update a"]),
    "a node that was restarted looks at its disk again before the cutover": (
        [replica("a", prefetch=of("a", job("a", made_on="boot-9")))],
        {},
        [("Replace", "a", "B")],
        [],
    ),
    "also while its server is yet to come up": (
        [replica("a", ready=False, prefetch=of("a", job("a", made_on="boot-9", succeeded=False)))],
        {},
        [("Replace", "a", "B")],
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
        [("Replace", "a", "B")],
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
    "before that of what is wanted, however far that may go": (
        [no_room("a"), no_room("b", blocked="full"), replica("c", prefetch=NONE, wanted="A")],
        {"paused": True},
        [("Prefetch", "a", "A"), ("Prefetch", "b", "A")],
        [],
    ),
    "also once that was given up": ([no_room("a")], {"failed": {"B": "bad"}}, [("Prefetch", "a", "A")], []),
    "also where another was": (
        [no_room("a", wanted="B2"), replica("b", wanted="B1", prefetch=NONE)],
        {"failed": {"B1": "bad"}},
        [("Prefetch", "a", "A")],
        [],
    ),
    "also while it is tried again": (
        [no_room("a", fetch=replace(CACHE_FULL, running=True))],
        {"paused": True},
        [("Prefetch", "a", "A")],
        [],
    ),
    "not what was put on trial and given up": (
        [no_room("a", "B", previous="A")],
        {"failed": {"B": "bad"}},
        [],
        ["Revert a"],
    ),
    "if that does not help either it is updated": (
        [
            no_room(
                "a",
                prefetch=prefetched("a", job("a", "A", succeeded=False), pods=(job_pod("a", "A", fetch=CACHE_FULL),)),
            )
        ],
        {},
        [],
        ["Update a"],
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
    waits = "revision B waits for its turn to be prefetched: 10 nodes load at a time"
    assert decision.queued == {"s-d3": waits, "s-d4": waits}
    assert decision.recheck is not None


@pytest.mark.parametrize(
    "stuck", ["its source is away", "refused", "on a node that is not ready", "an image without true"]
)
def test_ten_that_do_not_get_on_hold_up_no_fleet(stuck: str) -> None:
    made: dict[str, Callable[[str], Replica]] = {
        "its source is away": lambda n: replica(n, prefetch=under_way(n, fetch=BACKING_OFF)),
        "refused": lambda n: replica(
            n, prefetch=prefetched(n, job(n, succeeded=False), pods=(job_pod(n, scheduling_message="cordoned"),))
        ),
        "on a node that is not ready": lambda n: replica(n, node_ready=False, prefetch=under_way(n)),
        "an image without true": lambda n: replica(
            n, prefetch=prefetched(n, job(n, succeeded=False), pods=(job_pod(n, fetch=FETCHED, server=CRASHING),))
        ),
    }
    dead = [made[stuck](f"a{i}") for i in range(PREFETCHES)]
    decision = decided(*dead, *(replica(f"z{i}", prefetch=NONE) for i in range(3)), paused=True)
    assert jobs(decision) == [("Prefetch", f"z{i}", "B") for i in range(3)]


def test_who_was_never_tried_comes_first_then_whose_last_try_is_longest_ago() -> None:
    def again(node: str, age: float) -> Replica:
        return replica(node, prefetch=of(node, job(node, age=age, made_on="boot-9")))

    tried = [again(f"a{i:02}", age=60 + i) for i in range(PREFETCHES + 2)]
    decision = decided(*tried, replica("z", prefetch=NONE))
    assert jobs(decision) == [("Prefetch", "z", "B"), *(("Replace", f"a{i:02}", "B") for i in range(11, 2, -1))]
    assert set(decision.queued) == {"s-a00", "s-a01", "s-a02"}


def test_who_loads_and_begins_anew_takes_no_more_room() -> None:
    rebooted = [replica(f"a{i}", prefetch=under_way(f"a{i}", made_on="boot-9")) for i in range(PREFETCHES)]
    assert {kind for kind, *_ in jobs(decided(*rebooted))} == {"Replace"}


def test_a_job_in_the_place_of_another_counts_on_where_that_ended_without_what_is_needed() -> None:
    ended = job("a", succeeded=False, failed="evicted", ended=NOW - timedelta(hours=1), attempt=2)
    assert [step.attempt for step in decided(replica("a", prefetch=of("a", ended))).jobs] == [3]
    elsewhere = replace(ended, made_on="boot-9")
    assert [step.attempt for step in decided(replica("a", prefetch=of("a", elsewhere))).jobs] == [0]


def test_what_fails_on_one_node_and_is_proven_on_another_is_that_nodes_own_wait() -> None:
    bad = replica("z", prefetch=under_way("z", fetch=BAD_DIGEST))
    for proven in (
        replica("b", "B", previous="B"),
        replica("b", "B", previous="B", ready=False),
        replica("b", "B", **OFFLINE),
        replica("b", **OFFLINE),
    ):
        decision = decided(bad, proven)
        assert decision.failure is None
        if proven.ready:
            assert decision.waits_for == "node z: prefetch: DigestMismatch: not the bytes"
    for unproven in (
        replica("b", prefetch=under_way("b")),
        replica("b", "B", ready=False, previous="A", prefetch=NONE),
    ):
        assert decided(bad, unproven).failure is not None


def test_what_fails_for_good_is_given_up_also_while_the_server_does_not_answer() -> None:
    decision = decided(replica("a", ready=False, previous="A", prefetch=under_way("a", fetch=BAD_DIGEST)))
    assert decision.failure is not None
    assert decision.failure.revision == "B"


def test_nothing_is_begun_of_what_is_given_up_in_the_same_breath() -> None:
    bad = replica("a", prefetch=under_way("a", fetch=BAD_DIGEST))
    others = [replica("b", prefetch=NONE), replica("c", prefetch=of("c", job("c", made_on="boot-9", succeeded=False)))]
    decision = decided(bad, *others, replica("d", wanted="C", prefetch=NONE))
    assert decision.failure is not None
    assert jobs(decision) == [("Prefetch", "d", "C")]


def test_a_prefetch_that_fails_for_good_gives_the_revision_up_with_what_serves_untouched() -> None:
    decision = decided(replica("a", prefetch=under_way("a", fetch=BAD_DIGEST)), replica("b", prefetch=NONE))
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
