"""A keyed workqueue with client-go's guarantees, on asyncio.

A key names what is to be reconciled, never what happened to it: a thousand events for one object are one entry. A key
is in at most one of these places, plus possibly `processing`:

- *ready*: to be handed out, first in first out, HIGH before LOW;
- *delayed*: to become ready at a later time;
- *dirty*: added while it is processed; it becomes ready when `done` is called.

Invariants:

- A key is never handed out again between `get` and `done`: one object is never reconciled twice at the same time.
- What is added before `get` returns is seen by that run; what is added later causes one more run. No add is lost.
- Adds merge: the earliest time and the highest priority win. A key that is ready swallows a later delay, and a run that
  starts swallows the delays set before it; so a reconciliation that must look again says so each time.
- Priority is strict: start-up and resync (LOW) wait while anything HIGH is ready. A key that is retried or delayed
  during its run keeps the priority of that run, unless the caller names one.

The clock and the random source are injected; only `get` needs a running event loop.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_BASE: Final = 0.05
"""Seconds before the first retry of a key; doubled at each further failure."""
BACKOFF_LIMIT: Final = 300.0
"""Seconds that the doubling stops at; the jitter comes on top."""
BACKOFF_JITTER: Final = 0.2
"""Largest share of the back-off that is added at random, so that keys that failed together do not return together."""


class Priority(IntEnum):
    """Which of two ready keys goes first."""

    LOW = 0
    """Start-up and resync: everything is looked at, most of it unchanged."""
    HIGH = 1
    """Something changed."""


class _Delay(NamedTuple):
    """When a key becomes ready; of two keys due at once, the one that was asked for first."""

    due: float
    sequence: int
    priority: Priority


class ShutDown(Exception):  # noqa: N818 - a signal to the workers, as asyncio.QueueShutDown of Python 3.13, not an error
    """The queue was shut down; no key will come."""


class WorkQueue(Generic[K]):
    """See the module's text. Not thread-safe: one event loop owns it.

    `observe_wait` is called at each `get` with the seconds that the key was ready before it was handed out.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        observe_wait: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._observe_wait = observe_wait
        self._ready: dict[Priority, dict[K, float]] = {priority: {} for priority in sorted(Priority, reverse=True)}
        self._delayed: dict[K, _Delay] = {}
        self._timers: list[tuple[float, int, K]] = []  # heap over _delayed; entries that no longer agree are skipped
        self._dirty: dict[K, Priority] = {}
        self._processing: dict[K, Priority] = {}
        self._failures: dict[K, int] = {}
        self._sequence = itertools.count()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._shut_down = False

    def __len__(self) -> int:
        """Count the keys that are ready now: what the queue is behind by."""
        self._promote()
        return sum(map(len, self._ready.values()))

    def add(self, key: K, priority: Priority = Priority.HIGH) -> None:
        """Make the key ready now, or right after its present run."""
        if self._shut_down:
            return
        delayed = self._delayed.pop(key, None)
        self._make_ready(key, max(priority, delayed.priority) if delayed else priority)

    def add_after(self, key: K, delay: float, priority: Priority | None = None) -> None:
        """Make the key ready in `delay` seconds; at once when that is not positive."""
        priority = self._processing.get(key, Priority.HIGH) if priority is None else priority
        if delay <= 0 or self._pending_now(key):
            self.add(key, priority)
            return
        if self._shut_down:
            return
        asked = _Delay(self._clock() + delay, next(self._sequence), priority)
        present = self._delayed.get(key, asked)
        earliest = min(asked, present)
        self._delayed[key] = earliest._replace(priority=max(priority, present.priority))
        if earliest is asked:
            heapq.heappush(self._timers, (asked.due, asked.sequence, key))
            self._set_alarm()

    def add_rate_limited(self, key: K, priority: Priority | None = None) -> float:
        """Make the key ready after its back-off, which this call doubles; return that delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2**30 exceeds every limit in use; an unbounded power would overflow a float.
        backoff = min(BACKOFF_BASE * 2.0 ** min(failures, 30), BACKOFF_LIMIT)
        delay = backoff * (1 + BACKOFF_JITTER * self._jitter())
        self.add_after(key, delay, priority)
        return delay

    def forget(self, key: K) -> None:
        """Start the key's back-off from the beginning: its last run succeeded, or the key is gone."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Count the rate limited adds of the key since it was last forgotten."""
        return self._failures.get(key, 0)

    def get_nowait(self) -> K:
        """Hand out the next key; raise asyncio.QueueEmpty when none is ready, ShutDown after `shutdown`."""
        if self._shut_down:
            raise ShutDown
        self._promote()
        for priority, keys in self._ready.items():
            if keys:
                key = next(iter(keys))
                since = keys.pop(key)
                self._processing[key] = priority
                if self._observe_wait is not None:
                    self._observe_wait(self._clock() - since)
                return key
        raise asyncio.QueueEmpty

    async def get(self) -> K:
        """Wait for the next key; raise ShutDown once the queue is shut down. Each get is paired with a `done`."""
        while True:
            try:
                return self.get_nowait()
            except asyncio.QueueEmpty:
                pass
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._set_alarm()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif not waiter.cancelled():
                    self._wake()  # it was woken for a key that another worker can take
                raise

    def done(self, key: K) -> None:
        """End the run that `get` began; a key that was added meanwhile becomes ready. KeyError without such a run."""
        del self._processing[key]
        if key in self._dirty:
            self._make_ready(key, self._dirty.pop(key))

    def shutdown(self) -> None:
        """Hand out nothing more and take nothing more; every waiting `get` raises ShutDown."""
        self._shut_down = True
        if self._alarm is not None:
            self._alarm.cancel()
        while self._waiters:
            self._wake()

    def _pending_now(self, key: K) -> bool:
        return key in self._dirty or any(key in keys for keys in self._ready.values())

    def _make_ready(self, key: K, priority: Priority) -> None:
        if key in self._processing:
            self._dirty[key] = max(priority, self._dirty.get(key, priority))
            return
        since = self._clock()
        for present, keys in self._ready.items():
            if key in keys:
                if present >= priority:
                    return
                since = keys.pop(key)
        self._ready[priority][key] = since
        self._wake()

    def _promote(self) -> None:
        """Make ready what is due."""
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            _, sequence, key = heapq.heappop(self._timers)
            delayed = self._delayed.get(key)
            if delayed is not None and delayed.sequence == sequence:
                self._make_ready(key, self._delayed.pop(key).priority)

    def _wake(self) -> None:
        """Let one waiting `get` look again."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _set_alarm(self) -> None:
        """Wake the waiting `get`s when the next delay ends; without one there is nothing to wake, nor a loop needed."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._waiters and self._timers:
            delay = max(0.0, self._timers[0][0] - self._clock())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._promote()
        self._set_alarm()
