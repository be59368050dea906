"""The command of the local cluster: `python -m rig COMMAND`, which the Makefile's targets call."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from rig import bundle, paths
from rig.errors import RigError
from rig.progress import Steps


@click.group(help=__doc__)
def main() -> None:
    # A CI system ends a job with SIGTERM: it must clean up as an interrupt at the keyboard does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@main.command()
def cluster() -> None:
    """Bring up the local cluster, or find it running."""
    from rig import target  # noqa: PLC0415  # the Kubernetes client takes a second to import
    from rig.fleet import DEMO_NODES  # noqa: PLC0415  # as above

    steps = Steps()
    found = target.ensure(DEMO_NODES, steps)
    steps(f"the cluster is up: export KUBECONFIG={found.kubeconfig}")


@main.command("cluster-down")
def cluster_down() -> None:
    """Remove everything that the local cluster left on this machine."""
    from rig import target  # noqa: PLC0415  # as above

    removed = target.down()
    for what in removed:
        print(f"removed {what}")
    if not removed:
        print("there is no local cluster; nothing to remove")


@main.command()
@click.option("--image", type=click.Path(dir_okay=False, path_type=Path), help="A photograph of your own.")
def demo(image: Path | None) -> None:
    """Serve a model on two unlike nodes, and read a photograph through both."""
    from rig import demo as show  # noqa: PLC0415  # as above

    sys.exit(show.run(image))


@main.command()
@click.option("--sizes", default="100,300,1000", show_default=True, help="Numbers of models, one run each.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there as JSON.")
def bench(sizes: str, output: Path | None) -> None:
    """Measure what models cost: requests, CPU, memory, seconds, beside the floor of bare Deployments."""
    from rig import bench as measure  # noqa: PLC0415  # as above

    sys.exit(measure.run([int(size) for size in sizes.split(",")], Steps(), output))


@main.command("bench-plan")
@click.option("--fleet", "fleets", multiple=True, type=click.Choice(["chassis", "field"]), help="May be repeated.")
@click.option("--instances", default=200, show_default=True, help="Small fleets to pack; 0 needs no solver.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def bench_plan(fleets: tuple[str, ...], instances: int, output: Path | None) -> None:
    """Measure what a plan costs on large fleets, and how well it packs small ones."""
    from rig import planbench  # noqa: PLC0415  # as above

    sys.exit(planbench.run(list(fleets or planbench.FLEETS), instances, output))


@main.command("bench-fetch")
@click.option("--mib", type=click.IntRange(1), default=2048, show_default=True, help="Size of the model.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds that are counted.")
@click.option("--source", "sources", multiple=True, type=click.Choice(["http", "s3", "oci"]), help="May be repeated.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def bench_fetch(mib: int, rounds: int, sources: tuple[str, ...], output: Path | None) -> None:
    """Measure what fetching a model costs beside curl and sha256sum of the same bytes."""
    from rig import fetchbench, fetchsources  # noqa: PLC0415  # as above

    sys.exit(fetchbench.run(mib, rounds, sources or fetchsources.KINDS, output, Steps()))


@main.command("demo-cache")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def demo_cache(file: Path) -> None:
    """Pack all that the cluster is made of, built if need be, for a machine without internet."""
    bundle.pack(file, paths.cache_root(), Steps())


@main.command("preflight")
def preflight_() -> None:
    """Install what real nodes need and this machine lacks; asks on a terminal."""
    from rig import testrun  # noqa: PLC0415  # as above

    testrun.tools(Steps())


@main.command()
def prepare() -> None:
    """Build what the tests' cluster is made of: programs and images, each once."""
    from rig import testrun  # noqa: PLC0415  # as above

    testrun.prepare(Steps())


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--tier", "tiers", multiple=True, help="pure, contract, node or long; may be repeated.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]...")
def test(tiers: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Run the tests: pure, contract and node by default, one after the other."""
    from rig import testrun  # noqa: PLC0415  # as above

    unknown = sorted(set(tiers) - set(testrun.TIERS))
    if unknown:
        raise click.BadParameter(f"{unknown[0]} is none of {', '.join(testrun.TIERS)}", param_hint="--tier")
    sys.exit(testrun.run(tiers, arguments))


@main.command()
def lint() -> None:
    """Check style, types, layers, generated files, and that no committed file names a registry or a machine's path."""
    from rig import lint as checks  # noqa: PLC0415  # as above

    sys.exit(checks.run())


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except RigError as error:
        print(f"\n{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("\ninterrupted; `make cluster-down` removes what runs", file=sys.stderr)
        sys.exit(130)
