"""Why an object is as it is, in words: what `littoral explain` prints. Values in, values out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from littoral.api.base import Condition
from littoral.api.conditions import READY, find
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.quantity import short_mib
from littoral.placement import reasons
from littoral.placement.ledger import mib
from littoral.placement.plan import plan, why_not
from littoral.placement.results import Assignment
from littoral.placement.snapshot import Key, Snapshot


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under a title; the columns of a section are aligned."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about one object."""

    subject: str
    summary: str
    """One sentence, the counts first."""
    sections: tuple[Section, ...]


class UnknownError(LookupError):
    """There is no such object in what was read."""


def of_model(snapshot: Snapshot, key: Key) -> Explanation:
    """Where a model is and why, and node by node why it is nowhere else. Raises UnknownError."""
    subject = f"InferenceModel {key[0]}/{key[1]}"
    if key in snapshot.refused:
        return Explanation(subject, snapshot.refused[key], ())
    if key not in snapshot.models:
        raise UnknownError(_unknown("InferenceModel", key, snapshot.models))
    decided = plan(snapshot).models.get(key)
    if decided is None:
        return Explanation(subject, "it is being deleted", ())
    status = snapshot.models[key].status
    refusals = dict(why_not(snapshot, key))
    occupied = {each.node for each in decided.assignments}
    open_to = sorted(snapshot.edge_nodes.keys() - refusals.keys() - occupied)
    counted = "" if decided.waiting or not refusals else reasons.summary(refusals)[1]
    return Explanation(
        subject,
        decided.message,
        _sections(
            Section("Its status says", _ready(status.conditions)),
            Section("It is on", _assigned(each for each in decided.assignments if each.current is not None)),
            Section("It goes to", _assigned(each for each in decided.assignments if each.current is None)),
            Section("Why these variants", _whys(decided.assignments)),
            Section("It leaves", tuple((move.node, move.slice, move.cause) for move in decided.moves)),
            Section("It stops when the node is back on", tuple((name,) for name in decided.held)),
            Section("Another one would go to", tuple((node,) for node in open_to)),
            Section(
                "No other one goes to",
                tuple((node, refusal.message) for node, refusal in refusals.items()),
                counted,
            ),
        ),
    )


def of_slice(snapshot: Snapshot, key: Key) -> Explanation:
    """Whose a slice is, and where it lies or why it waits. Raises UnknownError."""
    if key not in snapshot.slices:
        raise UnknownError(_unknown("GPUSlice", key, snapshot.slices))
    slice_, decided = snapshot.slices[key], plan(snapshot)
    mine = decided.slices.get(key)
    model = slice_.metadata.owner("InferenceModel")
    users = tuple(
        (f"InferenceModel {namespace}/{name}", each.why)
        for (namespace, name), its in sorted(decided.models.items())
        for each in its.assignments
        if (namespace, each.slice) == key
    )
    if mine is not None:
        summary = mine.message
    elif slice_.status.allocation is not None:
        summary = f"bound for a replica of {model}" if model else "bound"
    else:
        summary = f"made for a replica of {model}, not bound" if model else "being deleted"
    return Explanation(
        f"GPUSlice {key[0]}/{key[1]}",
        summary,
        _sections(
            Section("It asks for", (_asked(slice_),)),
            Section("It lies on", (_where(slice_.status.allocation),) if slice_.status.allocation else ()),
            Section("It is used by", users),
        ),
    )


def of_node(snapshot: Snapshot, name: str) -> Explanation:
    """What was concluded about a node, and from which fact. Raises UnknownError."""
    decided = plan(snapshot)
    if name not in decided.nodes:
        raise UnknownError(_unknown("EdgeNode", ("", name), {("", each): None for each in decided.nodes}))
    its = decided.nodes[name]
    devices = tuple(
        (
            load.device.id,
            f"{short_mib(load.free)} of {short_mib(load.device.total_memory)} free",
            load.device.provider,
            load.device.source,
        )
        for load in its.devices
    )
    tenants = tuple(
        (f"{key[0]}/{key[1]}", *_where(slice_.status.allocation)[1:])
        for key, slice_ in sorted(snapshot.slices.items())
        if slice_.status.allocation is not None and slice_.status.allocation.node == name
    )
    excluded = tuple(
        (each.device, f"until {each.until:%Y-%m-%dT%H:%M:%SZ}", each.message)
        for each in snapshot.exclusions.get(name, ())
    )
    summary = "; ".join(finding.message for finding in its.discovery.findings)
    state = "connected" if its.connected else "offline"
    site = f", site {its.discovery.site}" if its.discovery.site else ""
    return Explanation(
        f"EdgeNode {name}",
        f"{state}, pool {its.discovery.pool or '-'}{site}: {summary or 'nothing is known of its devices'}",
        _sections(
            Section("Its devices", devices),
            Section("What lies on it", tenants),
            Section("What gets nothing for a while", excluded),
        ),
    )


def _sections(*given: Section) -> tuple[Section, ...]:
    """Those that have something to say."""
    return tuple(section for section in given if section.rows)


def _assigned(assignments: Iterable[Assignment]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (*_where(each.target or each.current), each.variant, each.lost or each.blocked) for each in assignments
    )


def _whys(assignments: Iterable[Assignment]) -> tuple[tuple[str, ...], ...]:
    """Each reason once."""
    return tuple(dict.fromkeys((each.variant, each.why) for each in assignments if each.why))


def _where(allocation: Allocation | None) -> tuple[str, ...]:
    if allocation is None:
        return ("", "", "")
    fraction = f"{short_mib(mib(allocation.memory))}, {allocation.compute}% by {allocation.provider}"
    return allocation.node, allocation.device, fraction


def _asked(slice_: GPUSlice) -> tuple[str, ...]:
    spec = slice_.spec
    return (
        f"{spec.memory}, {spec.compute}% compute, isolation {spec.isolation}",
        f"of {', '.join(spec.accelerators) or 'any accelerator'}",
    )


def _ready(conditions: Iterable[Condition]) -> tuple[tuple[str, ...], ...]:
    ready = find(tuple(conditions), READY)
    return ((f"Ready={ready.status}", ready.reason, ready.message),) if ready else ()


def _unknown(kind: str, key: Key, there: Mapping[Key, object]) -> str:
    alike = sorted("/".join(filter(None, each)) for each in there if each[1] == key[1])
    hint = f"; there is {', '.join(alike)}" if alike else ""
    return f"there is no {kind} {'/'.join(filter(None, key))}{hint}"
