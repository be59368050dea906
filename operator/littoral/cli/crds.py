"""`littoral crds`: the CustomResourceDefinitions as files."""

from pathlib import Path

import click

from littoral.api.crd import definitions, render


@click.command(short_help="Print or write the CustomResourceDefinitions.")
@click.option(
    "--directory",
    "-d",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write one file for each kind there; otherwise they are printed.",
)
def crds(directory: Path | None) -> None:
    """Print the CustomResourceDefinitions, for `kubectl apply -f -`, or write them as files."""
    rendered = {name: render(definition) for name, definition in definitions().items()}
    if directory is None:
        click.echo("---\n".join(rendered.values()), nl=False)
        return
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in rendered.items():
        (directory / name).write_text(text, encoding="utf-8")
        click.echo(f"wrote {directory / name}")
