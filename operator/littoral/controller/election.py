"""One operator per cluster, by a coordination.k8s.io Lease: acquired before anything is planned, lost means exit.

The rules are client-go's. A candidate takes the Lease when it has no holder, or when its record has not changed for the
duration written in it, *as measured by the candidate's own monotonic clock*: clocks of two machines are never compared,
the times in the Lease are for people. Every write carries the resourceVersion that was read, so that of two candidates
one gets a Conflict. The holder renews each RETRY_PERIOD, with one write and no read; after RENEW_DEADLINE without
success it is the leader no more, LEASE_DURATION - RENEW_DEADLINE before anybody else can be. A clean exit clears the
holder: a successor starts at once.

The library's own election (kubernetes.aio.leaderelection, 37.0.2) is not used: a connection error ends it (only
ApiException is caught); a renewal has a request timeout of five minutes, so that a leader can outlive its Lease by far;
it writes local time as UTC; and it has no release.
"""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from littoral.controller.client import Client, Resource
from littoral.controller.errors import ApiError, Conflict, NotFound, Unavailable
from littoral.controller.transport import Json
from littoral.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
LEASE_DURATION: Final = 15.0
"""Seconds without a renewal after which others may take the Lease."""
RENEW_DEADLINE: Final = 10.0
"""Seconds without a successful renewal after which the holder gives up."""
RETRY_PERIOD: Final = 2.0
"""Seconds between two looks at the Lease."""
ATTEMPT_TIMEOUT: Final = 5.0
"""Seconds for one look with its write: one request that hangs must not use up the whole RENEW_DEADLINE."""


class LeaseLost(Exception):  # noqa: N818 - the outcome of holding a lease, not a mistake
    """Another may be the leader: stop writing and exit."""


class Election:
    """One candidate for one Lease.

    `acquire`, then run `renew_until_lost` beside the work, then `release` when the work was stopped in order.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        metrics: Metrics,
        identity: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.identity = identity or f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{uuid.uuid4()}"
        """Who holds the Lease: the pod's or machine's name, and what tells two processes on it apart."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._seen: tuple[str, float] = ("", 0.0)
        """The state of the Lease last seen and when it was seen first, by our clock."""
        self._held: Json | None = None
        """The Lease as we wrote it last, while it is ours."""
        self._renewed = 0.0
        """When the last write that made the Lease ours began, by our clock."""

    async def acquire(self) -> None:
        """Wait until this process holds the Lease. Errors of the API are logged and waited out."""
        said = ""
        while True:
            try:
                holder = await self._look(ATTEMPT_TIMEOUT)
            except ApiError as error:
                holder = f"unknown: {error}"
            if holder == self.identity:
                logger.info("lease %s/%s acquired as %s", self._namespace, self._name, self.identity)
                self._metrics.leader.set(1)
                return
            if holder != said:
                logger.info("waiting for the lease %s/%s, holder %s", self._namespace, self._name, holder)
                said = holder
            await self._sleep(RETRY_PERIOD)

    async def renew_until_lost(self) -> None:
        """Renew for ever; raise LeaseLost when another holds the Lease or none of our renewals came through in time.

        The time since `acquire` counts: start this before any long preparation.
        """
        lease = f"the lease {self._namespace}/{self._name}"
        try:
            while (left := self._renewed + RENEW_DEADLINE - self._clock()) > 0:
                try:
                    holder = await self._look(min(left, ATTEMPT_TIMEOUT))
                except ApiError as error:
                    logger.warning("%s was not renewed: %s", lease, error)
                else:
                    if holder != self.identity:
                        raise LeaseLost(f"{lease} is held by {holder}")
                await self._sleep(min(RETRY_PERIOD, max(0.0, self._renewed + RENEW_DEADLINE - self._clock())))
            raise LeaseLost(f"{lease} was not renewed for {RENEW_DEADLINE:g} s")
        finally:
            self._metrics.leader.set(0)

    async def release(self) -> None:
        """Give the Lease up if it is ours, so that a successor need not wait; errors are only logged."""
        self._metrics.leader.set(0)
        self._held = None
        try:
            async with asyncio.timeout(RETRY_PERIOD):
                while not await self._released():
                    logger.debug("a renewal that was under way came through: the lease is released once more")
        except (ApiError, TimeoutError) as error:
            logger.warning("the lease was not released, a successor waits up to %g s: %s", LEASE_DURATION, error)

    async def _released(self) -> bool:
        """Clear the holder if it is us; False where the Lease changed in between."""
        lease = await self._client.get(LEASES, self._namespace, self._name)
        if _holder(lease) == self.identity:
            try:
                await self._write(lease, {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()})
            except Conflict:
                return False
        return True

    async def _look(self, timeout: float) -> str:  # noqa: ASYNC109 - what is left of a deadline, told as an ApiError
        began = self._clock()
        try:
            async with asyncio.timeout(timeout):
                holder = await self._try()
        except TimeoutError as error:
            raise Unavailable("renew the lease", f"no answer within {timeout:.1f} s") from error
        if holder == self.identity:
            self._renewed = began
        return holder

    async def _try(self) -> str:
        """Take or renew the Lease if that is allowed now; return who holds it."""
        ours = {"holderIdentity": self.identity, "leaseDurationSeconds": int(LEASE_DURATION), "renewTime": _now()}
        if self._held is not None:
            try:
                return await self._write(self._held, ours)
            except (Conflict, NotFound):
                self._held = None  # somebody edited, took or deleted it: look
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._create(ours)
        holder = _holder(lease)
        if holder != self.identity:
            if holder and not self._expired(lease):
                return holder
            transitions = (lease.get("spec") or {}).get("leaseTransitions") or 0
            ours |= {"acquireTime": ours["renewTime"], "leaseTransitions": transitions + 1}
        return await self._write(lease, ours)

    async def _create(self, ours: dict[str, Any]) -> str:
        metadata = {"name": self._name, "namespace": self._namespace}
        spec = {**ours, "acquireTime": ours["renewTime"], "leaseTransitions": 0}
        body: Json = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        self._held = await self._client.create(LEASES, body)
        return self.identity

    async def _write(self, lease: Json, spec: dict[str, Any]) -> str:
        metadata = lease["metadata"]
        self._held = await self._client.patch(
            LEASES,
            self._namespace,
            self._name,
            {"spec": spec},
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )
        return self.identity

    def _expired(self, lease: Json) -> bool:
        version = f"{lease['metadata']['uid']}/{lease['metadata']['resourceVersion']}"
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        duration = (lease.get("spec") or {}).get("leaseDurationSeconds") or LEASE_DURATION
        return self._clock() - self._seen[1] >= duration


def _holder(lease: Json) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _now() -> str:
    """Return the wall clock as a Kubernetes MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
