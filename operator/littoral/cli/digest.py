"""`littoral digest`: the sha256 and size that spec.source of an InferenceModel asks for."""

import json
import logging
from pathlib import Path

import click

from littoral.modelstore.errors import FetchError, PermanentError
from littoral.modelstore.sources import Source, source_for
from littoral.modelstore.sources.file import LocalFile
from littoral.modelstore.transfer import digest_of


@click.command()
@click.argument("artifact", metavar="PATH|URI")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def digest(artifact: str, output: str) -> None:
    """Print the digest and the size in bytes of a model's artifact: a file, or an http(s):// address.

    Both go into the manifest, as spec.variants[].source.sha256 and .size. Exit status: 0, 1 when the artifact cannot be
    read, 2 when it is nothing that has a digest.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # progress of a long download, on stderr
    try:
        sha256, size = digest_of(_source(artifact), artifact)
    except PermanentError as error:
        raise click.UsageError(str(error)) from None
    except FetchError as error:
        raise click.ClickException(str(error)) from None
    if output == "json":
        click.echo(json.dumps({"artifact": artifact, "digest": f"sha256:{sha256}", "sha256": sha256, "size": size}))
    else:
        click.echo(f"sha256:{sha256}  {size}")


def _source(artifact: str) -> Source:
    if artifact.startswith("file:"):
        raise click.UsageError("give a local file by its path; file:///import/PATH means a path on a node")
    return source_for(artifact, Path()) if "://" in artifact else LocalFile(Path(artifact))
