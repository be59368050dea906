"""`make bench-fetch`: what the fetch container's program costs beside curl and sha256sum, in seconds and memory.

For each artifact and each kind of server the two are run in turn, round after round, over loopback, on the same bytes:

- `curl -o FILE URL`, `sync FILE`, `sha256sum FILE`: received, on the disk, and read back out of the page cache; of an
  archive then `tar -x` and `sync` of what came out of it, timed apart, for the fetch unpacks as well;
- the fetch program itself, as the container runs it, into an empty cache: hashed and, if need be, unpacked while it is
  received, with every file and folder on the disk (fsync) before it is renamed, and laid out for Triton.

So both have the artifact on the disk when their time ends. Before each run what earlier ones wrote is flushed (sync),
and one round that is not counted comes first, so that the servers read from the page cache where memory suffices.
Memory is the largest resident set of any process of a run, as the kernel counts it. Half-random bytes stand for
weights: zstd takes an eighth off them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from backports import zstd
from rich.console import Console
from rich.table import Table

from rig import fetchsources, paths
from rig.errors import RigError
from rig.fetchsources import Artifact, Origin
from rig.progress import Progress

_LAUNCHER: Final = """
import json, resource, subprocess, sys, time
begun = time.time()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
ended = time.time()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"begun": begun, "ended": ended, "peak": used.ru_maxrss / 1024, "cpu": used.ru_utime + used.ru_stime,
                  "status": done.returncode, "said": (done.stdout + done.stderr).decode(errors="replace")[-2000:]}))
"""
"""Runs a command as a small process of its own: a child starts with its parent's peak, and this one's is ten MiB."""
_CURL: Final = """
set -e
file=$1 folder=$2; shift 2
curl --silent --show-error --fail --output "$file" "$@"
sync "$file"
sha256sum "$file"
date +"hashed %s.%N"
case $file in *.tar*) tar -xf "$file" -C "$folder"; sync "$folder/1/model.onnx" "$folder/1" "$folder" ;; esac
"""
_FETCH: Final = """
import os, sys
from littoral.api import group
group.SECRETS_MOUNT, group.SETTINGS_MOUNT = sys.argv[1:]
from littoral.modelstore import fetch
os.umask(0o022)
raise SystemExit(fetch.main())
"""
"""The container's program, but for where its Secrets and ConfigMaps are mounted."""
_PIECE: Final = 1 << 20


@dataclass
class Runs:
    """What the counted runs of one command took: wall clock and CPU seconds, MiB of the largest process.

    `hashed` has the seconds until curl and sha256sum were done, where the command is that.
    """

    seconds: list[float] = field(default_factory=list)
    hashed: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)

    def add(self, measured: dict[str, Any]) -> None:
        """Count one run."""
        self.seconds.append(measured["ended"] - measured["begun"])
        if found := re.search(r"^hashed ([\d.]+)$", measured["said"], re.MULTILINE):
            self.hashed.append(float(found[1]) - measured["begun"])
        self.cpu.append(measured["cpu"])
        self.peak.append(measured["peak"])


@dataclass
class Case:
    """One artifact at one kind of server: the two commands' runs, and the machine's load before each round."""

    name: str
    size: int
    curl: Runs = field(default_factory=Runs)
    fetch: Runs = field(default_factory=Runs)
    load: list[float] = field(default_factory=list)

    def ratios(self, theirs: Sequence[float]) -> list[float]:
        """The fetch's time by those, round by round."""
        return [ours / their for ours, their in zip(self.fetch.seconds, theirs, strict=True)]


def run(mib: int, rounds: int, wanted: Sequence[str], output: Path | None, progress: Progress) -> int:
    """Measure, print, and write the figures as JSON where they are wanted; the exit status."""
    folder = paths.state_root() / f"fetchbench-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        artifacts = _artifacts(folder, mib, progress)
        with fetchsources.serving(folder, artifacts, wanted, progress) as origins:
            cases = [Case(origin.name, origin.artifact.path.stat().st_size) for origin in origins]
            for turn in range(rounds + 1):
                progress(f"round {turn} of {rounds}" if turn else "a round that is not counted")
                for case, origin in zip(cases, origins, strict=True):
                    _round(case, origin, folder, counted=turn > 0)
    finally:
        shutil.rmtree(folder)
    Console(width=170).print(_table(cases, mib, rounds))
    if output is not None:
        output.write_text(json.dumps([asdict(case) for case in cases], indent=1), encoding="utf-8")
    return 0


