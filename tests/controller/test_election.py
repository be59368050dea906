"""One leader at a time: candidates, a shared Lease on a fake API, and a clock that moves only when somebody sleeps."""

# ruff: noqa: ARG002 - the fake has the client's signatures
import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from littoral.controller.client import Client, Resource
from littoral.controller.election import LEASE_DURATION, RENEW_DEADLINE, RETRY_PERIOD, Election, LeaseLost
from littoral.controller.errors import AlreadyExists, ApiError, Conflict, NotFound, Unavailable
from littoral.telemetry.metrics import Metrics


class Leases(Client):
    """The few verbs an election uses, on one Lease, with a clock of its own."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.now = 100.0
        self.broken: ApiError | None = None
        self.calls: list[str] = []

    def _called(self, verb: str) -> None:
        self.calls.append(verb)
        if self.broken:
            raise self.broken

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        self._called("get")
        if self.lease is None:
            raise NotFound("get", "not found")
        return self.lease

    async def create(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        self._called("create")
        if self.lease is not None:
            raise AlreadyExists("create", "exists")
        return self._store(body["spec"])

    async def patch(  # type: ignore[override]
        self, resource: Resource, namespace: str, name: str, patch: Any, *, uid: str, resource_version: str
    ) -> dict[str, Any]:
        self._called("patch")
        if self.lease is None:
            raise NotFound("patch", "not found")
        if resource_version != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("patch", "modified")
        return self._store({**self.lease["spec"], **patch["spec"]})

    def _store(self, spec: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {"metadata": {"uid": "u", "resourceVersion": str(self.version)}, "spec": spec}
        return self.lease

    async def reach(self, moment: float) -> None:
        """Let the others run until the clock says so."""
        for _ in range(1000):
            if self.now >= moment:
                return
            await asyncio.sleep(0)
        raise AssertionError("nobody sleeps any more")

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])

    def candidate(self, identity: str, metrics: Metrics | None = None) -> Election:
        async def sleep(seconds: float) -> None:
            self.now += seconds
            await asyncio.sleep(0)

        return Election(
            self, "ns", "lease", metrics=metrics or Metrics(), identity=identity, clock=lambda: self.now, sleep=sleep
        )


async def lost(renewing: Awaitable[None]) -> str:
    with pytest.raises(LeaseLost) as caught:
        await renewing
    return str(caught.value)


async def test_the_first_candidate_creates_the_lease() -> None:
    leases, metrics = Leases(), Metrics()
    await leases.candidate("a", metrics).acquire()
    assert leases.holder == "a"
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseDurationSeconds"] == 15
    assert leases.lease["spec"]["leaseTransitions"] == 0
    assert metrics.registry.get_sample_value("littoral_leader") == 1


async def test_a_holder_that_is_silent_is_replaced_after_the_duration_by_the_candidates_own_clock() -> None:
    leases = Leases()
    leases._store({"holderIdentity": "dead", "leaseDurationSeconds": 15, "renewTime": "2001-01-01T00:00:00Z"})
    began = leases.now
    await leases.candidate("b").acquire()
    assert leases.holder == "b"
    assert LEASE_DURATION <= leases.now - began <= LEASE_DURATION + RETRY_PERIOD  # however old its renewTime
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_a_holder_that_renews_is_never_replaced() -> None:
    leases = Leases()
    holder = leases.candidate("a")
    await holder.acquire()
    renewing = asyncio.create_task(holder.renew_until_lost())
    waiting = asyncio.create_task(leases.candidate("b").acquire())
    for _ in range(500):
        await asyncio.sleep(0)
    assert leases.now > 100 + 10 * LEASE_DURATION
    assert not renewing.done()
    assert not waiting.done()
    for task in (renewing, waiting):
        task.cancel()
    await asyncio.gather(renewing, waiting, return_exceptions=True)


async def test_a_released_lease_is_taken_at_once() -> None:
    leases, metrics = Leases(), Metrics()
    first = leases.candidate("a", metrics)
    await first.acquire()
    await first.release()
    assert metrics.registry.get_sample_value("littoral_leader") == 0
    began = leases.now
    await leases.candidate("b").acquire()
    assert leases.now == began
    assert leases.holder == "b"


async def test_release_leaves_anothers_lease_alone_and_survives_an_api_that_is_away() -> None:
    leases = Leases()
    first = leases.candidate("a")
    leases._store({"holderIdentity": "b"})
    await first.release()
    assert leases.holder == "b"
    leases.broken = Unavailable("get", "away")
    await first.release()


async def test_a_renewal_that_was_under_way_does_not_keep_the_lease_from_being_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cancelled here, it may still arrive there: between the read and the write of the release."""
    api = Leases()
    first = api.candidate("first")
    await first.acquire()
    read = api.get

    async def get_then_renew(resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        lease = await read(resource, namespace, name)
        monkeypatch.setattr(api, "get", read)
        api._store(lease["spec"])
        return lease

    monkeypatch.setattr(api, "get", get_then_renew)
    await first.release()
    assert api.holder == ""


async def test_of_two_candidates_one_wins() -> None:
    leases = Leases()
    candidates = [asyncio.create_task(leases.candidate(name).acquire()) for name in "abc"]
    finished, waiting = await asyncio.wait(candidates, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
    assert len(finished) == 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_leader_that_cannot_renew_gives_up_before_anybody_may_follow() -> None:
    leases, metrics = Leases(), Metrics()
    leader = leases.candidate("a", metrics)
    await leader.acquire()
    acquired = leases.now
    leases.broken = Unavailable("patch", "away")
    assert "not renewed for 10 s" in await lost(leader.renew_until_lost())
    assert leases.now - acquired == RENEW_DEADLINE < LEASE_DURATION
    assert metrics.registry.get_sample_value("littoral_leader") == 0


async def test_time_lost_between_acquiring_and_renewing_counts() -> None:
    leases = Leases()
    leader = leases.candidate("a")
    await leader.acquire()
    leases.now += RENEW_DEADLINE
    assert "not renewed" in await lost(leader.renew_until_lost())


async def test_a_short_trouble_is_survived() -> None:
    leases = Leases()
    leader = leases.candidate("a")
    await leader.acquire()
    leases.broken = Unavailable("patch", "away")
    renewing = asyncio.create_task(leader.renew_until_lost())
    await leases.reach(107)
    leases.broken = None
    await leases.reach(150)
    assert not renewing.done()
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)


async def test_a_leader_that_was_replaced_while_it_slept_finds_out_at_its_next_write() -> None:
    leases = Leases()
    leader = leases.candidate("a")
    await leader.acquire()
    leases._store({"holderIdentity": "b", "leaseDurationSeconds": 15})
    assert "held by b" in await lost(leader.renew_until_lost())
    assert leases.holder == "b"


async def test_an_edit_of_the_lease_by_hand_costs_nothing() -> None:
    leases = Leases()
    leader = leases.candidate("a")
    await leader.acquire()
    assert leases.lease is not None
    leases._store(leases.lease["spec"])
    renewing = asyncio.create_task(leader.renew_until_lost())
    await leases.reach(120)
    assert not renewing.done()
    leases.lease = None  # deleted: made again
    await leases.reach(140)
    assert leases.holder == "a"
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)


async def test_at_rest_a_renewal_is_one_write_and_no_read() -> None:
    leases = Leases()
    leader = leases.candidate("a")
    await leader.acquire()
    leases.calls.clear()
    renewing = asyncio.create_task(leader.renew_until_lost())
    await leases.reach(200)
    assert set(leases.calls) == {"patch"}
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)


async def test_each_process_has_an_identity_of_its_own() -> None:
    leases = Leases()
    one, other = (Election(leases, "ns", "lease", metrics=Metrics()) for _ in range(2))
    assert one.identity != other.identity
    assert one.identity.split("_")[0] == other.identity.split("_")[0]
