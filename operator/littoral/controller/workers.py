"""The workers between the queue and the reconciler: which key, how often, and what a failure means.

One worker carries one key at a time through `reconcile`. What a run ends in decides when its key is seen again:

- a number of seconds: after that delay; the back-off starts anew;
- None: when something adds it; the back-off starts anew;
- an exception, or no end within the timeout: after the key's back-off.

A key that fails or hangs costs its own worker's time and nothing else: others are carried by the other workers, and the
timeout gives a hanging run's worker back.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from littoral.controller.errors import ApiError
from littoral.controller.workqueue import K, ShutDown, WorkQueue
from littoral.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

RECONCILE_TIMEOUT: Final = 120.0
"""Seconds; far above every healthy run, and above the client's own bound on one request with its retries."""


async def run_workers(
    queue: WorkQueue[K],
    reconcile: Callable[[K], Awaitable[float | None]],
    count: int,
    *,
    metrics: Metrics,
    controller: Callable[[K], str] = lambda key: type(key).__name__,
    timeout: float = RECONCILE_TIMEOUT,  # noqa: ASYNC109 - bounds each run, not this call
) -> None:
    """Run `count` workers until the queue is shut down (their runs are finished) or this call is cancelled.

    `controller` names a key's kind in the metrics. An exception of the queue itself ends all workers and is raised.
    """

    async def work() -> None:
        while True:
            try:
                key = await queue.get()
            except ShutDown:
                return
            try:
                await _run(queue, key, reconcile, metrics, controller=controller(key), timeout=timeout)
            finally:
                queue.done(key)

    async with asyncio.TaskGroup() as workers:
        for number in range(count):
            workers.create_task(work(), name=f"worker-{number}")


async def _run(
    queue: WorkQueue[K],
    key: K,
    reconcile: Callable[[K], Awaitable[float | None]],
    metrics: Metrics,
    *,
    controller: str,
    timeout: float,  # noqa: ASYNC109 - one deadline for the whole run, told apart from timeouts inside it
) -> None:
    """Reconcile one key and give it to the queue again where its outcome asks for that."""
    started = time.perf_counter()
    deadline = asyncio.timeout(timeout)
    metrics.active_workers.inc()
    try:
        async with deadline:
            delay = await reconcile(key)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Something inside the run was cancelled, not this worker: the run failed and the worker lives on.
        result = _failed(queue, key, metrics, "it was cancelled from inside", trace=True)
    except Exception as error:  # noqa: BLE001 - whatever one object causes must not end the worker
        if deadline.expired():
            _failed(queue, key, metrics, f"no end within {timeout:g} s", trace=False)
            result = "timeout"
        else:
            result = _failed(queue, key, metrics, str(error) or repr(error), trace=not isinstance(error, ApiError))
    else:
        queue.forget(key)
        result = "success"
        if delay is not None:
            queue.add_after(key, delay)
            result = "requeue_after"
    finally:
        metrics.active_workers.dec()
        metrics.reconcile_seconds.labels(controller).observe(time.perf_counter() - started)
    metrics.reconciles.labels(controller, result).inc()


def _failed(queue: WorkQueue[K], key: K, metrics: Metrics, why: str, *, trace: bool) -> str:
    delay = queue.add_rate_limited(key)
    metrics.workqueue_retries.inc()
    logger.warning(
        "reconciling %s failed (%d times in a row), again in %.1f s: %s",
        key, queue.failures(key), delay, why, exc_info=trace,
    )  # fmt: skip
    return "error"
