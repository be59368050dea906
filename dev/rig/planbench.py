"""`make bench-plan`: what a plan costs on large fleets, in CPU seconds and memory, and how well it packs small ones.

No cluster: snapshots in, plans out. Times are CPU time of this process, the best of several runs, because others may
work on the machine. The collector of cyclic garbage is held off while a plan is timed, and what the fleet itself holds
is frozen before, as the operator does; a plan makes next to no cycles. Memory is the process's peak with the fleet, its
planner and its plan in it, in a process of its own for each fleet.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.table import Table

from littoral.api.inferencemodel import InferenceModel
from littoral.placement.plan import plan
from littoral.placement.planner import Planner
from littoral.placement.snapshot import Key, Snapshot
from rig import packing
from rig.errors import RigError
from rig.planfleet import CHASSIS, FIELD, Size, build, settled

T = TypeVar("T")
_RUNS: Final = 3
_CHANGES: Final = 20
FLEETS: Final[Mapping[str, Size]] = {"chassis": CHASSIS, "field": FIELD}


@dataclass(frozen=True, slots=True)
class Cost:
    """What planning for one fleet costs: seconds of CPU, MiB."""

    fleet: str
    placed: int
    waiting: int
    cold: float
    """Nothing is placed yet."""
    restart: float
    """Everything is bound, the planner knows nothing: an operator that starts."""
    unchanged: float
    """Everything is bound and known."""
    replicas: list[float]
    """One model among them is scaled up by one; by run."""
    memory: list[float]
    """One model among them asks for other memory; by run."""
    baseline_mib: int
    """The fleet itself, its objects for a bound slice each included."""
    peak_mib: int


def run(fleets: list[str], instances: int, output: Path | None) -> int:
    """Measure, print, and write the figures as JSON where they are wanted; the exit status."""
    costs = [_apart(FLEETS[name]) for name in fleets]
    packed = [packing.measure(seed) for seed in range(instances)]
    console = Console()
    if costs:
        console.print(_costs(costs))
    if packed:
        console.print(_packing(packed))
    if output is not None:
        figures = {"costs": [asdict(each) for each in costs], "packing": [asdict(each) for each in packed]}
        output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _apart(size: Size) -> Cost:
    """The cost, in a process of its own, whose peak memory is then that fleet's alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(cost, (size,))


def cost(size: Size) -> Cost:
    """What planning for a fleet of this size costs."""
    empty = build(size)
    first, cold = _best(lambda: plan(empty))
    snapshot = settled(empty, first)
    baseline = _peak()
    _, restart = _best(lambda: plan(snapshot))
    planner = Planner()
    if planner.plan(snapshot) != plan(snapshot):
        raise RigError("the planner's plan is not that of a plan from nothing")
    _, unchanged = _best(lambda: planner.plan(replace(snapshot)))
    return Cost(
        fleet=size.name,
        placed=sum(len(its.assignments) for its in first.models.values()),
        waiting=sum(its.waiting for its in first.models.values()),
        cold=cold,
        restart=restart,
        unchanged=unchanged,
        replicas=_changes(planner, snapshot, lambda model: {"replicas": model.spec.replicas + 1}),
        memory=_changes(planner, snapshot, _heavier),
        baseline_mib=baseline,
        peak_mib=_peak(),
    )


def _heavier(model: InferenceModel) -> dict[str, Any]:
    return {"slice": model.spec.slice.model_copy(update={"memory": "1234Mi"})}


def _changes(planner: Planner, snapshot: Snapshot, change: Callable[[InferenceModel], dict[str, Any]]) -> list[float]:
    """The seconds of several changes, each of another model, and each taken back before the next."""
    seconds: list[float] = []
    keys = sorted(snapshot.models)
    for index in range(_CHANGES):
        changed = _with(snapshot, keys[index * len(keys) // _CHANGES], change)
        with _timed(seconds):
            planner.plan(changed)
        planner.plan(replace(snapshot))
    return seconds


def _with(snapshot: Snapshot, key: Key, change: Callable[[InferenceModel], dict[str, Any]]) -> Snapshot:
    model = snapshot.models[key]
    spec = model.spec.model_copy(update=change(model))
    return replace(snapshot, models={**snapshot.models, key: model.model_copy(update={"spec": spec})})


def _best(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gives, and the least of the seconds that it took."""
    seconds: list[float] = []
    for _ in range(_RUNS):
        with _timed(seconds):
            found = work()
    return found, min(seconds)


@contextmanager
def _timed(seconds: list[float]) -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    started = time.process_time()
    try:
        yield
        seconds.append(time.process_time() - started)
    finally:
        gc.enable()
        gc.unfreeze()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _costs(costs: list[Cost]) -> Table:
    table = Table("CPU time, best of several", *(each.fleet for each in costs), title="Planning")
    rows: dict[str, Callable[[Cost], str]] = {
        "replicas placed, waiting": lambda each: f"{each.placed:,}, {each.waiting:,}",
        "cold: nothing is placed yet, s": lambda each: f"{each.cold:.2f}",
        "after a restart: all is bound, s": lambda each: f"{each.restart:.2f}",
        "nothing changed, ms": lambda each: f"{each.unchanged * 1000:.1f}",
        "one model scaled up, ms: median, worst": lambda each: _milliseconds(each.replicas),
        "one model asks other memory, ms: median, worst": lambda each: _milliseconds(each.memory),
        "peak memory, MiB (before the first plan of the bound fleet)": lambda each: (
            f"{each.peak_mib:,} ({each.baseline_mib:,})"
        ),
    }
    for name, tell in rows.items():
        table.add_row(name, *(tell(each) for each in costs))
    return table


def _milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f}, {max(seconds) * 1000:.1f}"


def _packing(packed: list[packing.Packed]) -> Table:
    contended = sum(each.asked > each.optimum + 1e-3 for each in packed)
    title = f"Packing: accepted demand of {len(packed)} instances, in {contended} of which not all fits"
    table = Table("of the optimum", "mean", "standard deviation", "worst (instance)", title=title)
    rows = {"planned": "planned", "aged": "planned, models of unlike ages", "first_fit": "first fit"}
    for name, words in rows.items():
        parts = {each.seed: getattr(each, name) / each.optimum for each in packed}
        worst = min(parts, key=lambda seed: parts[seed])
        spread = statistics.pstdev(parts.values())
        mean = statistics.fmean(parts.values())
        table.add_row(words, f"{mean:.3f}", f"{spread:.3f}", f"{parts[worst]:.3f} ({worst})")
    return table
