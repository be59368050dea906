"""`make lint`: style, types, layers, generated files, and what must not stand in a committed file.

All checks run, whatever an earlier one found, so that one run tells everything.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from rig import paths

_FORBIDDEN: Mapping[str, re.Pattern[str]] = {
    "the address of a package registry: which one is used is the machine's own affair": re.compile(
        r"pypi[.]org|pythonhosted[.]org|proxy[.]golang[.]org|sum[.]golang[.]org|registry[.]npmjs|deb[.]debian[.]org"
        r"|^--(extra-)?index-url|^--find-links",
    ),
    "a path of one machine": re.compile(r"(?<![\w.$})-])/(work|root|home/[a-z_]+)/"),
}
_LARGEST = 2_000_000
"""Bytes beyond which a file is data, not text."""


def run() -> int:
    """Run every check; returns how many failed, at most 1."""
    tools = {
        "ruff check": ["ruff", "check", "--quiet", "."],
        "ruff format": ["ruff", "format", "--check", "--quiet", "."],
        "layers": ["lint-imports", "--no-cache"],
        "types": ["mypy"],
    }
    own = {"crds/ is as generated": stale_crds, "no hosts or paths": strangers}
    checks: dict[str, Callable[[], bool]] = {name: partial(_tool, command) for name, command in tools.items()}
    checks |= {name: partial(_silent, check) for name, check in own.items()}
    failed = [name for name, check in checks.items() if not _timed(name, check)]
    print("lint: " + (f"failed: {', '.join(failed)}" if failed else "all checks passed"), flush=True)
    return 1 if failed else 0


def forbidden(name: str, lines: Iterable[str]) -> list[str]:
    """`name:line: what` for each line of a file that holds what no committed file may."""
    return [
        f"{name}:{number}: {what}: {line.strip()[:120]}"
        for number, line in enumerate(lines, 1)
        for what, pattern in _FORBIDDEN.items()
        if pattern.search(line)
    ]


def strangers() -> list[str]:
    """Every line of a file that git knows which names a registry or a path of one machine."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=paths.REPOSITORY, capture_output=True, check=True)
    found = []
    for name in sorted(filter(None, listed.stdout.decode().split("\0"))):
        path = paths.REPOSITORY / name
        if not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            found += forbidden(name, content.decode("utf-8", errors="replace").splitlines())
    return found


def stale_crds() -> list[str]:
    """The difference between crds/ and what `littoral crds` writes."""
    committed = paths.REPOSITORY / "crds"
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        subprocess.run(
            [sys.executable, "-m", "littoral", "crds", "--directory", scratch], check=True, stdout=subprocess.DEVNULL
        )
        difference: list[str] = []
        for path in sorted(fresh.iterdir()):
            there = committed / path.name
            before = there.read_text(encoding="utf-8").splitlines() if there.is_file() else []
            after = path.read_text(encoding="utf-8").splitlines()
            difference += difflib.unified_diff(before, after, f"crds/{path.name}", "generated", lineterm="", n=1)
    return [*difference, "run `make crds` and commit the result"] if difference else []


def _timed(name: str, check: Callable[[], bool]) -> bool:
    started = time.monotonic()
    passed = check()
    print(f"lint: {name}: {'ok' if passed else 'FAILED'} ({time.monotonic() - started:.1f} s)", flush=True)
    return passed


def _tool(command: list[str]) -> bool:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], cwd=paths.REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout + done.stderr, end="", flush=True)
    return done.returncode == 0


def _silent(check: Callable[[], list[str]]) -> bool:
    findings = check()
    for finding in findings:
        print(finding)
    return not findings
