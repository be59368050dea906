"""How the catalogue's profiles look to people: a table of all, and one in full."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from littoral.accelerators.profile import Partitions, Profile, Stack, Tops
from littoral.api.quantity import short_mib
from littoral.cli.printing import indented

Rows = Iterable[tuple[str, str]]

_NONE: Final = "-"
_SHARED_BY: Final = len("whole time-slicing runtime")


def table(profiles: Sequence[Profile], out: Console) -> None:
    """Profiles below their family, a line or two each."""
    columns = (
        Column("PROFILE", no_wrap=True),
        Column("MEMORY", no_wrap=True),
        Column("TOPS", no_wrap=True),
        Column("SHARED BY", width=_SHARED_BY),
        Column("STACKS"),
    )
    grid = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    families: dict[str, list[Profile]] = {}
    for its in profiles:
        families.setdefault(its.family, []).append(its)
    for family, members in families.items():
        titled = [its.name for its in members] != [family]
        if titled:
            grid.add_row(Text(family, style="bold"))
        for its in members:
            memory = _NONE if its.memory_mib is None else short_mib(its.memory_mib)
            grid.add_row(
                f"{'  ' if titled else ''}{its.name}",
                f"{memory}{'*' if its.unified else ''}",
                "\n".join(_tops(its.tops)) or _NONE,
                " ".join(its.sharing),
                " ".join(_stack_names(its.stacks)),
            )
    out.print(grid)
    notes = []
    if any(its.unified for its in profiles):
        notes.append("* in the module: device memory is the node's memory.")
    if not all(stack.image for its in profiles for stack in its.stacks):
        notes.append("Stacks in brackets have no Triton image.")
    if notes:
        out.print(Text("\n" + " ".join(notes)))


def in_full(its: Profile, out: Console) -> None:
    """Everything that the catalogue says of one device."""
    out.print(Text(its.name, style="bold"))
    _rows(_facts(its), out)
    _section("Power modes", ((mode.name, _power_mode(mode.tops, mode.cpus)) for mode in its.power_modes), out)
    if its.partitions is not None:
        _partitions(its.partitions, out)
    _section("Unsupported", its.unsupported.items(), out)
    for number, stack in enumerate(its.stacks):
        when = ", ".join(f"{component} {asked}" for component, asked in stack.when.items())
        title = f"Stack {stack.name}".rstrip()
        twin = next((other for other in its.stacks[:number] if _nameless(other) == _nameless(stack)), None)
        rows = _stack(stack) if twin is None else [("as", f"stack {twin.name}")]
        _section(f"{title} ({when})" if when else title, rows, out)


def _facts(its: Profile) -> Iterator[tuple[str, str]]:
    yield "family", its.family
    if its.vendor:
        yield "vendor", its.vendor
    yield "machines", its.architecture or "of any architecture"
    if its.compute_capability:
        yield "compute capability", its.compute_capability
    yield "memory", _memory(its)
    yield "server overhead", short_mib(its.overhead_mib)
    for figure in its.tops:
        yield "TOPS", f"{_figure(figure)}: {figure.source}"
    for key, value in its.labels.items():
        yield "Node label", f"{key}={value if isinstance(value, str) else '|'.join(value)}"
    if its.resources:
        yield "resources", ", ".join(its.resources)
    yield "shared by", ", ".join(its.sharing)


def _memory(its: Profile) -> str:
    of_node = "the node's own"
    if its.memory_mib is None:
        return of_node
    return f"{short_mib(its.memory_mib)}{f' in the module, {of_node}' if its.unified else ''}"


def _power_mode(tops: Sequence[Tops], cpus: int | None) -> str:
    figures = ", ".join(_tops(tops)) or "TOPS not known"
    return f"{figures}, {cpus} CPUs" if cpus else figures


def _partitions(partitions: Partitions, out: Console) -> None:
    out.print(Text(f"Partitions of {partitions.cores} AI cores and {partitions.cpus} AI CPUs", style="bold"))
    grid = Table.grid(*(Column(no_wrap=True, justify=side) for side in ("left", "right", "right", "right", "left")))
    grid.padding = (0, 2, 0, 0)
    grid.add_row("template", "cores", "CPUs", "memory", "resource")
    for its in partitions.templates:
        grid.add_row(its.name, str(its.cores), str(its.cpus), f"{its.memory_mib}Mi", its.resource)
    indented(out, grid)


def _stack(stack: Stack) -> Iterator[tuple[str, str]]:
    yield "image", stack.image or f"none: {stack.image_reason}"
    if stack.triton:
        yield "Triton", stack.triton
    if stack.provides:
        yield "brings", _pairs(stack.provides, " ")
    for format_, backend in stack.backends.items():
        parameters = f" ({_pairs(backend.parameters, '=')})" if backend.parameters else ""
        reason = f"; {backend.image_reason}" if backend.image_reason else ""
        yield f"format {format_}", f"{backend.name}{parameters}{reason}"
    yield "instances", stack.instance_kind if stack.instance_kind != "KIND_AUTO" else "of no kind"
    for argument in stack.arguments:
        yield "argument", argument.text + (f" (since {argument.since})" if argument.since else "")
    if stack.env:
        yield "environment", _pairs(stack.env, "=")
    if stack.security_context:
        yield "security context", _pairs(stack.security_context, " ")
    for toleration in stack.tolerations:
        value = f"={toleration.value}" if toleration.value else ""
        yield "toleration", f"{toleration.key}{value} {toleration.effect or 'any effect'}"
    if stack.runtime_class_name:
        yield "RuntimeClass", stack.runtime_class_name


def _pairs(values: Mapping[str, object], sign: str) -> str:
    return ", ".join(f"{key}{sign}{value}" for key, value in values.items())


def _nameless(stack: Stack) -> Stack:
    return stack.model_copy(update={"name": "", "when": {}})


def _stack_names(stacks: Sequence[Stack]) -> Iterator[str]:
    """Names without the beginning that all share, but for the first; in brackets those without an image."""
    beginnings = {stack.name.rpartition("-")[0] for stack in stacks}
    shared = beginnings.pop() if len(beginnings) == 1 else ""
    for number, stack in enumerate(stacks):
        name = stack.name.removeprefix(shared) if number else stack.name or "default"
        yield name if stack.image else f"({name})"


def _tops(figures: Iterable[Tops]) -> list[str]:
    return [_figure(figure) for figure in figures]


def _figure(figure: Tops) -> str:
    return f"{figure.value:g} {figure.precision}{' sparse' if figure.sparsity == 'sparse' else ''}"


def _section(title: str, rows: Rows, out: Console) -> None:
    """A title with its rows, if there are any."""
    its = list(rows)
    if its:
        out.print(Text(title, style="bold"))
        _rows(its, out)


def _rows(rows: Rows, out: Console) -> None:
    """Words before their values, the words aligned; a word that repeats stands once."""
    grid = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2, 0, 0))
    before = ""
    for word, value in rows:
        grid.add_row(Text("" if word == before else word), Text(value))
        before = word
    indented(out, grid)
