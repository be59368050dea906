"""`make test`: everything but the long tests, from a fresh machine, each tier in a pytest of its own.

The tiers differ in what they need: `pure` nothing, `contract` an API server, `node` real nodes. What the later tiers
are made of is built in a process beside the first. All tiers run whatever an earlier one found, so that one run tells
everything; the last lines are pytest's own closing lines with each tier's time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from rig import binaries, choice, cluster, images, paths, preflight, states
from rig.binaries import Binaries
from rig.errors import RigError, with_log
from rig.progress import Progress, Steps

TIERS = {
    "pure": "not contract and not node and not long",
    "contract": "contract and not node and not long",
    "node": "node and not long",
    "long": "long",
}
"""Each tier's marker expression. Every test but the long ones is in exactly one of the first three."""
DEFAULT_TIERS = ("pure", "contract", "node")
_NO_TESTS = 5
_READ = 65536
_TAIL = 4096


@dataclass(frozen=True)
class Outcome:
    """How one tier ended: pytest's exit status, its closing line as it stands, and the seconds it took."""

    tier: str
    status: int
    closing: str
    seconds: float


def tools(progress: Progress) -> bool:
    """Install what real nodes need and this machine lacks, asking on a terminal; False where none can run.

    Raises ToolsMissing where that was refused.
    """
    if choice.why_no_embedded_cluster() is not None:
        return False
    preflight.check(progress, yes=False, log=paths.state_root() / "preflight.log")
    return True


def prepare(progress: Progress) -> None:
    """Build what the contract and the node tier run on: programs and, where real nodes can run, images."""
    nodes = tools(progress)
    with ThreadPoolExecutor(max_workers=2) as pool:  # compilers take the cores, images wait for downloads
        work: list[Future[object]] = [pool.submit(_build_programs, nodes, progress)]
        if nodes:
            work.append(pool.submit(_build_images, progress))
        for item in work:
            item.result()


def run(tiers: Sequence[str], arguments: Sequence[str]) -> int:
    """Run `tiers` (the default ones if empty) with pytest's `arguments`; returns the exit status.

    A tier without tests is an error, unless the user narrowed the run to some tiers or gave arguments.
    """
    wanted = [tier for tier in TIERS if tier in (tiers or DEFAULT_TIERS)]
    narrowed = bool(tiers or arguments)
    steps = Steps()
    needs_cluster = wanted != ["pure"]
    if needs_cluster:
        tools(steps)  # before anything runs beside: it may have to ask
    outcomes: list[Outcome] = []
    try:
        with _prepared(needed=needs_cluster) as ready:
            for tier in wanted:
                if tier != "pure":
                    ready(steps)
                outcomes.append(_pytest(tier, arguments))
    finally:
        for folder in states.abandoned():
            steps(f"removed {len(cluster.down(folder))} things that a test run had left in {folder}")
    return _report(outcomes, narrowed=narrowed)


@contextmanager
def _prepared(*, needed: bool) -> Iterator[Callable[[Progress], None]]:
    """`prepare` in a process of its own while the block runs; what is yielded waits for it, raising RigError."""
    if not needed:
        yield lambda _progress: None
        return
    log = paths.state_root() / "prepare.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        # nice: the pure tests that run meanwhile go first.
        command = ["nice", sys.executable, "-m", "rig", "prepare"]
        builder = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )

    def ready(progress: Progress) -> None:
        if builder.poll() is None:
            progress(f"waiting for what the cluster is made of (from nothing 14 to 17 minutes on two cores; {log})")
        if builder.wait() != 0:
            raise with_log("what the cluster is made of could not be built", log)

    try:
        yield ready
    finally:
        if builder.poll() is None:
            os.killpg(builder.pid, signal.SIGTERM)  # the compilers too, which a signal to Python alone would not reach
        builder.wait()


def _pytest(tier: str, arguments: Sequence[str]) -> Outcome:
    """Run one tier, showing what pytest prints as it prints it."""
    print(f"\n##### tier {tier}: pytest -m '{TIERS[tier]}'", flush=True)
    started = time.monotonic()
    color = "yes" if sys.stdout.isatty() else "no"
    command = [sys.executable, "-m", "pytest", "-m", TIERS[tier], f"--color={color}", *arguments]
    tail = b""
    with subprocess.Popen(command, cwd=paths.REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None  # noqa: S101  # for the type checker: it was asked for above
        try:
            while chunk := os.read(process.stdout.fileno(), _READ):
                sys.stdout.buffer.write(chunk)
                sys.stdout.flush()
                tail = (tail + chunk)[-_TAIL:]
        except KeyboardInterrupt:
            process.terminate()  # where the keyboard's interrupt did not reach it; its clusters are removed by `run`
            raise
    lines = tail.decode(errors="replace").strip().splitlines()
    return Outcome(tier, process.returncode, lines[-1] if lines else "", time.monotonic() - started)


def _report(outcomes: Sequence[Outcome], *, narrowed: bool) -> int:
    """Print each tier's time and closing line; the exit status of the whole."""
    worst = 0
    empty = [outcome for outcome in outcomes if outcome.status == _NO_TESTS]
    print()
    for outcome in outcomes:
        print(f"tier {outcome.tier}: {outcome.seconds:.0f} s, exit status {outcome.status}")
        print(outcome.closing)
        if outcome.status not in {0, _NO_TESTS}:
            worst = outcome.status
    if empty and (not narrowed or len(empty) == len(outcomes)):
        print(f"no test ran in tier {', '.join(outcome.tier for outcome in empty)}: that is an error")
        worst = worst or _NO_TESTS
    sys.stdout.flush()
    return worst


def _build_programs(nodes: bool, progress: Progress) -> None:
    builds = Binaries()
    builds.ensure((*binaries.CONTROL_PLANE, *(binaries.NODE if nodes else ()), "kwok", *binaries.SERVERS), progress)
    builds.kubectl(progress)


def _build_images(progress: Progress) -> None:
    for name in ("pause", *cluster.IMAGES):
        try:
            images.build(name, paths.cache_root(), progress)
        except OSError as error:
            raise RigError(f"image {name} could not be built: {error}") from error
