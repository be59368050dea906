"""What a prefetch Job and its pod say: when all is on the node, and why not before."""

from dataclasses import replace
from datetime import timedelta

from tests.triton.rollouts import BAD_DIGEST, FETCHED, NOW, job, job_pod, prefetched

from littoral.api.workload import ContainerFacts, NodeFacts
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
    old = job_pod("a", fetch=BAD_DIGEST, created=NOW - timedelta(hours=1))
    assert not prefetched("a", job("a", succeeded=False), pods=(old,)).seen("B").terminal


def test_a_shared_server_waits_for_the_models_that_its_update_changes() -> None:
    seen = shared(WITHOUT_B, "b").seen("B")
    assert (seen.arrived, seen.message) == (False, "prefetch: SourceUnreachable: nobody answers")
    assert shared(WITHOUT_B, "a").seen("B").arrived
    assert shared(BAD_B, "a", "b").seen("B").terminal


def test_and_tries_such_a_model_again_a_minute_after_the_job_has_ended() -> None:
    one = shared(WITHOUT_B, "b")
    assert one.retried_after(one.jobs[0], NOW - timedelta(seconds=20)) == 20
    assert shared(WITHOUT_B, "a").retried_after(one.jobs[0], NOW) is None


def test_one_that_finds_the_cache_full_gives_way_to_one_that_knows_todays_quota_and_slices() -> None:
    full = ContainerFacts(exit_code=1, termination_message='{"outcome":"failed","reason":"CacheFull","message":"full"}')
    mine = replace(job("a", succeeded=False), ended=None, created=NOW - timedelta(seconds=45))
    for fetch, again in ((full, 15.0), (BAD_DIGEST, None), (ContainerFacts(running=True), None)):
        assert prefetched("a", mine, pods=(job_pod("a", fetch=fetch),)).retried_after(mine, NOW) == again
    assert prefetched("a", mine, pods=(job_pod("a", fetch=full),)).retried_after(mine, NOW + timedelta(hours=1)) == 0


def test_what_the_pod_of_an_ended_job_reports_may_come_after_its_end() -> None:
    one = shared(ContainerFacts(running=True), "b", phase="Pending")
    assert not one.seen("B").arrived
    assert replace(one, pods=()).seen("B").arrived, "the cluster may have removed a pod long after its end"


def test_a_node_is_another_once_it_was_restarted_or_replaced() -> None:
    node = NodeFacts("a", uid="u", boot_id="1")
    others = [replace(node, boot_id="2"), replace(node, uid="v")]
    assert identity(node) not in {identity(other) for other in others}
    assert identity(replace(node, ready="False")) == identity(node)
