"""A plan carried out on a snapshot, again and again until nothing is left to do: what the cluster settles into.

Every pod that is asked for comes up at once, and what is let go has ended by the next round. Nodes that are offline
stay so, and what is held for them stays held.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from littoral.api.base import Metadata
from littoral.api.gpuslice import Allocation, GPUSlice, GPUSliceStatus
from littoral.api.group import ANNOTATION_ASKED, LABEL_NODE
from littoral.placement.groups import group_of
from littoral.placement.plan import plan
from littoral.placement.results import Assignment, ModelPlan, Plan
from littoral.placement.snapshot import Key, Snapshot
from littoral.triton.metadata import Owner, alone, together

_ROUNDS: Final = 32
"""Each round carries out what the one before made room for; a plan that still changes then is shown as it is."""
_NEW: Final = datetime.max.replace(tzinfo=UTC)
"""When the simulated are bound and started: after everything that there is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where it ends."""

    snapshot: Snapshot
    """With every slice bound as the plan says."""
    plan: Plan
    """Of that snapshot: nothing in it is left to do but what waits."""
    causes: Mapping[Key, str]
    """By slice: why it did not stay where it was."""


def settle(snapshot: Snapshot) -> Outcome:
    """Plan and carry out until the plan stays the same."""
    causes: dict[Key, str] = {}
    decided = plan(snapshot)
    for _ in range(_ROUNDS):
        for tenants in (decided.models, decided.groups):
            for (namespace, _name), its in tenants.items():
                causes |= {(namespace, move.slice): move.cause for move in its.moves}
        after = _carry_out(snapshot, decided)
        if after.slices == snapshot.slices:
            break
        snapshot, decided = after, plan(after)
    return Outcome(snapshot, decided, causes)


def _carry_out(snapshot: Snapshot, decided: Plan) -> Snapshot:
    slices = dict(snapshot.slices)
    changed: set[Key] = set()
    for namespace, its in _plans(decided):
        gone = {(namespace, name) for name in _goes(its)}
        changed |= gone
        for each in gone:
            slices.pop(each, None)
    for owner, its in _owners(snapshot, decided):
        for assignment in its.assignments:
            at = (owner.namespace, assignment.slice)
            allocation = assignment.target or assignment.current
            existing = slices.get(at)
            if allocation is None or (existing and existing.status.allocation == allocation):
                continue
            if at in decided.slices:
                continue  # a user's own slice: its grant is planned below
            if existing is not None and existing.status.allocation is not None:
                changed.add(at)
            slices[at] = _bound(owner, assignment, allocation, existing)
    for key, reserved in decided.slices.items():
        if reserved.allocation is not None and slices[key].status.allocation != reserved.allocation:
            slices[key] = _with(slices[key], _started(reserved.allocation))
    return replace(
        snapshot,
        slices=slices,
        pods={key: pod for key, pod in snapshot.pods.items() if (pod.namespace, pod.slice) not in changed},
        deployments={
            key: each for key, each in snapshot.deployments.items() if (each.namespace, each.slice) not in changed
        },
    )


def _plans(decided: Plan) -> Iterator[tuple[str, ModelPlan]]:
    """Every plan with its namespace: a model's and a group's."""
    yield from ((key[0], its) for tenants in (decided.models, decided.groups) for key, its in tenants.items())


def _owners(snapshot: Snapshot, decided: Plan) -> Iterator[tuple[Owner, ModelPlan]]:
    """Whose slices the plan binds: the models by themselves, and the groups in place of their models."""
    for key, its in decided.models.items():
        model = snapshot.models[key]
        if group_of(model) is None:
            yield alone(model.metadata), its
    for key, its in decided.groups.items():
        members = [model.metadata for model in snapshot.models.values() if group_of(model) == key]
        yield together(key, key[1], members), its


def _goes(its: ModelPlan) -> Iterable[str]:
    """The model's slices that end: at once, or now that their replacements answer."""
    return (*its.releases, *(its.leaving if its.waiting == 0 else ()))


def _bound(owner: Owner, assignment: Assignment, allocation: Allocation, existing: GPUSlice | None) -> GPUSlice:
    """The replica's slice as the operator would write it."""
    if existing is not None:
        metadata = existing.metadata
        annotations = {**metadata.annotations, ANNOTATION_ASKED: assignment.asked}
        metadata = metadata.model_copy(update={"annotations": annotations})
    else:
        metadata = Metadata(
            name=assignment.slice,
            namespace=owner.namespace,
            creation_timestamp=_NEW,
            labels={**owner.labels, LABEL_NODE: assignment.node},
            annotations={ANNOTATION_ASKED: assignment.asked},
            owner_references=owner.references,
        )
    slice_ = GPUSlice(metadata=metadata, spec=assignment.request)
    return _with(slice_, _started(allocation))


def _started(allocation: Allocation) -> Allocation:
    return allocation.model_copy(
        update={"bound_at": allocation.bound_at or _NEW, "started_at": allocation.started_at or _NEW}
    )


def _with(slice_: GPUSlice, allocation: Allocation) -> GPUSlice:
    status = GPUSliceStatus(observed_generation=slice_.metadata.generation, phase="Bound", allocation=allocation)
    return slice_.model_copy(update={"status": status})
