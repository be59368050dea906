"""`littoral prefetch`: models and their Triton images on the nodes ahead of time."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from littoral.api.inferencemodel import InferenceModel
    from littoral.cli.prefetching import Outcome
    from littoral.placement.snapshot import Snapshot

_EPILOG = """
\b
Examples:
  littoral prefetch im/plate -n vision
  littoral prefetch -f plate-8.yaml --pool line3   # before it is applied
  littoral prefetch -f plate-8.yaml --node press-4 --no-wait
"""


@click.command(short_help="Bring models and Triton images to the nodes ahead of time.", epilog=_EPILOG)
@click.argument("names", metavar="[im/NAME]...", nargs=-1)
@click.option("--namespace", "-n", default="default", show_default=True)
@click.option("--file", "-f", "files", multiple=True, metavar="PATH", help="InferenceModels yet to be applied.")
@click.option("--pool", "pools", multiple=True, help="Nodes of this pool alone; may be repeated.")
@click.option("--node", "nodes", multiple=True, help="This node alone; may be repeated.")
@click.option("--image", envvar="LITTORAL_FETCH_IMAGE", default="", help="Littoral's own, for what is not applied yet.")
@click.option("--parallel", type=click.IntRange(1, 1000), default=10, show_default=True, help="Nodes at a time.")
@click.option("--timeout", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Seconds to wait.")
@click.option("--keep", type=click.IntRange(0), default=24, show_default=True, help="Hours to spare the images for.")
@click.option("--wait/--no-wait", default=True, help="Whether to wait until all have ended.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Default: the user's kubeconfig.")
@click.option("--context", help="The kubeconfig's context.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def prefetch(  # noqa: PLR0917 (click passes them by name)
    names: tuple[str, ...],
    namespace: str,
    files: tuple[str, ...],
    pools: tuple[str, ...],
    nodes: tuple[str, ...],
    image: str,
    parallel: int,
    timeout: float,
    keep: int,
    wait: bool,
    kubeconfig: Path | None,
    context: str | None,
    output: str,
) -> None:
    """Bring the artifacts and the Triton images of models to every node that may come to serve them, each in the
    variant that it would serve, whatever is free there now.

    A Job on each node fetches into the namespace's cache, verified as ever, and runs the Triton image once; what serves
    is not touched. The namespace must have a cache already: its first model makes it, one with replicas 0 as well. It
    needs the rights of `littoral explain`, and to create, read and delete Jobs and read pods in the namespace.

    Interrupted, it leaves the Jobs to go on; they remove themselves some hours after their end.

    Exit status: 0 when every node is ready, or with --no-wait every Job is there; 1 when one is not, or there is none;
    2 when the cluster or the input cannot be read.
    """
    from littoral.cli.documents import BadInputError  # noqa: PLC0415 - `littoral --help` need not load what plans

    if not names and not files:
        raise click.UsageError("name a model as im/NAME, or a file with -f")
    models: Sequence[InferenceModel] = ()
    try:
        snapshot, models, notes = _read(names, namespace, files, kubeconfig, context)
        for note in notes:
            click.echo(note, err=True)
        outcomes = asyncio.run(
            _run(
                snapshot, models, pools=pools, nodes=nodes, image=image, parallel=parallel,
                timeout=timeout, keep=keep * 3600, wait=wait, kubeconfig=kubeconfig, context=context,
            )
        )  # fmt: skip
    except BadInputError as error:
        for complaint in error.complaints:
            click.echo(complaint, err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        where = " ".join(sorted({f"--namespace={model.metadata.namespace}" for model in models}))
        click.echo(f"the Jobs go on: kubectl get jobs {where} -l app.kubernetes.io/component=prefetch", err=True)
        raise SystemExit(130) from None
    _print(outcomes, output, wait=wait)
    if not outcomes or not all(outcome.ready or not wait for outcome in outcomes):
        raise SystemExit(1)


def _read(
    names: Sequence[str], namespace: str, files: Sequence[str], kubeconfig: Path | None, context: str | None
) -> "tuple[Snapshot, list[InferenceModel], list[str]]":
    """The cluster as it is with the files applied, the models that are meant, and what could not be read."""
    from littoral.cli import cluster, documents, manifests  # noqa: PLC0415 - as above

    keys = [(namespace, _name(each)) for each in names]  # what is wrong here is said before anybody is asked
    layers = [manifests.layer(documents.read([path])) for path in files]
    dump = asyncio.run(cluster.dump(kubeconfig, context))
    objects = manifests.overlay([manifests.layer(dump.documents), *layers])
    world = manifests.world(objects, now=datetime.now(UTC), complete=dump.complete)
    keys += [(key[2], key[3]) for layer in layers for key in layer if key[1] == "InferenceModel"]
    missing = [f"there is no InferenceModel {key[0]}/{key[1]}" for key in keys if key not in world.snapshot.models]
    if missing or not keys:
        raise documents.BadInputError(missing or ["the files hold no InferenceModel"])
    return world.snapshot, [world.snapshot.models[key] for key in dict.fromkeys(keys)], [*dump.notes, *world.notes]


def _name(subject: str) -> str:
    kind, _, name = subject.rpartition("/")
    if kind.lower() not in {"im", "inferencemodel", "inferencemodels"} or not name:
        raise click.UsageError(f"{subject!r} is no model: write im/NAME")
    return name


async def _run(
    snapshot: "Snapshot",
    models: "Sequence[InferenceModel]",
    *,
    pools: Sequence[str],
    nodes: Sequence[str],
    image: str,
    parallel: int,
    timeout: float,  # noqa: ASYNC109 (of the wait alone)
    keep: int,
    wait: bool,
    kubeconfig: Path | None,
    context: str | None,
) -> "list[Outcome]":
    from littoral.cli import prefetching  # noqa: PLC0415 - as above
    from littoral.cli.documents import BadInputError  # noqa: PLC0415
    from littoral.controller.client import Client  # noqa: PLC0415
    from littoral.controller.errors import ApiError  # noqa: PLC0415
    from littoral.controller.transport import ConfigurationError  # noqa: PLC0415
    from littoral.placement.candidates import candidates  # noqa: PLC0415
    from littoral.telemetry.metrics import Metrics  # noqa: PLC0415

    def say(line: str) -> None:
        click.echo(line, err=True)

    try:
        async with await Client.connect(kubeconfig, metrics=Metrics(), context=context) as client:
            wanted = []
            for model in models:
                targets, refused = candidates(snapshot, model, pools=pools, nodes=nodes)
                for name, refusal in sorted(refused.items()):
                    say(f"{name}: not for {model.metadata.name}: {refusal.message}")
                wanted += await prefetching.orders(client, model, targets, image=image, keep=keep)
            if wait:
                return await prefetching.bring(client, wanted, parallel=parallel, timeout=timeout, say=say)
            return await prefetching.start(client, wanted)
    except (ApiError, ConfigurationError) as error:
        raise BadInputError([str(error)]) from error


def _print(outcomes: "Sequence[Outcome]", output: str, *, wait: bool) -> None:
    if output == "json":
        click.echo(json.dumps([outcome.data for outcome in outcomes], indent=2))
        return
    done = sum(outcome.ready for outcome in outcomes)
    for outcome in outcomes:
        if wait and not outcome.ready:
            click.echo(f"{outcome.order.subject}: {outcome.message}")
    if not outcomes:
        click.echo("no node may come to serve it")
    elif wait:
        click.echo(f"{done} of {len(outcomes)} ready")
    else:
        click.echo(f"{len(outcomes)} Jobs made")
