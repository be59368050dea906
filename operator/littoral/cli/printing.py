"""Printing for people: as wide as the terminal, else 100 columns and without colour."""

import sys
from collections.abc import Callable
from typing import Final

import click
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from littoral.cli.explanation import Explanation

WIDTH: Final = 100


def show(draw: Callable[[Console], None]) -> None:
    """Print what `draw` draws, without the blanks that fill cells up at the ends of lines."""
    terminal = sys.stdout.isatty()
    out = Console(
        file=sys.stdout,
        width=None if terminal else WIDTH,
        no_color=None if terminal else True,
        highlight=False,
        emoji=False,
        markup=False,
    )
    with out.capture() as drawn:
        draw(out)
    for line in drawn.get().splitlines():
        click.echo(line.rstrip())


def indented(out: Console, row: RenderableType) -> None:
    """Tables as they are, sentences folded with their further lines set in."""
    if not isinstance(row, Text):
        out.print(Padding(row, (0, 0, 0, 2), expand=False))
        return
    for number, line in enumerate(row.wrap(out, out.width - 6)):
        line.rstrip()
        out.print(Text("  " if number == 0 else "      ").append_text(line))


def draw_explanation(explanation: Explanation, out: Console) -> None:
    """The sentence, then each section with its columns aligned."""
    out.print(Text(explanation.subject, style="bold"))
    indented(out, Text(explanation.summary))
    for section in explanation.sections:
        out.print(Text(section.title, style="bold"))
        if section.summary:
            indented(out, Text(section.summary))
        last = len(section.rows[0]) - 1
        columns = (Column(no_wrap=number < last, overflow="fold") for number in range(last + 1))
        table = Table.grid(*columns, padding=(0, 2, 0, 0))
        for row in section.rows:
            table.add_row(*(Text(cell) for cell in row))
        indented(out, table)