def _artifacts(folder: Path, mib: int, progress: Progress) -> dict[str, Artifact]:
    """A model file of that size, and archives of a model directory that holds it."""
    progress(f"making {mib} MiB of weights, a tar and a tar.zst of them")
    file = folder / "model.onnx"
    sevenths = bytes(byte & 0x7F for byte in range(256))
    chance = random.Random(5)  # noqa: S311  # no secret: the same bytes every time
    with file.open("wb") as sink:
        for _ in range(mib):
            sink.write(chance.randbytes(_PIECE).translate(sevenths))
    tar, zst = folder / "model.tar", folder / "model.tar.zst"
    with tarfile.open(tar, "w") as archive:
        archive.add(file, "1/model.onnx")
    with tar.open("rb") as source, zstd.open(zst, "wb", level=3) as packed:
        shutil.copyfileobj(source, packed, _PIECE)
    return {path.name.removeprefix("model."): Artifact(path, _sha256(path)) for path in (file, tar, zst)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _round(case: Case, origin: Origin, folder: Path, *, counted: bool) -> None:
    """One run of each command; an odd round begins with the other one."""
    case.load += [os.getloadavg()[0]] if counted else []
    commands = [(case.curl, _by_curl), (case.fetch, _by_fetch)]
    for runs, command in commands if len(case.load) % 2 else reversed(commands):
        with command(origin, folder) as (argv, env):
            os.sync()
            measured = _measure(argv, env)
        if counted:
            runs.add(measured)


@contextlib.contextmanager
def _by_curl(origin: Origin, folder: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    work = folder / "by-curl"
    (work / "unpacked").mkdir(parents=True)
    target = work / origin.artifact.path.name
    yield ["sh", "-c", _CURL, "sh", str(target), str(work / "unpacked"), *origin.curl], {}
    shutil.rmtree(work)


@contextlib.contextmanager
def _by_fetch(origin: Origin, folder: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    work = folder / "node"
    for name in ("cache", "repository"):
        (work / name).mkdir(parents=True)
    log = work / "termination-log"
    model = {"name": "model", "uri": origin.uri, "sha256": origin.digest, "format": "onnx", **origin.access}
    request = {"models": [model], "cache": str(work / "cache"), "repository": str(work / "repository")}
    env = {
        "LITTORAL_FETCH": json.dumps(request),
        "LITTORAL_TERMINATION_LOG": str(log),
        "PYTHONPATH": str(paths.REPOSITORY / "operator"),
    }
    yield [sys.executable, "-c", _FETCH, str(folder / "secrets"), str(folder / "settings")], env
    report = json.loads(log.read_text(encoding="utf-8"))
    if report["outcome"] != "ok" or report["models"][0]["source"] != "fetched":
        raise RigError(f"the fetch of {origin.uri} did not succeed: {report}")
    shutil.rmtree(work)


def _measure(argv: Sequence[str], env: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *argv]
    done = subprocess.run(command, env={**os.environ, **env}, stdout=subprocess.PIPE, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    if measured["status"]:
        raise RigError(f"{argv[0]} ended with {measured['status']}: {measured['said']}")
    return measured


def _table(cases: Sequence[Case], mib: int, rounds: int) -> Table:
    table = Table(title=f"{mib} MiB, {rounds} rounds: median (least-most); CPU and peak memory: curl, fetch")
    columns = ("source", "MiB", "curl, s", "and tar, s", "fetch, s", "by curl", "by both", "CPU s", "peak MiB", "load")
    for column in columns:
        table.add_column(column, justify="left" if column == "source" else "right", no_wrap=True)
    for case in cases:
        unpacks = not case.name.endswith("onnx")
        table.add_row(
            case.name,
            f"{case.size / _PIECE:.0f}",
            _spread(case.curl.hashed),
            _spread(case.curl.seconds) if unpacks else "",
            _spread(case.fetch.seconds),
            _spread(case.ratios(case.curl.hashed)),
            _spread(case.ratios(case.curl.seconds)) if unpacks else "",
            f"{statistics.median(case.curl.cpu):.1f}, {statistics.median(case.fetch.cpu):.1f}",
            f"{max(case.curl.peak):.0f}, {max(case.fetch.peak):.0f}",
            _spread(case.load),
        )
    return table


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
