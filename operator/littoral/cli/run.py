"""`littoral run`: the operator."""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import click

from littoral.api.group import OPERATOR_NAMESPACE
from littoral.settings import Settings


@click.command(short_help="Run the operator.")
@click.option("--fetch-image", required=True, envvar="LITTORAL_FETCH_IMAGE", help="Image of the fetch container.")
@click.option("--namespace", default=OPERATOR_NAMESPACE, show_default=True, help="The operator's own namespace.")
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Default: the pod's service account, else the user's kubeconfig.",
)
@click.option("--context", help="The kubeconfig's context.")
@click.option("--workers", type=click.IntRange(1, 256), default=16, show_default=True, help="Objects handled at once.")
@click.option("--health-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option("--health-host", default="0.0.0.0", show_default=True)  # noqa: S104 - probes come from outside the pod
@click.option("--resync", type=click.FloatRange(min=1), default=600.0, show_default=True, help="Seconds between LISTs.")
@click.option(
    "--refusal-grace",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds for which a pod may be refused by the scheduler or its kubelet before it is placed elsewhere.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log what is done and why.")
def run(  # noqa: PLR0917 (click passes them by name)
    fetch_image: str,
    namespace: str,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
    health_port: int,
    health_host: str,
    resync: float,
    refusal_grace: float,
    verbose: bool,
) -> None:
    """Run the operator until it is told to stop (SIGTERM, SIGINT).

    Exit status 0 when told to stop, 1 when it cannot go on: no cluster, no CRDs, or its Lease lost.
    """
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("littoral").setLevel(level)
    settings = Settings(
        fetch_image=fetch_image,
        namespace=namespace,
        kubeconfig=kubeconfig,
        context=context,
        workers=workers,
        health_port=health_port,
        health_host=health_host,
        resync=resync,
        refusal_grace=refusal_grace,
    )
    sys.exit(asyncio.run(_run(settings)))


async def _run(settings: Settings) -> int:
    from littoral.controller import operator  # noqa: PLC0415 - the other commands need neither kopf nor the client
    from littoral.controller.election import LeaseLost  # noqa: PLC0415
    from littoral.controller.transport import ConfigurationError  # noqa: PLC0415

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    status = 0
    try:
        await operator.run(settings, stop=stop)
    except* (LeaseLost, ConfigurationError, operator.NotInstalledError) as failures:
        for failure in failures.exceptions:
            click.echo(f"littoral: {failure}", err=True)
        status = 1
    return status
