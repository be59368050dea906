"""What `littoral plan` prints for people: who goes where on which fraction, what waits and why, a bar for each device.

Made for 100 columns; where the output's encoding has no blocks the bars are of `#`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from littoral.api.gpuslice import Allocation
from littoral.api.quantity import short_mib
from littoral.cli.changes import Change
from littoral.cli.manifests import World
from littoral.cli.printing import indented
from littoral.cli.simulation import Outcome
from littoral.placement.groups import group_of
from littoral.placement.ledger import mib
from littoral.placement.results import Assignment, DeviceLoad, ModelPlan, NodePlan
from littoral.placement.snapshot import Key

_BAR: Final = 10
_FIGURES: Final = {3, 4}
_SIGNS: Final = {"start": "+", "stop": "-", "move": "~", "change": "~"}
_STYLES: Final = {"+": "green", "-": "red", "~": "yellow"}

_Row = tuple[str, str, str, str, str, str]
_HEADER: Final[_Row] = ("node", "device", "variant", "memory", "compute", "shared by")


@dataclass(frozen=True, slots=True)
class Report:
    """What is printed."""

    world: World
    outcome: Outcome
    changed: Sequence[Change] | None
    """None where nothing was bound before: then all is new."""
    node: str | None = None
    """Only what concerns this node."""

    def print(self, out: Console) -> None:
        """Print all sections that have something to say."""
        for title, section in (
            ("Placed", self._placed()),
            ("Waiting", self._waiting()),
            ("Changes", self._changes()),
            ("Devices", self._devices(out)),
            ("Notes", self._notes()),
        ):
            rows = list(section)
            if rows:
                out.print(Text(title, style="bold"))
                for row in rows:
                    indented(out, row)
        if self.node is None:
            out.print(self._summary())

    # Models and reservations

    def _placed(self) -> Iterator[RenderableType]:
        """A block for each model and reservation, the columns of all aligned."""
        blocks: list[tuple[str, list[_Row], list[str]]] = []
        for (namespace, name), its in [*self._alone(), *sorted(self.outcome.plan.groups.items())]:
            here = [each for each in its.assignments if self._is_here(each.node)]
            if here:
                title = f"{namespace}/{name}  {len(its.assignments)} of {max(its.wanted, len(its.assignments))}"
                shared = dict.fromkeys(part.model for each in here for part in each.members)
                title += f", one server for {', '.join(shared)}" if shared else ""
                rows = [_row(each.variant or "-", each.target or each.current) for each in here]
                blocks.append((title, rows, _whys(here)))
        for (namespace, name), mine in sorted(self.outcome.plan.slices.items()):
            if mine.allocation is not None and self._is_here(mine.node):
                blocks.append((f"{namespace}/{name}  reserved", [_row("-", mine.allocation)], []))
        if not blocks:
            return
        rows = [_HEADER, *(row for _, block, _ in blocks for row in block)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        yield _aligned([_HEADER], widths, style="dim")
        for title, block, whys in blocks:
            label, _, figures = title.partition("  ")
            yield Text.assemble((label, "bold"), "  ", figures)
            yield _aligned(block, widths)
            yield from (Text(why, style="dim") for why in whys)

    def _alone(self) -> list[tuple[Key, ModelPlan]]:
        """The models with servers of their own."""
        models = self.outcome.snapshot.models
        return [(key, its) for key, its in sorted(self.outcome.plan.models.items()) if group_of(models[key]) is None]

    def _waiting(self) -> Iterator[Text]:
        if self.node is not None:
            return
        for owner, message in waiting(self.outcome):
            yield Text.assemble((owner, "yellow"), f": {message}")

    def _changes(self) -> Iterator[Text]:
        for change in self.changed or ():
            places = [_place(each) for each in (change.before, change.after) if each is not None]
            if self.node is not None and not any(place.startswith(f"{self.node}/") for place in places):
                continue
            where = " -> ".join(dict.fromkeys(places))
            sign = _SIGNS[change.action]
            cause = f": {change.cause}" if change.cause else ""
            yield Text.assemble(
                (sign, _STYLES[sign]), f" {change.namespace}/{change.owner.partition('/')[2]}: {where}{cause}"
            )
        if self.changed is not None and not self.changed:
            yield Text("nothing changes")

    # Devices

    def _devices(self, out: Console) -> Iterator[Table]:
        table = Table.grid(*(Column(overflow="fold") for _ in range(7)), padding=(0, 2, 0, 0))
        table.add_row("node", "device", "memory", "", "compute", "", "units", style="dim")
        blocks = "utf" in out.encoding.lower()
        for name, node in sorted(self.outcome.plan.nodes.items()):
            if not self._is_here(name):
                continue
            label = name if node.connected else f"{name} (offline)"
            for load in _shown(node):
                _device_row(table, label, load, blocks=blocks)
                label = ""
        if table.row_count > 1:
            yield table

    def _notes(self) -> Iterator[Text]:
        for name, node in sorted(self.outcome.plan.nodes.items()):
            for finding in node.discovery.findings:
                if finding.status != "True" and self._is_here(name):
                    yield Text(f"{name}: {finding.message}")
        for name, said in sorted(self.world.assumed.items()):
            if self._is_here(name):
                yield Text(f"{name}: {said}")
        if self.node is None:
            yield from map(Text, self.world.notes)

    def _summary(self) -> Text:
        placed = [its for its in self.outcome.plan.models.values() if its.assignments]
        nodes = {each.node for its in placed for each in its.assignments}
        replicas = sum(len(its.assignments) for its in placed)
        left = sum(1 for _ in waiting(self.outcome))
        text = f"{_count(replicas, 'replica')} of {_count(len(placed), 'model')} on {_count(len(nodes), 'node')}"
        return Text(f"{text}; {left} waiting" if left else f"{text}; nothing waits", style="bold")

    def _is_here(self, node: str) -> bool:
        return self.node is None or node == self.node


def waiting(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """(object, why) for each model, replica or reservation that cannot have what it asks."""
    for (namespace, name), its in sorted(outcome.plan.models.items()):
        owner = f"{namespace}/{name}"
        if its.waiting or not (its.assignments or its.held or its.wanted or its.reason == "Placed"):
            yield owner, its.message
        yield from ((owner, each.blocked) for each in its.assignments if each.blocked)
    for (namespace, name), mine in sorted(outcome.plan.slices.items()):
        if mine.allocation is None or mine.lost:
            yield f"{namespace}/{name} (reserved)", mine.message
    for (namespace, name), why in sorted(outcome.snapshot.refused.items()):
        yield f"{namespace}/{name}", why


def _aligned(rows: Iterable[_Row], widths: Sequence[int], style: str = "") -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    for index, width in enumerate(widths):
        table.add_column(width=width, overflow="fold", justify="right" if index in _FIGURES else "left")
    for row in rows:
        table.add_row(*row, style=style)
    return Padding(table, (0, 0, 0, 2), expand=False)


def _row(variant: str, allocation: Allocation | None) -> _Row:
    if allocation is None:
        return "", "", variant, "", "", ""
    compute = f"{allocation.compute}%" if allocation.compute else "-"
    return (
        allocation.node, allocation.device, variant,
        _size(mib(allocation.memory)), compute, allocation.provider,
    )  # fmt: skip


def _whys(assignments: Sequence[Assignment]) -> list[str]:
    """Why these variants, each sentence once."""
    variants: dict[str, dict[str, None]] = {}
    for each in assignments:
        if each.why:
            variants.setdefault(each.why, {})[each.variant] = None
        for part in each.members:
            variants.setdefault(f"{part.variant}, {part.why}", {})[part.model] = None
    whys = [f"  {', '.join(names)}: {why}" for why, names in variants.items()]
    whys += [
        f"  {left.model} is not served on {each.node}: {left.message}" for each in assignments for left in each.left_out
    ]
    return whys + [f"  {each.node}: {said}" for each in assignments if (said := each.lost or each.blocked)]


def _device_row(table: Table, label: str, load: DeviceLoad, *, blocks: bool) -> None:
    device = load.device
    total = device.total_memory
    count = f" x{device.count}" if device.count > 1 else ""
    units = f"{load.units}/{device.units}" if device.resource is not None else ""
    table.add_row(
        Text(label, style="bold"),
        f"{device.id}{count}",
        bar(load.memory, total, blocks=blocks),
        f"{_size(load.memory)}/{_size(total)}",
        bar(load.compute, 100 * device.count, blocks=blocks),
        f"{load.compute}%/{100 * device.count}%",
        units,
    )


def bar(used: int, total: int, *, blocks: bool = True) -> Text:
    """A bar of ten cells: what is used, and what is more than there is in red. Anything used shows."""
    share = used / total if total > 0 else float(used > 0)
    full = min(_BAR, max(round(share * _BAR), 1 if used > 0 else 0))
    on, off = ("█", "░") if blocks else ("#", ".")
    style = "red" if share > 1 else "green" if share < 0.9 else "yellow"
    return Text.assemble((on * full, style), (off * (_BAR - full), "dim"))


def _shown(node: NodePlan) -> list[DeviceLoad]:
    """Its accelerators, and its cores where something is on them or where it has nothing else."""
    accelerators = [load for load in node.devices if not load.device.profile.is_cpu]
    return [load for load in node.devices if load in accelerators or load.slices or not accelerators]


def _size(memory: int) -> str:
    return short_mib(memory) if memory else "0"


def _place(allocation: Allocation) -> str:
    return f"{allocation.node}/{allocation.device}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
