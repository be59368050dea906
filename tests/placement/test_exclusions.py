"""When the cluster's refusal of a pod becomes an exclusion, for how long, and when it is forgotten."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.placement.world import EPOCH

from littoral.api.edgenode import Exclusion
from littoral.api.gpuslice import Allocation
from littoral.api.workload import ContainerFacts, PodFacts
from littoral.placement.exclusions import Tenant, active, by_node, first_end, next_change, revise

GRACE = 60.0
SENTENCE = "0/3 nodes are available: 1 Insufficient nvidia.com/gpu."


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def pod(*, refused: float | None = None, phase: str = "Pending", created: float = 0, **more: Any) -> PodFacts:
    facts: dict[str, Any] = {"deleting": False, "fetch": ContainerFacts(), "server": ContainerFacts(), "grant": None}
    return PodFacts(
        "ns",
        f"p{created}",
        "",
        "a",
        "s",
        "r1",
        phase,
        **{**facts, **more},
        scheduling_message=SENTENCE if refused is not None else "",
        refused_at=None if refused is None else at(refused),
        created=at(created),
    )


def tenant(*pods: PodFacts, device: str = "t4-0") -> Tenant:
    return Tenant(Allocation(node="a", device=device, profile="t4", provider="time-slicing", memory="1Gi"), pods)


def exclusion(failures: int = 1, since: float = 60, until: float = 120) -> Exclusion:
    return Exclusion(device="t4-0", reason="Unschedulable", since=at(since), until=at(until), failures=failures)


def revised(*tenants: Tenant, now: float, before: tuple[Exclusion, ...] = ()) -> tuple[Exclusion, ...]:
    return revise(before, tenants, grace=GRACE, now=at(now))


def test_a_pod_that_is_refused_for_the_grace_time_excludes_its_device_in_the_schedulers_words() -> None:
    assert not revised(tenant(pod(refused=0)), now=59)
    (found,) = revised(tenant(pod(refused=0)), now=60)
    assert (found.device, found.reason, found.message, found.failures) == ("t4-0", "Unschedulable", SENTENCE, 1)
    assert (found.since, found.until) == (at(60), at(120))


def test_what_the_kubelet_refuses_again_and_again_counts_from_the_first_time() -> None:
    failing = [pod(refused=since, phase="Failed", created=since) for since in (0, 20, 59)]
    (found,) = revised(tenant(*failing), now=60)
    assert found.reason == "RefusedByKubelet"


def test_what_failed_before_something_ran_there_is_of_no_row() -> None:
    long_ago = [pod(refused=since, phase="Failed", created=since) for since in (0, 20)]
    since = 5000.0
    now = pod(refused=since, created=since)
    assert not revised(tenant(*long_ago, now), now=since + GRACE - 1)
    assert revised(tenant(*long_ago, now), now=since + GRACE)


@pytest.mark.parametrize(
    "pods",
    [
        (),
        (pod(),),
        (pod(phase="Running"),),
        (pod(refused=0, phase="Failed"), pod(created=1, phase="Running")),
        (pod(refused=0, phase="Failed"), pod(created=1)),  # its successor is starting
        (pod(refused=0, deleting=True),),
    ],
)
def test_what_is_not_refused_excludes_nothing(pods: tuple[PodFacts, ...]) -> None:
    assert not revised(tenant(*pods), now=1000)


def test_other_devices_of_the_node_are_not_meant() -> None:
    found = revised(tenant(pod(refused=0)), tenant(pod(phase="Running"), device="cpu"), now=60)
    assert [each.device for each in found] == ["t4-0"]


def test_while_it_holds_nothing_is_added() -> None:
    before = (exclusion(),)
    assert revised(tenant(pod(refused=0)), now=119, before=before) == before


def test_each_refusal_in_a_row_doubles_the_wait_up_to_half_an_hour() -> None:
    before: tuple[Exclusion, ...] = ()
    waits, now = [], 60.0
    for _ in range(7):
        before = revised(tenant(pod(refused=now - GRACE, created=now - GRACE)), now=now, before=before)
        waits.append((before[0].until - before[0].since).total_seconds() / 60)
        now = (before[0].until - EPOCH).total_seconds() + GRACE
    assert waits == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("tenants", "now", "kept"),
    [
        ((), 121, True),  # remembered: the next refusal is the second
        ((), 120 + 601, False),  # nobody tried for long
        ((tenant(pod(phase="Running", created=61)),), 121, False),  # it takes pods again
        ((tenant(pod(phase="Running", created=61)),), 119, True),  # but the exclusion is served to its end
        ((tenant(pod(phase="Running", created=10)),), 121, True),  # an older neighbour proves nothing
    ],
)
def test_when_it_is_forgotten(tenants: tuple[Tenant, ...], now: float, kept: bool) -> None:
    assert bool(revised(*tenants, now=now, before=(exclusion(),))) is kept


def test_when_to_look_again() -> None:
    waiting = tenant(pod(refused=0))
    assert next_change((), (waiting,), GRACE, at(20)) == 40
    assert next_change((exclusion(),), (waiting,), GRACE, at(70)) == 50
    assert next_change((), (tenant(pod()),), GRACE, at(0)) is None
    assert next_change((exclusion(),), (), GRACE, at(130)) == 590  # it is forgotten then, though nothing comes
    assert not revised(now=130 + 590, before=(exclusion(),))


def test_what_holds_now() -> None:
    over, holds = exclusion(), exclusion(until=500)
    assert active((over, holds), at(120)) == (holds,)
    assert by_node({"a": (over,), "b": (over, holds)}, at(200)) == {"b": (holds,)}
    assert first_end({"b": (holds,)}, at(200)) == 300
    assert first_end({}, at(200)) is None
