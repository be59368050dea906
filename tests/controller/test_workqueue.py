"""The queue against a model of what its text promises, and each promise by example."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from littoral.controller.workqueue import BACKOFF_LIMIT, Priority, ShutDown, WorkQueue

T = TypeVar("T")
KEYS = st.sampled_from("abcd")
PRIORITIES = st.sampled_from(Priority)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def taken(queue: WorkQueue[str]) -> list[str]:
    """Everything that is ready, in the order it is handed out, each done at once."""
    keys = []
    while len(queue):
        keys.append(queue.get_nowait())
        queue.done(keys[-1])
    return keys


@dataclass
class Wanted:
    """The model: for each key the moment and the priority of its next run, and the order in which runs became ready."""

    due: float
    asked: int
    priority: Priority
    order: int | None = None


class QueueMachine(RuleBasedStateMachine):
    """Compares with a model that has one wish for each key instead of five places."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock, jitter=lambda: 0.0)
        self.wanted: dict[str, Wanted] = {}
        self.running: dict[str, Priority] = {}
        self.asked = 0
        self.counter = 0

    def _wish(self, key: str, due: float, priority: Priority) -> None:
        present = self.wanted.get(key)
        self.asked += 1
        if present is None:
            self.wanted[key] = Wanted(due, self.asked, priority)
        else:
            ready = present.due <= self.clock.now
            overtakes = priority > present.priority
            if due < present.due:
                present.due, present.asked = due, self.asked
            present.priority = max(present.priority, priority)
            if ready and overtakes:
                present.order = None  # it goes to the end of the faster line
        self._settle()

    def _settle(self) -> None:
        """Number what has become ready, by the moment it was due, then by the order of asking."""
        fresh = [
            (wish.due, wish.asked, key)
            for key, wish in self.wanted.items()
            if wish.due <= self.clock.now and key not in self.running and wish.order is None
        ]
        for *_, key in sorted(fresh):
            self.counter += 1
            self.wanted[key].order = self.counter

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: Priority) -> None:
        self.queue.add(key, priority)
        self._wish(key, self.clock.now, priority)

    @rule(key=KEYS, delay=st.sampled_from([0, 1, 2, 5, 60]), priority=st.none() | PRIORITIES)
    def add_after(self, key: str, delay: float, priority: Priority | None) -> None:
        self.queue.add_after(key, delay, priority)
        meant = self.running.get(key, Priority.HIGH) if priority is None else priority
        self._wish(key, self.clock.now + delay, meant)

    @rule(seconds=st.sampled_from([0.5, 1, 3, 100]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        len(self.queue)  # the queue looks at its clock when it is asked; in between it cannot tell who was due first
        self._settle()

    @precondition(lambda self: any(wish.order is not None for wish in self.wanted.values()))
    @rule()
    def get(self) -> None:
        ready = {key: wish for key, wish in self.wanted.items() if wish.order is not None}
        expected = min(ready, key=lambda key: (-ready[key].priority, ready[key].order))
        assert self.queue.get_nowait() == expected
        self.running[expected] = self.wanted.pop(expected).priority

    @precondition(lambda self: not any(wish.order is not None for wish in self.wanted.values()))
    @rule()
    def get_nothing(self) -> None:
        with pytest.raises(asyncio.QueueEmpty):
            self.queue.get_nowait()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(key)
        del self.running[key]
        self._settle()

    @invariant()
    def as_long_as_the_model_says(self) -> None:
        assert len(self.queue) == sum(wish.order is not None for wish in self.wanted.values())


TestQueueMachine = QueueMachine.TestCase


def test_adds_while_a_key_runs_cause_exactly_one_more_run() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get_nowait() == "a"
    for _ in range(5):
        queue.add("a")
    assert len(queue) == 0  # never twice at the same time
    queue.done("a")
    assert taken(queue) == ["a"]


def test_a_change_overtakes_the_resync_and_takes_its_own_key_along() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abc":
        queue.add(key, Priority.LOW)
    queue.add("x")
    queue.add("c")
    assert taken(queue) == ["x", "c", "a", "b"]


def test_a_resync_does_not_slow_a_change_that_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("low", Priority.LOW)
    queue.add("a")
    queue.add("a", Priority.LOW)
    assert taken(queue) == ["a", "low"]


def test_a_retry_keeps_the_priority_of_its_run() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a", Priority.LOW)
    queue.get_nowait()
    queue.add_rate_limited("a")
    queue.done("a")
    clock.now += 1
    len(queue)
    queue.add("b")
    assert taken(queue) == ["b", "a"]


def test_the_back_off_doubles_to_its_limit_and_forget_starts_anew() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=Clock(), jitter=lambda: 0.0)
    delays = [queue.add_rate_limited("a") for _ in range(40)]
    assert delays[:4] == [0.05, 0.1, 0.2, 0.4]
    assert delays[-1] == BACKOFF_LIMIT
    assert queue.failures("a") == 40
    queue.forget("a")
    assert queue.failures("a") == 0
    assert queue.add_rate_limited("a") == 0.05


def test_jitter_spreads_keys_that_failed_together() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=Clock(), jitter=iter([0.0, 0.5, 1.0]).__next__)
    assert [round(queue.add_rate_limited(key), 3) for key in "abc"] == [0.05, 0.055, 0.06]


def test_each_key_has_its_own_back_off() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=Clock(), jitter=lambda: 0.0)
    for _ in range(10):
        queue.add_rate_limited("bad")
    assert queue.add_rate_limited("other") == 0.05


def test_the_time_that_a_key_waited_is_observed() -> None:
    clock, waits = Clock(), list[float]()
    queue: WorkQueue[str] = WorkQueue(clock=clock, observe_wait=waits.append)
    queue.add("a", Priority.LOW)
    clock.now = 2.0
    queue.add("a")  # overtaking does not hide the wait
    clock.now = 3.0
    queue.get_nowait()
    assert waits == [3.0]


def test_done_without_a_run_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        WorkQueue[str]().done("a")


async def soon(waiting: Awaitable[T]) -> T:
    """What a worker gets; a wake-up that was lost is a failure, not a hang."""
    return await asyncio.wait_for(waiting, 5)


async def test_get_waits_for_an_add() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await soon(waiting) == "a"


async def test_get_waits_for_a_delay_and_several_workers_wake_for_several_keys() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add_after("late", 0.02)
    queue.add_after("early", 0.01)
    queue.add_after("a", 0.01)
    assert {await soon(task) for task in waiting} == {"a", "early", "late"}


async def test_a_worker_that_is_cancelled_passes_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")  # wakes the first
    first.cancel()
    assert await soon(second) == "a"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_worker_cancelled_while_it_waits_leaves_no_trace() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    first.cancel()
    queue.add("a")
    assert await soon(second) == "a"
    assert first.cancelled()


async def test_a_key_that_comes_due_under_a_busy_worker_still_wakes_the_others() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    idle = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("a", 100)
    queue.add_after("b", 100)
    clock.now = 100
    assert queue.get_nowait() == "a"  # moves both to ready, long before the alarm
    assert await soon(idle) == "b"
    queue.shutdown()


async def test_shutdown_ends_every_get_and_takes_nothing_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.shutdown()
    queue.add("a")
    queue.add_after("b", 1)
    assert len(queue) == 0
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, ShutDown)
    with pytest.raises(ShutDown):
        await queue.get()
