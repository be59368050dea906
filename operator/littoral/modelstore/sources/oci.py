"""oci://HOST[:PORT]/REPOSITORY@sha256:DIGEST: an artifact in a registry, by the digest of its manifest.

The manifest is what the digest promises, and it has the digest of every layer, so each blob is proved by itself. It is
of one of two kinds that both put files into layers:

- ModelPack (CNCF): the media type says whether a layer is a file (``.raw``), at the path that the annotation
  org.cncf.model.filepath names, or an archive (``.tar``, ``.tar+gzip``, ``.tar+zstd``), which has its paths in it;
- ORAS: a layer is a file of the name org.opencontainers.image.title, or, with io.deis.oras.content.unpack, an archive
  of the folder of that name, which begins each of its paths.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from littoral.modelstore.access import NO_ACCESS, Access
from littoral.modelstore.errors import DigestMismatch, UnsupportedSource
from littoral.modelstore.sources import Member, shown
from littoral.modelstore.sources.registry import Registry, reference

_EMPTY: Final = "application/vnd.oci.empty.v1+json"
"""The layer of an artifact that has none."""
_MODELPACK: Final = "application/vnd.cncf.model."
_TITLE: Final = "org.opencontainers.image.title"
_UNPACK: Final = "io.deis.oras.content.unpack"
_FILEPATH: Final = "org.cncf.model.filepath"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")


class OciArtifact:
    """The artifact whose manifest `uri` promises. Raises UnsupportedSource where it names no digest."""

    verified: bool = True

    def __init__(self, uri: str, access: Access = NO_ACCESS) -> None:
        self._uri = uri
        self._reference = reference(uri)
        if not self._reference.digest:
            raise UnsupportedSource(
                f"{shown(uri)} names no digest, and a tag may mean something else tomorrow; "
                f"`littoral digest {shown(uri)}` prints the URI with the digest that it has now"
            )
        self._registry = Registry(self._reference, access)

    def members(self) -> tuple[Member, ...]:
        """Return a member for each layer, sorted by path. Raises FetchError."""
        body = self._registry.manifest(self._reference.digest)
        got = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if got != self._reference.digest:
            raise DigestMismatch(
                f"{shown(self._uri)}: the manifest that the registry hands out is not what was promised: "
                f"its {len(body)} bytes have {got}, not {self._reference.digest}"
            )
        layers = _layers(body, shown(self._uri))
        members = [self._member(layer, number) for number, layer in enumerate(layers, 1) if _holds_files(layer)]
        return tuple(sorted(members, key=lambda member: member.path))

    def _member(self, layer: Mapping[str, Any], number: int) -> Member:
        kind, size, found = layer.get("mediaType"), layer.get("size"), _DIGEST.fullmatch(str(layer.get("digest")))
        if found is None or not isinstance(size, int) or size < 0 or not isinstance(kind, str):
            raise UnsupportedSource(
                f"{shown(self._uri)}: layer {number} of the manifest must have a mediaType, a size and a sha256 digest"
            )
        notes = layer.get("annotations")
        notes = notes if isinstance(notes, dict) else {}
        blob = self._registry.blob(found[0])
        packed = kind.startswith(_MODELPACK) and ".tar" in kind
        name = notes.get(_FILEPATH) or notes.get(_TITLE)
        if packed or (name and notes.get(_UNPACK) == "true"):
            return Member("", blob, size, found[1], unpack=True)
        if isinstance(name, str) and name:
            return Member(name, blob, size, found[1])
        raise UnsupportedSource(
            f"{shown(self._uri)}: layer {number} ({kind}) has no name, which {_FILEPATH} or {_TITLE} gives it: "
            "a container image, or something else that does not hold files; push the model with oras or modctl"
        )


def _holds_files(layer: Mapping[str, Any]) -> bool:
    return layer.get("mediaType") != _EMPTY


def _layers(body: bytes, what: str) -> list[Mapping[str, Any]]:
    """Return the layers of a manifest. Raises UnsupportedSource."""
    try:
        manifest = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnsupportedSource(f"{what}: the manifest is not JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise UnsupportedSource(f"{what}: the manifest is not a JSON object")
    if "manifests" in manifest:
        raise UnsupportedSource(
            f"{what} is an index of several manifests; name the digest of one of them: {_listed(manifest)}"
        )
    layers = manifest.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise UnsupportedSource(f"{what}: the manifest has no layers")
    return layers


def _listed(index: Mapping[str, Any]) -> str:
    entries = index.get("manifests")
    digests = (
        [str(entry.get("digest")) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    return ", ".join(digest for digest in digests[:8] if _DIGEST.fullmatch(digest)) or "it lists none"
