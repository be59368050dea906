"""How much of what is asked the planner places, beside the optimum and beside first fit.

Random fleets, small enough for an exact solver (CP-SAT of OR-tools), asked for somewhat less to somewhat more than
they have, all at once: the models are of one age, as when a directory is applied, and once more all of unlike ages. The
measure is accepted demand. A
replica's demand is the memory that its model asks, as a part of 15 GiB, plus the compute, as a part of one device: the
same wherever the replica lies, so that nothing is gained by a place that wastes.

The optimum accepts and refuses whom it likes: it knows no order among models, which the planner has. First fit takes
the models by name and each node's devices by name. Each model has one variant for all its accelerators: with several
the first is the user's wish, and no packing may go against it. Only mechanisms whose charge does not depend on what
lies there already take part: cpu, whole, runtime, time-slicing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Final

from littoral.api.base import Metadata
from littoral.api.edgenode import EdgeNode
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import NodeFacts
from littoral.placement.filters import Ask
from littoral.placement.ledger import Slot, charge
from littoral.placement.market import Candidate, Market, allocate, fit
from littoral.placement.plan import ask, plan
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.wants import demand
from littoral.placement.world import World
from littoral.slicing.provider import Charge, Refusal
from rig.errors import RigError
from rig.planfleet import CREATED, NAMESPACE, catalogue, nvidia

INSTANCES: Final = 200
_DEVICE_MIB: Final = 15_360
_LOAD: Final = (0.6, 1.3)
"""How much is asked, of what there is."""
_SOLVER_SECONDS: Final = 30.0
_SCALE: Final = 100_000
"""The solver reckons in whole numbers."""

_ACCELERATORS: Final = (
    ["*"],
    ["*", "cpu"],
    ["*", "cpu"],
    ["t4"],
    ["t4", "jetson-orin"],
    ["t4", "cpu"],
    ["jetson-orin", "cpu"],
    ["ascend-310p", "t4"],
    ["cpu"],
)


@dataclass(frozen=True, slots=True)
class Packed:
    """Accepted demand on one instance."""

    seed: int
    asked: float
    optimum: float
    planned: float
    aged: float
    """As planned where no two models are of one age: the older comes first, however that packs."""
    first_fit: float


@dataclass(frozen=True, slots=True)
class Option:
    """A device that gives one replica of a model what it asks if it is alone there, and for what charge."""

    slot: Slot
    charge: Charge

    @property
    def fits(self) -> bool:
        """Whether there is room beside what is charged now."""
        slot, more = self.slot, self.charge
        units = slot.device.units - slot.units if slot.device.resource is not None else more.units
        return slot.memory_left >= more.memory and slot.compute_left >= more.compute and units >= more.units


def measure(seed: int) -> Packed:
    """One instance, packed in three ways. Raises RigError where the solver did not prove its optimum in time."""
    snapshot = instance(seed)
    models, options = _options(snapshot)
    return Packed(
        seed,
        asked=sum(model.spec.replicas * weight(model) for model in models),
        optimum=_optimum(seed, models, options),
        planned=_accepted(snapshot),
        aged=_accepted(_of_unlike_ages(snapshot, seed)),
        first_fit=_first_fit(models, options),
    )


def _accepted(snapshot: Snapshot) -> float:
    """The demand that a cold plan accepts."""
    found = plan(snapshot).models
    return sum(len(its.assignments) * weight(snapshot.models[key]) for key, its in found.items())


def _of_unlike_ages(snapshot: Snapshot, seed: int) -> Snapshot:
    """The same models, applied one by one in random order."""
    order = sorted(snapshot.models)
    Random(seed).shuffle(order)  # noqa: S311 (an order, not a secret)
    models = dict(snapshot.models)
    for age, key in enumerate(order):
        meta = models[key].metadata.model_copy(update={"creation_timestamp": CREATED + timedelta(seconds=age)})
        models[key] = models[key].model_copy(update={"metadata": meta})
    return replace(snapshot, models=models)


def weight(model: InferenceModel) -> float:
    """The demand of one replica."""
    want = demand(model).wants[0]
    return want.memory / _DEVICE_MIB + want.compute / 100


def instance(seed: int) -> Snapshot:
    """A fleet of three to five machines, and models of which each could be served there if it were alone."""
    rng = Random(seed)  # noqa: S311 (a fleet, not a secret)
    nodes = [_machine(rng, f"n{index}") for index in range(rng.randint(3, 5))]
    fleet = Snapshot(
        catalogue=catalogue(),
        nodes={node.name: node for node in nodes},
        edge_nodes={node.name: EdgeNode(metadata=Metadata(name=node.name)) for node in nodes},
    )
    room = sum(_room(node) for node in nodes) * rng.uniform(*_LOAD)
    world = World(fleet)
    market = Market(world.nodes, world.ledger, world.chooser)
    models: dict[Key, InferenceModel] = {}
    while room > 0:
        model = _model(rng, len(models))
        if any(_alone(market, ask(world, model))):
            models[model.metadata.key] = model
            room -= model.spec.replicas * weight(model)
    return replace(fleet, models=models)


def _machine(rng: Random, name: str) -> NodeFacts:
    kind = rng.choice(("t4", "t4", "orin", "npu", "cpu"))
    labels: Mapping[str, str] = {}
    resources: Mapping[str, int] = {}
    if kind == "t4":
        count, shares = rng.choice((1, 2)), rng.choice((1, 2, 4))
        labels, resources = nvidia(count, shares), {"nvidia.com/gpu": count * shares}
    elif kind == "orin":
        labels = {"littoral.dev/profile": "bench-orin"}
    elif kind == "npu":
        labels, resources = {"littoral.dev/profile": "bench-310p"}, {"example.com/npu": 1}
    memory = rng.choice((4000, 8000, 16000))
    return NodeFacts(name, labels=labels, resources=resources, ready="True", memory=memory, cpu=8000)


def _room(node: NodeFacts) -> float:
    """About what a machine takes, in the measure of `weight`."""
    return 0.6 * max(1, int(node.labels.get("nvidia.com/gpu.count", "1"))) + node.memory / _DEVICE_MIB


def _model(rng: Random, index: int) -> InferenceModel:
    variant = {
        "name": "any",
        "format": "onnx",
        "accelerators": rng.choice(_ACCELERATORS),
        "source": {"uri": "https://models/x", "sha256": "0" * 64},
    }
    memory = rng.choice((rng.randrange(200, 2000), rng.randrange(1000, 6000)))
    return InferenceModel.model_validate(
        {
            "metadata": {"name": f"m{index:02}", "namespace": NAMESPACE, "creationTimestamp": CREATED},
            "spec": {
                "variants": [variant],
                "slice": {"memory": f"{memory}Mi", "compute": rng.choice((0, 10, 20, 25, 40, 50, 80))},
                "replicas": rng.choice((1, 1, 2, 3)),
            },
        }
    )


def _options(snapshot: Snapshot) -> tuple[list[InferenceModel], list[list[Option]]]:
    """The models by name, and for each the devices that would take one replica of it."""
    world = World(snapshot)
    market = Market(world.nodes, world.ledger, world.chooser)
    models = [snapshot.models[key] for key in sorted(snapshot.models)]
    return models, [list(_alone(market, ask(world, model))) for model in models]


def _alone(market: Market, asked: Ask) -> Iterator[Option]:
    for group in market.candidates(asked)[0].values():
        for candidate in group:
            found = _option(candidate, asked)
            if found is not None:
                yield found


def _option(candidate: Candidate, asked: Ask) -> Option | None:
    granted = fit(candidate.node, candidate.slot, candidate.choice, asked.needs)
    if isinstance(granted, Refusal):
        return None
    allocation = allocate(candidate.node.name, candidate.slot, granted)
    return Option(candidate.slot, charge(allocation, candidate.slot.device))


def _first_fit(models: Iterable[InferenceModel], options: Iterable[list[Option]]) -> float:
    """What is accepted where each replica goes to the first device with room."""
    accepted = 0.0
    for model, its in zip(models, options, strict=True):
        for ordinal in range(model.spec.replicas):
            option = next((each for each in its if each.fits), None)
            if option is None:
                break
            option.slot.hold((model.metadata.name, str(ordinal)), option.charge)
            accepted += weight(model)
    return accepted


def _optimum(seed: int, models: Iterable[InferenceModel], options: Iterable[list[Option]]) -> float:
    """The most that can be accepted, proven."""
    from ortools.sat.python import cp_model  # noqa: PLC0415  # installed for this measure alone

    program = cp_model.CpModel()
    memory: dict[int, tuple[int, list[cp_model.LinearExprT]]] = {}
    gain: list[cp_model.LinearExprT] = []
    loads: dict[Slot, list[tuple[cp_model.IntVar, Charge]]] = {}
    for model, its in zip(models, options, strict=True):
        numbers = [program.new_int_var(0, model.spec.replicas, "") for _ in its]
        program.add(sum(numbers) <= model.spec.replicas)
        gain += [number * round(weight(model) * _SCALE) for number in numbers]
        for number, option in zip(numbers, its, strict=True):
            loads.setdefault(option.slot, []).append((number, option.charge))
    for slot, load in loads.items():
        account = memory.setdefault(id(slot.account), (slot.device.total_memory, []))
        account[1].extend(number * each.memory for number, each in load)
        program.add(sum(number * each.compute for number, each in load) <= slot.percent)
        if slot.device.resource is not None:
            program.add(sum(number * each.units for number, each in load) <= slot.device.units)
    for size, terms in memory.values():
        program.add(sum(terms) <= size)
    program.maximize(sum(gain))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = _SOLVER_SECONDS
    if solver.solve(program) != cp_model.OPTIMAL:
        raise RigError(f"instance {seed}: no optimum was proven in {_SOLVER_SECONDS:.0f} s")
    return float(solver.objective_value) / _SCALE
