"""Waiting for a condition with a deadline: the one place of the local cluster that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(
    probe: Callable[[], Value],
    *,
    timeout: float,
    failure: Callable[[], Exception],
    interval: float = 0.1,
) -> Value:
    """Call `probe` every `interval` seconds until it returns something true, and return that.

    `failure` makes the exception raised after `timeout` seconds, so that it can quote the log as it is by then.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise failure()
        time.sleep(interval)
