"""Kubernetes Events: one sentence to the people who look at an object, when something about it changed.

The recorder is told of transitions by whoever makes them and decides alone what is sent:

- `record` never waits and never fails; a task of its own sends. An Event that cannot be sent is counted and logged.
- The same sentence about the same object is sent once in REPEAT_AFTER, so that a condition that flaps, or a crash
  between status and Event, does not flood.
- Each object has a budget that refills (as client-go's spam filter), and the queue is bounded: in a storm Events are
  dropped, counted, and never in the way of the API requests that matter.

Events are written in core/v1 form with first and last time, source and count, which every version of kubectl describe
and kubectl get events shows in full. Those of cluster-scoped objects live in the namespace default.
"""

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from littoral.api.group import MANAGER
from littoral.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

Post = Callable[[dict[str, Any]], Awaitable[object]]
"""Creates one Event; the body names its namespace. Whatever it raises is a failure of that Event alone."""

REPEAT_AFTER: Final = 600.0
"""Seconds in which the same sentence about one object is sent once."""
BURST: Final = 10
"""Events that one object may have at once."""
REFILL: Final = 60.0
"""Seconds after which an object may have one more."""
PENDING: Final = 256
"""Events that wait to be sent; more are dropped."""
REMEMBERED: Final = 4096
"""Sentences and budgets kept in memory, the oldest forgotten first."""
MESSAGE_LIMIT: Final = 1024
"""Characters; the API refuses longer notes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    """Empty for a cluster-scoped object."""
    name: str
    uid: str


class EventRecorder:
    """Takes Events with `record` and sends them in `run`."""

    def __init__(
        self,
        post: Post,
        *,
        metrics: Metrics,
        instance: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Send with `post`; `instance` names this process."""
        self._post = post
        self._metrics = metrics
        self._instance = instance
        self._clock = clock
        self._now = now
        self._count = itertools.count()
        self._pending: asyncio.Queue[dict[str, Any]] = asyncio.Queue(PENDING)
        self._sent: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._budgets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # uid: tokens at a moment

    def record(self, subject: Subject, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Queue one Event. `reason` is one CamelCase word as in conditions; `message` a sentence."""
        message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
        outcome = self._refusal(subject.uid, reason, message)
        if outcome is None:
            try:
                self._pending.put_nowait(self._body(subject, kind, reason, message))
            except asyncio.QueueFull:
                outcome = "dropped"
        if outcome is not None:
            self._metrics.events.labels(outcome).inc()

    async def run(self) -> None:
        """Send what is recorded, one at a time, until cancelled."""
        while True:
            event = await self._pending.get()
            try:
                await self._post(event)
            except Exception as error:  # noqa: BLE001 - an Event is never worth an outage
                logger.info("event %s not sent: %s", event["metadata"]["name"], error)
                self._metrics.events.labels("failed").inc()
            else:
                self._metrics.events.labels("posted").inc()

    def _refusal(self, uid: str, reason: str, message: str) -> str | None:
        """Say why this Event is not sent; None when it is, which is then charged to its object."""
        now = self._clock()
        sentence = (uid, reason, message)
        if now - self._sent.get(sentence, -REPEAT_AFTER) < REPEAT_AFTER:
            return "repeated"
        tokens, since = self._budgets.get(uid, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - since) / REFILL)
        if tokens < 1:
            return "limited"
        _remember(self._sent, sentence, now)
        _remember(self._budgets, uid, (tokens - 1, now))
        return None

    def _body(self, subject: Subject, kind: str, reason: str, message: str) -> dict[str, Any]:
        now = self._now()
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        namespace = subject.namespace or "default"
        # Named as client-go names them: unique, and at most 253 characters, as the API demands.
        suffix = f".{int(now.timestamp() * 1000):x}{next(self._count):04x}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": subject.name[: 253 - len(suffix)] + suffix, "namespace": namespace},
            "involvedObject": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                "name": subject.name,
                "uid": subject.uid,
            }
            | ({"namespace": subject.namespace} if subject.namespace else {}),
            "type": kind,
            "reason": reason,
            "message": message,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "reportingInstance": self._instance,
        }


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
