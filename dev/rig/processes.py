"""Processes that outlive the command that started them, and are stopped by exactly what they are.

Each process has a record (a JSON file) with its pid and the time at which the kernel started it. A pid alone may have
been given to somebody else since; a pid with its start time cannot. So `stop` after a crash, or days later, ends only
what this table started. Every process leads a session of its own: the signal that ends the command leaves it alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import psutil

_TERM_SECONDS = 10.0


@dataclass(frozen=True)
class Record:
    """One started process; `started` is in the kernel's own unit (see `start_time`)."""

    name: str
    pid: int
    started: float
    argv: tuple[str, ...]
    log: str


def start_time(pid: int) -> float | None:
    """When the kernel started `pid`, or None if no such process runs (a zombie does not run).

    On Linux in clock ticks since boot, which no change of the wall clock moves; elsewhere in epoch seconds.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else float(fields[19])
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


class ProcessTable:
    """The records of one state folder."""

    # A Popen that is collected while its process runs warns; those of this interpreter are kept until they are reaped.
    _children: ClassVar[dict[int, subprocess.Popen[bytes]]] = {}

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        nice: bool = False,
    ) -> Record:
        """Start `argv` in the background with its output appended to `log`, and record it under `name`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = ["nice", *argv] if nice else list(argv)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=None if env is None else {**os.environ, **env},
            )
        self._children[child.pid] = child
        record = Record(name, child.pid, start_time(child.pid) or 0.0, tuple(argv), str(log))
        temporary = self._folder / f".{name}.tmp"
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
        temporary.replace(self._folder / f"{name}.json")
        return record

    def records(self) -> list[Record]:
        """All records, of live and of dead processes, by name."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            fields = json.loads(path.read_text(encoding="utf-8"))
            found.append(Record(**{**fields, "argv": tuple(fields["argv"])}))
        return found

    def record(self, name: str) -> Record | None:
        """The record called `name`, if there is one."""
        return next((record for record in self.records() if record.name == name), None)

    def alive(self, name: str) -> bool:
        """True if the very process that was recorded under `name` still runs."""
        record = self.record(name)
        return record is not None and is_running(record)

    def stop(self, names: Iterable[str] | None = None, *, kill: bool = False) -> list[str]:
        """End the named processes (all by default) and forget them; returns the names of those that were running.

        SIGTERM first, SIGKILL after 10 s; `kill` goes to SIGKILL at once, for what has nothing to save.
        """
        wanted = None if names is None else set(names)
        targets = [record for record in self.records() if wanted is None or record.name in wanted]
        running = [record for record in targets if is_running(record)]
        for record in running:
            _signal(record, signal.SIGKILL if kill else signal.SIGTERM)
        left = _wait_gone(running, _TERM_SECONDS)
        for record in left:
            _signal(record, signal.SIGKILL)
        _wait_gone(left, _TERM_SECONDS)
        for record in targets:
            child = self._children.pop(record.pid, None)
            if child is not None:
                child.wait()
            (self._folder / f"{record.name}.json").unlink(missing_ok=True)
        return [record.name for record in running]


def is_running(record: Record) -> bool:
    """True if `record`'s pid still belongs to the process that was recorded."""
    return start_time(record.pid) == record.started


def _signal(record: Record, number: signal.Signals) -> None:
    if is_running(record):
        os.kill(record.pid, number)


def _wait_gone(records: Sequence[Record], timeout: float) -> list[Record]:
    deadline = time.monotonic() + timeout
    left = list(records)
    while left and time.monotonic() < deadline:
        left = [record for record in left if is_running(record)]
        if left:
            time.sleep(0.05)
    return left
