"""`littoral node`: one machine at a time."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from littoral.accelerators.jetson import Report
from littoral.api.group import LABEL_PROFILE, LABEL_STACK


@click.group(short_help="One machine at a time.")
def node() -> None:
    """One machine at a time."""


@node.command(short_help="Find out which Jetson a node is.")
@click.argument("name", metavar="NODE")
@click.option("--image", required=True, envvar="LITTORAL_FETCH_IMAGE", help="Littoral's own image, for the Job.")
@click.option(
    "--namespace", "-n", default="kube-system", show_default=True, help="Of the Job; it must allow hostPath volumes."
)
@click.option("--timeout", type=click.FloatRange(min=1), default=120.0, show_default=True, help="Seconds to wait.")
@click.option("--label", is_flag=True, help="Label the Node with what was found.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Default: the user's kubeconfig.")
@click.option("--context", help="The kubeconfig's context.")
def probe(  # noqa: PLR0917 (click passes them by name)
    name: str,
    image: str,
    namespace: str,
    timeout: float,
    label: bool,
    output: str,
    kubeconfig: Path | None,
    context: str | None,
) -> None:
    """Run a small Job on a node that reads its device tree and its release of Jetson Linux.

    Prints which profile of the catalogue that is and the labels that say so; nothing else names a Jetson to Kubernetes.
    Exit status: 0 where a profile was found, 1 where the node did not answer or is nothing that the catalogue has.
    """
    report = asyncio.run(
        _probe(
            name,
            image=image,
            namespace=namespace,
            timeout=timeout,
            label=label,
            kubeconfig=kubeconfig,
            context=context,
        )
    )
    labels = labels_of(report)
    if output == "json":
        facts = {"node": name, "model": report.model, "module": report.module, "l4t": report.l4t}
        click.echo(json.dumps({**facts, "architecture": report.machine, "memory": report.memory, "labels": labels}))
    else:
        click.echo("\n".join(describe(name, report, applied=label)))
    if LABEL_PROFILE not in labels:
        raise SystemExit(1)


def labels_of(report: Report) -> dict[str, str]:
    """The Node labels that say what the report says."""
    found = {}
    if report.profile:
        found[LABEL_PROFILE] = report.profile
    if report.jetpack:
        found[LABEL_STACK] = f"jetpack-{report.jetpack}"
    return found


def describe(name: str, report: Report, *, applied: bool = False) -> list[str]:
    """What was found, line by line, and what to do with it."""
    module = f", module {report.module}" if report.module else ""
    l4t = f", Jetson Linux {report.l4t}" if report.l4t else ""
    what = f"{report.model}{module}{l4t}" if report.model else f"no device tree ({report.machine or 'unknown'})"
    lines = [f"node {name}: {what}"]
    if not report.profile:
        known = "it is no Jetson that the catalogue has" if report.model else "it is no Jetson"
        lines.append(f"{known}: what else it may have is found by the labels of its device plugins")
    labels = [f"{key}={value}" for key, value in labels_of(report).items()]
    if report.l4t and not report.jetpack:
        lines.append(f"JetPack of {report.l4t} is not known: declare spec.stack.jetpack of the EdgeNode")
    if labels and applied:
        lines.append(f"labelled {' '.join(labels)}")
    elif labels:
        lines.append(f"kubectl label node {name} {' '.join(labels)}")
    return lines


async def _probe(
    name: str,
    *,
    image: str,
    namespace: str,
    timeout: float,  # noqa: ASYNC109 (also the Job's own deadline)
    label: bool,
    kubeconfig: Path | None,
    context: str | None,
) -> Report:
    from littoral.cli import probejob  # noqa: PLC0415 - `littoral --help` need not load the client
    from littoral.controller.client import Client  # noqa: PLC0415
    from littoral.controller.errors import ApiError  # noqa: PLC0415
    from littoral.controller.kinds import NODES  # noqa: PLC0415
    from littoral.controller.transport import ConfigurationError  # noqa: PLC0415
    from littoral.telemetry.metrics import Metrics  # noqa: PLC0415

    def say(line: str) -> None:
        click.echo(f"node {name}: {line}", err=True)

    try:
        async with await Client.connect(kubeconfig, metrics=Metrics(), context=context) as client:
            report = await probejob.probe(client, name, image=image, namespace=namespace, timeout=timeout, say=say)
            if label and (labels := labels_of(report)):
                found = await client.get(NODES, None, name)
                patch: dict[str, Any] = {"metadata": {"labels": labels}}
                await client.patch(NODES, None, name, patch, uid=found["metadata"]["uid"])
    except (ApiError, ConfigurationError, probejob.ProbeError) as error:
        raise click.ClickException(str(error)) from error
    return report
