"""What a prefetch Job and its pod say: when all is on the node, and why not before."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.triton.rollouts import BAD_DIGEST, FETCHED, NOW, UNREACHABLE, job, job_pod, prefetched

from littoral.api.workload import ContainerFacts, NodeFacts, PodFacts
from littoral.triton.prefetch import Prefetch, identity

ENDED = ContainerFacts(exit_code=0)
WITHOUT_B = ContainerFacts(
    exit_code=0,
    termination_message=(
        '{"outcome":"partial","failures":[{"name":"b","reason":"SourceUnreachable","message":"nobody answers"}]}'
    ),
)
BAD_B = ContainerFacts(
    exit_code=0,
    termination_message='{"outcome":"partial","failures":[{"name":"b","reason":"TooLarge","message":"3Gi"}]}',
)


def shared(fetch: ContainerFacts, *models: str, phase: str = "Succeeded") -> Prefetch:
    return prefetched("a", pods=(job_pod("a", fetch=fetch, phase=phase),), models=models)


def test_a_container_of_the_image_shows_that_it_is_there_however_it_ended() -> None:
    """An image without `true` in it makes the Job fail for ever, and the server start at once."""
    mine = job("a", succeeded=False)
    for server in (ENDED, replace(ENDED, exit_code=128, waiting_reason="CrashLoopBackOff")):
        assert prefetched("a", mine, pods=(job_pod("a", fetch=FETCHED, server=server),)).seen("B").arrived


def test_an_image_that_cannot_be_pulled_is_said() -> None:
    waits = ContainerFacts(waiting_reason="ImagePullBackOff", waiting_message="no such tag")
    seen = prefetched("a", job("a", succeeded=False), pods=(job_pod("a", fetch=FETCHED, server=waits),)).seen("B")
    assert (seen.arrived, seen.reason, seen.message) == (False, "ImageUnavailable", "prefetch: no such tag")


def test_a_pod_that_is_not_scheduled_says_why() -> None:
    refused = job_pod("a", fetch=ContainerFacts(), scheduling_message="Too many pods")
    seen = prefetched("a", job("a", succeeded=False), pods=(refused,)).seen("B")
    assert (seen.reason, seen.message) == ("PodRefused", "prefetch: Too many pods")


def test_the_pod_of_a_former_job_says_nothing() -> None:
    """It was deleted with its Job a moment ago, and the garbage collector has yet to come."""
    mine, old = job("a", succeeded=False, uid="second"), job_pod("a", fetch=BAD_DIGEST, job="first", created=NOW)
    assert not prefetched("a", mine, pods=(old,)).seen("B").terminal
    skewed = job_pod("a", fetch=BAD_DIGEST, job="second", created=NOW - timedelta(hours=1))
    assert prefetched("a", mine, pods=(old, skewed)).seen("B").terminal


def test_a_shared_server_waits_for_the_models_that_its_update_changes() -> None:
    seen = shared(WITHOUT_B, "b").seen("B")
    assert (seen.arrived, seen.message) == (False, "prefetch: SourceUnreachable: nobody answers")
    assert shared(WITHOUT_B, "a").seen("B").arrived
    assert shared(BAD_B, "a", "b").seen("B").terminal


def test_and_tries_such_a_model_again_a_minute_after_the_job_has_ended_then_ever_later_up_to_an_hour() -> None:
    one = shared(WITHOUT_B, "b")
    assert one.replaced_after(one.jobs[0], NOW - timedelta(seconds=20)) == 20
    assert shared(WITHOUT_B, "a").replaced_after(one.jobs[0], NOW) is None
    again = [replace(one.jobs[0], attempt=attempt, ended=NOW) for attempt in (0, 1, 2, 5, 6, 10**8)]
    assert [one.replaced_after(each, NOW) for each in again] == [60, 120, 240, 1920, 3600, 3600]
    assert one.attempt(again[2]) == 3


FULL = ContainerFacts(exit_code=1, termination_message='{"outcome":"failed","reason":"CacheFull","message":"full"}')
KNOWS_LESS: dict[str, tuple[ContainerFacts, dict[str, Any], float | None, int]] = {
    "another quota, or other slices": (FULL, {"room": "then"}, 0.0, 0),
    "the same: pins may hold for a while yet": (FULL, {}, 300.0, 1),
    "for longer at the second": (FULL, {"attempt": 1}, 660.0, 2),
    "and then not without anything new": (FULL, {"attempt": 2}, None, 3),
    "which may come later": (FULL, {"attempt": 2, "room": "then"}, 0.0, 0),
    "a fetch that runs is left alone": (ContainerFacts(running=True), {"room": "then"}, None, 0),
    "a second try that runs, too": (replace(FULL, running=True), {"room": "then"}, None, 0),
    "so is one with another failure": (BAD_DIGEST, {"room": "then"}, None, 0),
}


@pytest.mark.parametrize("case", KNOWS_LESS)
def test_one_that_finds_the_cache_full_gives_way_to_one_that_knows_more(case: str) -> None:
    fetch, changes, after, attempt = KNOWS_LESS[case]
    mine = job("a", succeeded=False, age=60, **{"room": "now", **changes})
    one = prefetched("a", mine, pods=(job_pod("a", fetch=fetch),), room="now")
    assert one.replaced_after(mine, NOW) == after
    if after is not None:
        assert one.attempt(mine) == attempt


BACKING_OFF = replace(UNREACHABLE, waiting_reason="CrashLoopBackOff")
CUT_OFF: dict[str, tuple[tuple[PodFacts, ...], float, float | None]] = {
    "its fetch runs": ((job_pod("a", fetch=ContainerFacts(running=True)),), 7200, None),
    "its fetch runs after a failure": ((job_pod("a", fetch=replace(UNREACHABLE, running=True)),), 7200, None),
    "its pod is starting": ((job_pod("a", fetch=ContainerFacts(waiting_reason="PodInitializing")),), 7200, None),
    "its fetch waits for the kubelet": ((job_pod("a", fetch=BACKING_OFF),), 60, 0.0),
    "Littoral's image does": ((job_pod("a", fetch=ContainerFacts(waiting_reason="ImagePullBackOff")),), 60, 0.0),
    "Triton's image does": (
        (job_pod("a", fetch=FETCHED, server=ContainerFacts(waiting_reason="ImagePullBackOff")),),
        60,
        0.0,
    ),
    "its pod has yet to come": ((), 60, 240.0),
    "its pod is gone": ((), 300, 0.0),
}


@pytest.mark.parametrize("case", CUT_OFF)
def test_after_a_cut_another_takes_the_place_of_what_waits_and_not_of_what_runs(case: str) -> None:
    pods, age, after = CUT_OFF[case]
    mine = job("a", succeeded=False, age=age, interrupted=True)
    assert prefetched("a", mine, pods=pods).replaced_after(mine, NOW) == after


def test_a_link_that_is_never_up_for_a_whole_fetch_does_not_stop_it() -> None:
    """An archive takes 12 minutes of one process, and the node is offline for five of each fifteen."""
    mine, done = job("a", succeeded=False, created=NOW), 0
    for minute in range(60):
        online = minute % 15 < 10
        now, pods = NOW + timedelta(minutes=minute), (job_pod("a", fetch=ContainerFacts(running=True)),)
        one = prefetched("a", mine, pods=pods)
        mine = replace(mine, interrupted=mine.interrupted or not online)
        assert one.replaced_after(mine, now) is None
        done += online
    assert done >= 12


LOADS: dict[str, tuple[tuple[PodFacts, ...], float, bool]] = {
    "no pod yet": ((), 60, True),
    "never a pod": ((), 300, False),
    "about to start": ((job_pod("a", fetch=ContainerFacts(waiting_reason="PodInitializing")),), 60, True),
    "never started": ((job_pod("a", fetch=ContainerFacts(waiting_reason="ContainerCreating")),), 300, False),
    "fetching": ((job_pod("a", fetch=ContainerFacts(running=True)),), 9000, True),
    "its source is away": ((job_pod("a", fetch=BACKING_OFF),), 60, False),
    "and is tried again": ((job_pod("a", fetch=replace(UNREACHABLE, running=True)),), 60, False),
    "its image is away": ((job_pod("a", fetch=ContainerFacts(waiting_reason="ErrImagePull")),), 60, False),
    "all but Triton's image is there": ((job_pod("a", fetch=FETCHED),), 60, False),
    "refused": ((job_pod("a", fetch=ContainerFacts(), scheduling_message="unschedulable"),), 60, False),
    "evicted": ((job_pod("a", fetch=ContainerFacts(), phase="Failed"),), 60, False),
}


@pytest.mark.parametrize("case", LOADS)
def test_what_loads_from_its_source(case: str) -> None:
    pods, age, loads = LOADS[case]
    mine = job("a", succeeded=False, age=age)
    assert (prefetched("a", mine, pods=pods).loading(NOW) is not None) == loads


def test_a_second_try_that_runs_says_so_and_what_the_first_ended_with_and_decides_nothing() -> None:
    for ended, reason in (
        (UNREACHABLE, "SourceUnreachable: nobody answers"),
        (BAD_DIGEST, "DigestMismatch: not the bytes"),
    ):
        again = replace(ended, running=True, started=NOW)
        seen = prefetched("a", job("a", succeeded=False), pods=(job_pod("a", fetch=again),), size=180 * 2**20).seen("B")
        since = "fetching revision B (180Mi) since 2026-01-01T12:00:00Z by the node's clock"
        assert (seen.reason, seen.terminal) == ("Prefetching", False)
        assert seen.message == f"{since}; before that: {reason}"


def test_what_the_pod_of_an_ended_job_reports_may_come_after_its_end() -> None:
    one = shared(ContainerFacts(running=True), "b", phase="Pending")
    assert not one.seen("B").arrived
    assert replace(one, pods=(), models=()).seen("B").arrived, "the cluster may have removed a pod long after its end"


def test_where_models_are_needed_an_ended_job_without_its_pod_is_not_known_to_have_brought_them() -> None:
    one = replace(shared(FETCHED, "b"), pods=())
    seen = one.seen("B")
    assert (seen.arrived, seen.message) == (False, "prefetch: what arrived is not known any more; it is begun anew")
    assert one.replaced_after(one.jobs[0], NOW) == 0


def test_a_node_is_another_once_it_was_restarted_or_replaced() -> None:
    node = NodeFacts("a", uid="u", boot_id="1")
    others = [replace(node, boot_id="2"), replace(node, uid="v")]
    assert identity(node) not in {identity(other) for other in others}
    assert identity(replace(node, ready="False")) == identity(node)
