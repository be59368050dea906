"""`littoral plan`: the operator's own placement on manifests, without a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from littoral.cli.changes import Change
    from littoral.cli.manifests import World
    from littoral.cli.simulation import Outcome

_EPILOG = """
\b
Examples:
  littoral plan -f examples/fleet
  littoral plan -f new/ --against old/ --prune
  kubectl get nodes,en,im,gs,pods,deploy,ns,priorityclasses,runtimeclasses -A -o json > now.json
  littoral plan -f now.json                            # what the operator is about to do there
  littoral plan -f plate.yaml --against now.json       # what applying plate.yaml would change
  littoral plan -f fleet/ --json | jq -r '.waiting[] | .object + ": " + .message'
"""


@click.command(short_help="Show where models would go, from manifests alone.", epilog=_EPILOG)
@click.option(
    "--file", "-f", "files", multiple=True, required=True, metavar="PATH",
    help="A manifest, a folder of manifests, or - for standard input. May be given several times; of two manifests of "
    "the same object the later one holds.",
)  # fmt: skip
@click.option(
    "--against", multiple=True, metavar="PATH",
    help="What there is before: a dump of a cluster, or manifests, whose own plan is then taken for carried out. The "
    "objects of -f are applied to it, and what changes is told, with its cause.",
)  # fmt: skip
@click.option(
    "--prune", is_flag=True, help="With --against: of the kinds that -f holds, what it does not hold is there no more."
)
@click.option("--node", metavar="NAME", help="Show this node alone.")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.option("--verbose", "-v", is_flag=True, help="Say what of the input was not looked at.")
def plan(  # noqa: PLR0917 (click passes them by name)
    files: tuple[str, ...],
    against: tuple[str, ...],
    prune: bool,
    node: str | None,
    output: str,
    as_json: bool,
    verbose: bool,
) -> None:
    """Show who would go where on which fraction of which device, what waits and why, and how full each device is.

    This is the function that the running operator places by, applied to manifests: EdgeNodes, Nodes, InferenceModels,
    GPUSlices, and dumps of a live cluster with its pods and Deployments. No cluster is asked. Pods come up at once
    here, so what is shown is what the cluster settles into.

    An EdgeNode without a Node is taken for a Ready one that has what it declares; what is taken for granted is told.
    Checked are types, bounds and names of fields; rules across fields (CEL) are the API server's alone.

    Exit status: 0; 1 when something cannot be placed; 2 when the input cannot be read.
    """
    from littoral.cli.changes import changes  # noqa: PLC0415 - `littoral --help` need not load what plans
    from littoral.cli.documents import STDIN, BadInputError  # noqa: PLC0415
    from littoral.cli.printing import show  # noqa: PLC0415
    from littoral.cli.report import Report, waiting  # noqa: PLC0415
    from littoral.cli.scenario import play  # noqa: PLC0415

    if prune and not against:
        raise click.UsageError("--prune says what becomes of the objects of --against: give both")
    if (*files, *against).count(STDIN) > 1:
        raise click.UsageError("standard input can be read once: give `-` one time")
    try:
        scenario = play(files, against, prune=prune)
    except BadInputError as error:
        for complaint in error.complaints:
            click.echo(complaint, err=True)
        raise SystemExit(2) from None
    world, outcome, before = scenario.world, scenario.outcome, scenario.before
    if node is not None and node not in outcome.plan.nodes:
        raise click.UsageError(f"--node: there is no EdgeNode {node} in the input, and no Node that becomes one")
    if verbose:
        for kind, count in sorted(world.ignored.items()):
            click.echo(f"not looked at: {count} {kind}", err=True)
    changed = None if before is None else changes(before, outcome)
    if as_json or output == "json":
        click.echo(_json(world, outcome, changed, node))
    else:
        show(Report(world, outcome, changed, node).print)
    if any(waiting(outcome)):
        raise SystemExit(1)


def _json(world: World, outcome: Outcome, changed: list[Change] | None, node: str | None) -> str:
    from littoral.cli.planjson import document  # noqa: PLC0415 - as above

    return json.dumps(document(world, outcome, changed, node), indent=2)
