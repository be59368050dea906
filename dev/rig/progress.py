"""Progress for people: each line says how long the command has run and what it does now."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

Progress = Callable[[str], None]


class Steps:
    """Prints one line a step, stamped with the seconds since the start; safe to call from several threads."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, text: str) -> None:
        """Print one line."""
        with self._lock:
            print(f"[{time.monotonic() - self._start:6.1f} s] {text}", flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._start


def to_stderr(text: str) -> None:
    """Progress for commands whose standard output is their result."""
    print(text, file=sys.stderr, flush=True)


def silent(_text: str) -> None:
    """No progress: fixtures."""
