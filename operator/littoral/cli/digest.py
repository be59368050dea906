"""`littoral digest`: the sha256 and size that spec.source of an InferenceModel asks for."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from littoral.modelstore.access import Access, read
from littoral.modelstore.digest import digest_of
from littoral.modelstore.errors import DigestMismatch, FetchError, PermanentError
from littoral.modelstore.sources import Origin, source_for
from littoral.modelstore.sources.file import LocalFile, LocalFolder

_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_CLOUDS: Final = ("AWS_", "AZURE_", "GOOGLE_", "OCI_")
_DOCKER: Final = ".dockerconfigjson"


@click.command()
@click.argument("artifact", metavar="PATH|URI")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--secret", type=_FOLDER, help="A folder with a file for each key of the Secret that the source names.")
@click.option("--settings", type=_FOLDER, help="The same for the ConfigMap that the source names.")
def digest(artifact: str, output: str, secret: Path | None, settings: Path | None) -> None:
    """Print the digest and the size in bytes of a model's artifact: all of it is read, and nothing is kept.

    \b
    PATH                   a file or archive: the sha256 of its bytes;
                           a folder: of the list of its files
    https://HOST/PATH      as of a file; so http://, s3://BUCKET/KEY, gs://, az://
    s3://BUCKET/PREFIX/    as of a folder; so gs://, az://
    oci://HOST/REPOSITORY  of the manifest, every blob being checked;
                           @sha256:DIGEST or :TAG follows, else it is latest

    Digest and size go into the manifest, as spec.variants[].source.sha256 and .size. Of an artifact in a registry the
    URI with the digest is printed too: it is the source's uri, and sha256 is left out. A tag is trusted here, once, by
    whoever runs this.

    Credentials are those of --secret, else of the environment (AWS_*, AZURE_*, GOOGLE_*) and, for a registry, of the
    Docker configuration. Exit status: 0, 1 when the artifact cannot be read, 2 when it is nothing that has a digest.
    """  # noqa: D301 - click's mark of lines that are not to be joined
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # progress of a long download, on stderr
    access = _access(artifact, os.environ, read(secret, settings))
    try:
        uri = _resolved(artifact, access)
        found = digest_of(_origin(uri, access), artifact, promised=uri.partition("@sha256:")[2])
    except DigestMismatch as error:
        raise click.ClickException(str(error)) from None
    except PermanentError as error:
        raise click.UsageError(str(error)) from None
    except FetchError as error:
        raise click.ClickException(str(error)) from None
    if output == "json":
        named = {"artifact": artifact, "digest": f"sha256:{found.sha256}", "sha256": found.sha256, "size": found.size}
        click.echo(json.dumps(named | ({"uri": uri} if _in_registry(uri) else {})))
    else:
        click.echo(f"sha256:{found.sha256}  {found.size}" + (f"\n{uri}" if _in_registry(uri) else ""))


def _in_registry(artifact: str) -> bool:
    return artifact.startswith("oci://")


def _resolved(artifact: str, access: Access) -> str:
    if not _in_registry(artifact):
        return artifact
    from littoral.modelstore.sources.registry import resolve  # noqa: PLC0415 - loaded where it is used, as sources are

    return resolve(artifact, access)


def _origin(artifact: str, access: Access) -> Origin:
    if artifact.startswith("file:"):
        raise click.UsageError("give a local file or folder by its path; file:///import/PATH means a path on a node")
    if "://" in artifact:
        return source_for(artifact, Path(), access)
    path = Path(artifact)
    return LocalFolder(path) if path.is_dir() else LocalFile(path)


def _access(artifact: str, environ: Mapping[str, str], given: Access) -> Access:
    """Return what the source may use; what was given by folders has the first word."""
    found = {key: value for key, value in environ.items() if key.startswith(_CLOUDS)}
    if _in_registry(artifact) and not given.secret:
        folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")
        if (config := folder / "config.json").is_file():
            found[_DOCKER] = config.read_text(encoding="utf-8", errors="replace")
    return Access({**found, **given.secret}, given.settings)
