"""`littoral explain`: why a live object is as it is, node by node."""

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from littoral.cli.explanation import Explanation
    from littoral.placement.snapshot import Snapshot

_KINDS = {
    "im": "im", "inferencemodel": "im", "inferencemodels": "im",
    "gs": "gs", "gpuslice": "gs", "gpuslices": "gs",
    "en": "en", "edgenode": "en", "edgenodes": "en",
}  # fmt: skip

_EPILOG = """
\b
Examples:
  littoral explain im/plate -n vision
  littoral explain en/press-4
  littoral explain im/plate -n vision -f now.json   # a dump, as `littoral plan --help` shows one
"""


@click.command(short_help="Say why a model is where it is, and why nowhere else.", epilog=_EPILOG)
@click.argument("subject", metavar="im/NAME|gs/NAME|en/NAME")
@click.option("--namespace", "-n", default="default", show_default=True)
@click.option("--file", "-f", "files", multiple=True, metavar="PATH", help="A dump or manifests in place of a cluster.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Default: the user's kubeconfig.")
@click.option("--context", help="The kubeconfig's context.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(  # noqa: PLR0917 (click passes them by name)
    subject: str, namespace: str, files: tuple[str, ...], kubeconfig: Path | None, context: str | None, output: str
) -> None:
    """Say where a model is and why, and for each other node why not; what a reservation waits for; what was concluded
    about a node, and from which fact.

    It asks the planner itself, on what the cluster holds now. It needs the right to list nodes, pods, Deployments,
    EdgeNodes, GPUSlices and InferenceModels; namespaces, PriorityClasses, RuntimeClasses and the ConfigMap
    littoral-catalogue are read where that is allowed. It writes nothing.

    Exit status: 0; 1 when there is no such object; 2 when the cluster or the input cannot be read.
    """
    from littoral.cli.documents import BadInputError  # noqa: PLC0415 - `littoral --help` need not load what plans

    kind, _, name = subject.partition("/")
    if kind.lower() not in _KINDS or not name or "/" in name:
        raise click.UsageError(f"{subject!r} is nothing to explain: write im/NAME, gs/NAME or en/NAME")
    try:
        snapshot, notes = _snapshot(files, kubeconfig, context)
    except BadInputError as error:
        for complaint in error.complaints:
            click.echo(complaint, err=True)
        raise SystemExit(2) from None
    for note in notes:
        click.echo(note, err=True)
    explanation = _explanation(_KINDS[kind.lower()], namespace, name, snapshot)
    if output == "json":
        click.echo(json.dumps(asdict(explanation), indent=2))
    else:
        from littoral.cli.printing import draw_explanation, show  # noqa: PLC0415 - as above

        show(partial(draw_explanation, explanation))


def _snapshot(files: tuple[str, ...], kubeconfig: Path | None, context: str | None) -> "tuple[Snapshot, list[str]]":
    from littoral.cli import documents, manifests  # noqa: PLC0415 - as above

    if files:
        world = manifests.world(manifests.overlay([manifests.layer(documents.read([path])) for path in files]))
        return world.snapshot, list(world.notes)
    from littoral.cli import cluster  # noqa: PLC0415 - a dump needs no client

    dump = asyncio.run(cluster.dump(kubeconfig, context))
    world = manifests.world(manifests.layer(dump.documents), now=datetime.now(UTC), complete=dump.complete)
    return world.snapshot, [*dump.notes, *world.notes]


def _explanation(kind: str, namespace: str, name: str, snapshot: "Snapshot") -> "Explanation":
    from littoral.cli import explanation  # noqa: PLC0415 - as above

    try:
        if kind == "en":
            return explanation.of_node(snapshot, name)
        describe = explanation.of_model if kind == "im" else explanation.of_slice
        return describe(snapshot, (namespace, name))
    except explanation.UnknownError as error:
        raise click.ClickException(str(error)) from None
