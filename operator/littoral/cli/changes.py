"""What a plan changes: for each model what starts, moves, changes or stops, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.group import LABEL_GROUP
from littoral.cli.simulation import Outcome
from littoral.placement.snapshot import Key
from littoral.placement.staying import alike

Action = Literal["start", "move", "change", "stop"]


@dataclass(frozen=True, slots=True)
class Change:
    """One replica, or one reservation, that is not as it was."""

    namespace: str
    owner: str
    """"im/plate", "group/vision" of a shared server, "gs/reserved"."""
    action: Action
    before: Allocation | None
    after: Allocation | None
    cause: str


def changes(before: Mapping[Key, GPUSlice], outcome: Outcome) -> list[Change]:
    """What lies elsewhere, or otherwise, than it did; by namespace, owner and node."""
    now = outcome.snapshot.slices
    owners: dict[tuple[str, str], set[Key]] = {}
    for slices in (before, now):
        for key, slice_ in slices.items():
            owners.setdefault((key[0], _owner(slice_)), set()).add(key)
    found: list[Change] = []
    for (namespace, owner), keys in sorted(owners.items()):
        found += _of_owner(namespace, owner, keys, before, outcome)
    return found


def _of_owner(
    namespace: str, owner: str, keys: set[Key], before: Mapping[Key, GPUSlice], outcome: Outcome
) -> Iterator[Change]:
    started: list[tuple[Key, Allocation]] = []
    stopped: list[tuple[Key, Allocation]] = []
    for key in sorted(keys, key=lambda each: _order(each, before, outcome)):
        then, now = _allocation(before.get(key)), _allocation(outcome.snapshot.slices.get(key))
        if then is None and now is not None:
            started.append((key, now))
        elif then is not None and now is None:
            stopped.append((key, then))
        elif then is not None and now is not None and not alike(then, now):
            yield Change(namespace, owner, "change", then, now, _figures(then, now))
    for key, then in stopped:
        cause = outcome.causes.get(key) or _gone(namespace, owner, outcome)
        if started:
            yield Change(namespace, owner, "move", then, started.pop(0)[1], cause)
        else:
            yield Change(namespace, owner, "stop", then, None, cause)
    for key, now in started:
        yield Change(namespace, owner, "start", None, now, _why(key, outcome))


def _order(key: Key, before: Mapping[Key, GPUSlice], outcome: Outcome) -> tuple[str, str]:
    slice_ = outcome.snapshot.slices.get(key) or before[key]
    allocation = _allocation(slice_)
    return allocation.node if allocation else "", key[1]


def _owner(slice_: GPUSlice) -> str:
    shared, model = slice_.metadata.labels.get(LABEL_GROUP), slice_.metadata.owner("InferenceModel")
    if shared:
        return f"group/{shared}"
    return f"im/{model}" if model else f"gs/{slice_.metadata.name}"


def _allocation(slice_: GPUSlice | None) -> Allocation | None:
    return None if slice_ is None else slice_.status.allocation


def _gone(namespace: str, owner: str, outcome: Outcome) -> str:
    kind, _, name = owner.partition("/")
    there = {"im": outcome.snapshot.models, "gs": outcome.snapshot.slices, "group": outcome.plan.groups}[kind]
    return "" if (namespace, name) in there else "it is there no more"


def _why(key: Key, outcome: Outcome) -> str:
    """Why this variant, if a replica of a model lies on the slice."""
    models = (its for model, its in outcome.plan.models.items() if model[0] == key[0])
    found = (assignment.why for its in models for assignment in its.assignments if assignment.slice == key[1])
    return next(found, "")


def _figures(then: Allocation, now: Allocation) -> str:
    """What of the grant differs."""
    parts = [
        f"{name} {old} becomes {new}"
        for name in ("device", "provider", "isolation", "memory")
        if (old := getattr(then, name)) != (new := getattr(now, name))
    ]
    if then.compute != now.compute:
        parts.append(f"compute {then.compute}% becomes {now.compute}%")
    if then.resources != now.resources:
        parts.append(f"it asks for {_listed(now.resources)} in place of {_listed(then.resources)}")
    return ", ".join(parts) or "its pod is patched otherwise"


def _listed(resources: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in sorted(resources.items())) or "nothing"
