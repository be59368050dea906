import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.processes import ProcessTable, start_time
from rig.waiting import until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    table = ProcessTable(tmp_path / "processes")
    yield table
    table.stop(kill=True)


def test_a_process_is_found_again_by_another_command_and_stopped(table: ProcessTable, tmp_path: Path) -> None:
    record = table.spawn("sleep", SLEEP, log=tmp_path / "log")
    later = ProcessTable(tmp_path / "processes")
    assert later.alive("sleep")
    assert later.stop() == ["sleep"]
    assert start_time(record.pid) is None
    assert later.records() == []
    assert later.stop() == []


def test_a_pid_that_was_given_to_somebody_else_is_left_alone(table: ProcessTable, tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        folder = tmp_path / "processes"
        folder.mkdir()
        record = {
            "name": "old",
            "pid": stranger.pid,
            "started": (start_time(stranger.pid) or 0) - 1,
            "argv": SLEEP,
            "log": "",
        }
        (folder / "old.json").write_text(json.dumps(record), encoding="utf-8")
        assert not table.alive("old")
        assert table.stop(kill=True) == []
        assert stranger.poll() is None
        stranger.kill()


def test_only_the_named_process_is_stopped(table: ProcessTable, tmp_path: Path) -> None:
    for name in ("one", "two"):
        table.spawn(name, SLEEP, log=tmp_path / "log")
    assert table.stop(["one"]) == ["one"]
    assert (table.alive("one"), table.alive("two")) == (False, True)


def test_a_process_that_ignores_sigterm_is_killed(
    table: ProcessTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rig.processes._TERM_SECONDS", 0.3)
    log = tmp_path / "log"
    record = table.spawn("deaf", STUBBORN, log=log)
    until(lambda: log.read_text(encoding="utf-8"), timeout=10, failure=lambda: AssertionError("never started"))
    assert table.stop() == ["deaf"]
    assert start_time(record.pid) is None


def test_a_process_that_ended_by_itself_is_not_alive(table: ProcessTable, tmp_path: Path) -> None:
    table.spawn("short", [sys.executable, "-c", "print('said')"], log=tmp_path / "log")
    until(lambda: not table.alive("short"), timeout=10, failure=lambda: AssertionError("still alive"))
    assert (tmp_path / "log").read_text(encoding="utf-8") == "said\n"


def test_the_signal_that_ends_the_command_does_not_reach_it(table: ProcessTable, tmp_path: Path) -> None:
    record = table.spawn("sleep", SLEEP, log=tmp_path / "log")
    assert os.getsid(record.pid) != os.getsid(0)
    assert os.getpgid(record.pid) == record.pid
