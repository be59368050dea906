"""The command of the local cluster: `python -m rig COMMAND`, which the Makefile's targets call."""

from __future__ import annotations

import sys

import click

from rig import paths
from rig.errors import RigError
from rig.progress import Steps


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
def cluster() -> None:
    """Bring up the local cluster, or find it running."""
    from rig import cluster as local  # noqa: PLC0415  # the Kubernetes client takes a second to import
    from rig.fleet import DEMO_NODES  # noqa: PLC0415  # as above

    steps = Steps()
    running = local.up(paths.cluster_state(), DEMO_NODES, progress=steps)
    steps(f"the cluster is up; export KUBECONFIG={running.kubeconfig}")


@main.command("cluster-down")
def cluster_down() -> None:
    """Remove everything that the local cluster left on this machine."""
    from rig import cluster as local  # noqa: PLC0415  # as above

    removed = local.down(paths.cluster_state())
    for what in removed:
        print(f"removed {what}")
    if not removed:
        print("there is no local cluster; nothing to remove")


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
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
