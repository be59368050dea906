"""What a run's outcome means for its key, and that no key can slow another."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from littoral.controller.errors import Conflict
from littoral.controller.workers import run_workers
from littoral.controller.workqueue import Priority, WorkQueue
from littoral.telemetry.metrics import Metrics

Reconcile = Callable[[str], Awaitable[float | None]]


@asynccontextmanager
async def working(
    queue: WorkQueue[str], reconcile: Reconcile, count: int = 2, deadline: float = 5.0, metrics: Metrics | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    metrics = metrics or Metrics()
    task = asyncio.create_task(
        run_workers(queue, reconcile, count, metrics=metrics, controller=lambda _: "test", timeout=deadline)
    )
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def results(metrics: Metrics) -> dict[str, float]:
    names = ("success", "requeue_after", "error", "timeout")
    values = {
        name: metrics.registry.get_sample_value("littoral_reconcile_total", {"controller": "test", "result": name})
        for name in names
    }
    return {name: value for name, value in values.items() if value is not None}


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that within 5 s")


async def test_a_success_forgets_the_failures_before_it() -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.0)
    metrics, runs = Metrics(), list[str]()

    async def reconcile(key: str) -> None:
        runs.append(key)
        if len(runs) < 3:
            raise Conflict("apply deployments n/a", "the object has been modified")

    async with working(queue, reconcile, metrics=metrics):
        queue.add("a")
        await until(lambda: results(metrics) == {"error": 2, "success": 1})
    assert runs == ["a", "a", "a"]
    assert queue.failures("a") == 0
    assert metrics.registry.get_sample_value("littoral_workqueue_retries_total") == 2


async def test_a_delay_that_is_returned_brings_the_key_back() -> None:
    queue: WorkQueue[str] = WorkQueue()
    metrics, delays = Metrics(), iter([0.01, 0.01, None])

    async def reconcile(_: str) -> float | None:
        return next(delays)

    async with working(queue, reconcile, metrics=metrics):
        queue.add("a")
        await until(lambda: results(metrics) == {"requeue_after": 2, "success": 1})


async def test_a_key_is_never_reconciled_twice_at_once_and_never_left_behind() -> None:
    queue: WorkQueue[str] = WorkQueue()
    running: set[str] = set()
    seen: dict[str, int] = {}
    wanted = dict.fromkeys("abc", 0)

    async def reconcile(key: str) -> None:
        assert key not in running
        running.add(key)
        state = wanted[key]
        await asyncio.sleep(0.001)
        seen[key] = state
        running.remove(key)

    async with working(queue, reconcile, count=8):
        for change in range(1, 40):
            key = "abc"[change % 3]
            wanted[key] = change
            queue.add(key, Priority(change % 2))
            await asyncio.sleep(0.0005)
        await until(lambda: seen == wanted)


async def test_a_key_that_hangs_is_given_up_and_the_others_go_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    metrics, done = Metrics(), set[str]()

    async def reconcile(key: str) -> None:
        if key == "hangs":
            await asyncio.Event().wait()
        done.add(key)

    async with working(queue, reconcile, count=2, deadline=0.05, metrics=metrics):
        queue.add("hangs")
        for key in "abcdef":
            queue.add(key)
        await until(lambda: done == set("abcdef"))
        assert "timeout" not in results(metrics)
        await until(lambda: results(metrics).get("timeout") == 1)
        assert queue.failures("hangs") == 1


async def test_a_timeout_inside_the_run_is_an_ordinary_failure() -> None:
    queue: WorkQueue[str] = WorkQueue()
    metrics = Metrics()

    async def reconcile(_: str) -> None:
        raise TimeoutError("of something else")

    async with working(queue, reconcile, metrics=metrics):
        queue.add("a")
        await until(lambda: results(metrics).get("error") == 1)


async def test_a_cancellation_from_inside_costs_no_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    done: list[str] = []

    async def reconcile(key: str) -> None:
        if key == "cancelled":
            raise asyncio.CancelledError
        done.append(key)

    async with working(queue, reconcile, count=1):
        queue.add("cancelled")
        queue.add("a")
        await until(lambda: done == ["a"])
        assert queue.failures("cancelled") == 1


async def test_what_the_api_refused_is_one_line_and_a_bug_shows_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[str] = WorkQueue()
    caplog.set_level(logging.WARNING)

    async def reconcile(key: str) -> None:
        if key == "refused":
            raise Conflict("apply deployments n/a", "the object has been modified")
        raise ZeroDivisionError("bug")

    async with working(queue, reconcile):
        queue.add("refused")
        queue.add("bug")
        await until(lambda: len(caplog.records) >= 2)
    traced = {record.args[0]: bool(record.exc_info) for record in caplog.records if isinstance(record.args, tuple)}
    assert traced == {"refused": False, "bug": True}
    assert "the object has been modified" in caplog.text


async def test_shutdown_lets_the_runs_finish() -> None:
    queue: WorkQueue[str] = WorkQueue()
    started, finish, done = asyncio.Event(), asyncio.Event(), list[str]()

    async def reconcile(key: str) -> None:
        started.set()
        await finish.wait()
        done.append(key)

    async with working(queue, reconcile) as task:
        queue.add("a")
        await started.wait()
        queue.shutdown()
        finish.set()
        await task
    assert done == ["a"]


async def test_cancelling_the_workers_ends_their_runs() -> None:
    queue: WorkQueue[str] = WorkQueue()
    started, ended = asyncio.Event(), list[str]()

    async def reconcile(key: str) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)

    async with working(queue, reconcile) as task:
        queue.add("a")
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended == ["a"]
