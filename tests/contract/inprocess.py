"""The operator in a thread of the test, on a line to the API server that fails at chosen writes.

A thread and not a process: a life takes a tenth of a second, and which write was its last is known.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from kubernetes.aio.client.configuration import Configuration

from littoral.api import group
from littoral.controller import operator, transport
from littoral.controller.client import Client
from littoral.controller.election import LEASES
from littoral.controller.errors import ApiError, NotFound, Unavailable
from littoral.controller.transport import Call, Json, Transport
from littoral.settings import Settings
from littoral.telemetry.metrics import Metrics

Fault = Literal["none", "dies", "loses answers"]
FETCH_IMAGE: Final = "fetch.test/littoral:1"
_BESIDES: Final = frozenset({"leases", "events"})
"""Writes that are not counted: nothing is concluded from them."""


class Line(Transport):
    """A transport that counts the writes that were done, and fails at every nth of them.

    "dies": from that moment no answer reaches the operator and nothing that it sends is done.
    "loses answers": that answer does not arrive; the operator lives on.
    """

    def __init__(
        self,
        configuration: Configuration,
        metrics: Metrics,
        *,
        fault: Fault,
        nth: int,
        writes: list[str],
        dead: asyncio.Event,
    ) -> None:
        super().__init__(configuration, metrics)
        self._fault = fault
        self._nth = nth
        self.writes = writes
        self.dead = dead

    async def _attempt(self, call: Call) -> Json:
        await self._if_dead(call)
        answer = await super()._attempt(call)
        await self._if_dead(call)
        if call.method == "GET" or call.resource in _BESIDES:
            return answer
        self.writes.append(str(call))
        if self._fault != "none" and len(self.writes) % self._nth == 0:
            if self._fault == "loses answers":
                raise Unavailable(str(call), "the test lost the answer")
            self.dead.set()
            await self._if_dead(call)
        return answer

    async def _if_dead(self, call: Call) -> None:
        if not self.dead.is_set():
            return
        if call.resource == "leases":
            raise ApiError(str(call), "the process is dead")  # else its end would wait for the release
        await asyncio.get_running_loop().create_future()


class InProcess:
    """One life of the operator: from `async with` to its end, or to the death that the fault brings."""

    def __init__(
        self,
        account: Path,
        *,
        fault: Fault = "none",
        nth: int = 1,
        fetch_image: str = FETCH_IMAGE,
        resync: float = 600.0,
        refusal_grace: float = 60.0,
    ) -> None:
        self._settings = Settings(
            kubeconfig=account,
            fetch_image=fetch_image,
            health_host="127.0.0.1",
            health_port=0,
            resync=resync,
            refusal_grace=refusal_grace,
        )
        self._fault: Fault = fault
        self._nth = nth
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="operator")
        self._begun = threading.Event()
        self._end: Callable[[], object] = lambda: None
        self._dead: asyncio.Event | None = None
        self._error: BaseException | None = None
        self.writes: list[str] = []
        """Its writes so far, in the order in which they were answered."""

    @property
    def died(self) -> bool:
        """Whether the fault ended it."""
        return self._dead is not None and self._dead.is_set()

    async def __aenter__(self) -> Self:
        self._thread.start()
        await asyncio.to_thread(self._begun.wait)
        if self._error is not None:
            raise self._error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        await asyncio.to_thread(self._thread.join)
        if self._error is not None and error is None:
            raise self._error

    async def _live(self) -> None:
        loop, stop, ready, self._dead = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._end = partial(loop.call_soon_threadsafe, stop.set)
        running = asyncio.create_task(operator.run(self._settings, stop=stop, ready=ready, connect=self._connect))
        begun, dead = (asyncio.create_task(event.wait()) for event in (ready, self._dead))
        try:
            await asyncio.wait({running, begun, dead}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                self._begun.set()
            await asyncio.wait({running, dead}, return_when=asyncio.FIRST_COMPLETED)
            if dead.done():
                running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        except BaseException as failure:  # noqa: BLE001 (raised where the thread is waited for)
            self._error = failure
        finally:
            self._end = lambda: None
            self._begun.set()
            await _hang_up(loop)

    async def _connect(self, settings: Settings, metrics: Metrics) -> Client:
        assert self._dead is not None
        configuration = await transport.load(settings.kubeconfig)
        line = Line(configuration, metrics, fault=self._fault, nth=self._nth, writes=self.writes, dead=self._dead)
        return Client(line)


async def _hang_up(loop: Any) -> None:
    """Close all sockets at once, as the kernel does with those of a process that ends."""
    for connection in list(loop._transports.values()):
        connection.abort()
    await asyncio.sleep(0.01)


async def expire_lease(client: Client) -> None:
    """What fifteen seconds do to the Lease of an operator that died."""
    with contextlib.suppress(NotFound):
        lease = await client.get(LEASES, group.OPERATOR_NAMESPACE, group.LEASE_NAME)
        await client.delete(LEASES, group.OPERATOR_NAMESPACE, group.LEASE_NAME, uid=lease["metadata"]["uid"])
