"""`littoral catalogue`: which accelerators are known, by what each can be shared, and with which Triton it is served.

What is printed is the shipped catalogue, or what a file makes of it: the operator reads its ConfigMap in the same way,
so that a file which passes here is taken there.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
import yaml

if TYPE_CHECKING:
    from littoral.accelerators.catalogue import Catalogue, Problem
    from littoral.accelerators.profile import Profile

_EPILOG: Final = """
\b
Examples:
  littoral catalogue                                   # all profiles
  littoral catalogue jetson-orin-nx-16gb               # one in full; a family's name lists its members
  littoral catalogue t4 -o yaml                        # one to start a profile of your own from
  littoral catalogue -f site-catalogue.yaml            # with a ConfigMap or a file of profiles added
  littoral catalogue --schema > catalogue.schema.json  # for editors
"""


@click.command(short_help="Show the accelerators that are known.", epilog=_EPILOG)
@click.argument("name", metavar="[PROFILE|FAMILY]", required=False)
@click.option(
    "--file", "-f", "files", multiple=True, type=click.File(encoding="utf-8"), metavar="PATH",
    help="Add the profiles of a file: a ConfigMap's manifest, or YAML with a list `profiles`; - is standard input. May "
    "be given several times.",
)  # fmt: skip
@click.option("--output", "-o", type=click.Choice(["table", "yaml", "json"]), default="table", show_default=True)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a file of profiles, and nothing else.")
def catalogue(name: str | None, files: tuple[TextIO, ...], output: str, schema: bool) -> None:
    """Show the accelerators that are known: a line for each profile, or one in full.

    With -o yaml or json what is printed can be read again, by -f and by the operator from the ConfigMap
    littoral-catalogue.

    Exit status: 0, 1 when an entry of a file is refused (on standard error, by name and line), 2 when what was given
    names nothing.
    """
    if schema:
        from littoral.accelerators import catalogue as shipped  # noqa: PLC0415 - `littoral --help` need not load it

        click.echo(json.dumps(shipped.schema(), indent=2))
        return
    known, problems = _extended(files)
    chosen = list(known.profiles.values()) if name is None else _named(known, name)
    if output == "json":
        click.echo(json.dumps(_text(chosen), indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(_text(chosen), sort_keys=False, allow_unicode=True, width=120), nl=False)
    else:
        _show(chosen, in_full=[its.name for its in chosen] == [name])
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        raise click.exceptions.Exit(1)


def _show(profiles: list[Profile], *, in_full: bool) -> None:
    from littoral.cli import profiles as drawing  # noqa: PLC0415 - `littoral --help` need not load it
    from littoral.cli.printing import show  # noqa: PLC0415

    show(lambda out: drawing.in_full(profiles[0], out) if in_full else drawing.table(profiles, out))


def _extended(files: Iterable[TextIO]) -> tuple[Catalogue, list[Problem]]:
    """The shipped catalogue with all files added, in their order, as the operator adds the keys of its ConfigMap."""
    from littoral.accelerators import catalogue as shipped  # noqa: PLC0415 - `littoral --help` need not load it

    known = shipped.load()
    problems: list[Problem] = []
    for file in files:
        try:
            content = file.read()
        except UnicodeDecodeError:
            raise click.UsageError(f"{file.name}: the text is not UTF-8") from None
        for origin, text in _texts(file.name, content):
            known, refused = shipped.extend(known, origin, text)
            problems += refused
    return known, problems


def _texts(origin: str, content: str) -> list[tuple[str, str]]:
    """The texts of profiles in a file, each with what problems call it: lines count within a ConfigMap's key."""
    try:
        bodies = [body for body in yaml.safe_load_all(content) if isinstance(body, Mapping)]
    except yaml.YAMLError:
        return [(origin, content)]  # reading it as profiles says what is wrong with it
    maps = [body for body in bodies if body.get("kind") == "ConfigMap"]
    if not maps:
        return [(origin, content)]
    return [
        (f"{origin}, key {key}", str(text)) for body in maps for key, text in sorted((body.get("data") or {}).items())
    ]


def _named(known: Catalogue, name: str) -> list[Profile]:
    """The profile of this name, else the members of the family. Raises UsageError where nothing goes by the name."""
    from littoral.accelerators.profile import ANY  # noqa: PLC0415 - `littoral --help` need not load it

    profile = known.get(name)
    found = [profile] if profile is not None else list(known.matching(name)) if name != ANY else []
    if found:
        return found
    words = sorted({*known.profiles, *(each.family for each in known.profiles.values())})
    close = [word for word in words if word.startswith(name)][:3] or difflib.get_close_matches(name, words, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "`littoral catalogue` lists those there are"
    raise click.UsageError(f"no profile and no family is called {name!r}: {hint}")


def _text(profiles: Iterable[Profile]) -> dict[str, Any]:
    """What reads back as these profiles."""
    return {"profiles": [its.model_dump(mode="json", by_alias=True, exclude_defaults=True) for its in profiles]}
