"""`littoral rollout`: updates that a person asks for."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from littoral.api.group import ANNOTATION_REFRESH


@click.group(short_help="Updates that a person asks for.")
def rollout() -> None:
    """Updates that a person asks for."""


@rollout.command(short_help="Freeze the present catalogue and images as a new revision.")
@click.argument("model", metavar="im/NAME")
@click.option("--namespace", "-n", default="default", show_default=True)
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Default: the user's kubeconfig.")
@click.option("--context", help="The kubeconfig's context.")
def refresh(model: str, namespace: str, kubeconfig: Path | None, context: str | None) -> None:
    """Give a model a new revision with what the catalogue and the operator say now.

    An upgrade of the operator or of the catalogue restarts nothing by itself. The new revision goes node by node,
    through the same gates as every update.
    """
    name = model.removeprefix("im/").removeprefix("inferencemodel/")
    if "/" in name or not name:
        raise click.BadParameter(f"{model!r} is no model: write im/NAME", param_hint="im/NAME")
    asyncio.run(_refresh(name, namespace, kubeconfig, context))
    click.echo(f"inferencemodel.littoral.dev/{name}: a new revision begins")


async def _refresh(name: str, namespace: str, kubeconfig: Path | None, context: str | None) -> None:
    from littoral.controller.client import Client  # noqa: PLC0415 - `littoral --help` need not load it
    from littoral.controller.errors import ApiError  # noqa: PLC0415
    from littoral.controller.kinds import MODELS  # noqa: PLC0415
    from littoral.controller.transport import ConfigurationError  # noqa: PLC0415
    from littoral.telemetry.metrics import Metrics  # noqa: PLC0415

    patch = {"metadata": {"annotations": {ANNOTATION_REFRESH: datetime.now(UTC).isoformat(timespec="milliseconds")}}}
    try:
        async with await Client.connect(kubeconfig, metrics=Metrics(), context=context) as client:
            found = await client.get(MODELS, namespace, name)
            await client.patch(MODELS, namespace, name, patch, uid=found["metadata"]["uid"])
    except (ApiError, ConfigurationError) as error:
        raise click.ClickException(str(error)) from error
