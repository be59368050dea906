"""The `littoral` command: the operator itself, and what people use beside kubectl."""

import click

from littoral.cli.catalogue import catalogue
from littoral.cli.crds import crds
from littoral.cli.digest import digest
from littoral.cli.explain import explain
from littoral.cli.node import node
from littoral.cli.plan import plan
from littoral.cli.prefetch import prefetch
from littoral.cli.rollout import rollout
from littoral.cli.run import run
from littoral.telemetry.metrics import package_version


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_version(), prog_name="littoral")
def main() -> None:
    """Keep Triton model servers serving on edge accelerators, online and off."""


main.add_command(run)
main.add_command(plan)
main.add_command(explain)
main.add_command(catalogue)
main.add_command(node)
main.add_command(prefetch)
main.add_command(digest)
main.add_command(rollout)
main.add_command(crds)
