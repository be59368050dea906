"""Who made an artifact: verified on the node, without a network, before the artifact is laid out.

The bundle is fetched once and kept beside the cache's entry when it was verified; the statement in it is compared with
the listing that was made while the artifact arrived, so that nothing is read again. Any of the trusted keys will do.

A later start needs the keys alone. A bundle that none of them has signed any more is looked for at its source again, so
that keys can be replaced and taken away. Where there is no key at all, for they are in a ConfigMap that somebody may
delete and a node that is offline cannot get back, what was verified before is served on.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # as in modelstore.statement

from littoral.api.group import TRUSTED_KEYS
from littoral.modelstore import access, statement
from littoral.modelstore.cache import Artifact, Cache
from littoral.modelstore.delivery import OpenSource
from littoral.modelstore.errors import KeysMissing, SignatureInvalid, SourceUnreachable, TooLarge
from littoral.modelstore.request import BUNDLE, ModelRequest
from littoral.modelstore.sources import Collection, SourceChanged, shown
from littoral.modelstore.statement import Unproved
from littoral.modelstore.transfer import Download, Patience

NOTE: Final = "signature"
"""Under which name the cache keeps the verified bundle."""
MAX_BUNDLE: Final = 1 << 20
"""Bytes; a statement takes about 200 of them for each file."""
_TOO_LARGE: Final = f"has more than {MAX_BUNDLE >> 20} MiB, which no signature has"
_PEM: Final = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_log: Final = logging.getLogger(__name__)


def check(
    model: ModelRequest,
    artifact: Artifact,
    cache: Cache,
    *,
    keys: Path,
    open_source: OpenSource,
    patience: Patience | None = None,
) -> None:
    """Prove that `artifact` was signed by one of the public keys in the folder `keys`.

    Raises SignatureInvalid; KeysMissing where there is no key and nothing was verified before; what fetching the bundle
    raises; OSError.
    """
    noted = cache.note(artifact.digest, NOTE)
    pems = access.read(None, keys).settings
    if noted is not None and not pems:
        _log.warning("%s: no trusted key is at hand; its signature was verified by one earlier", model.name)
        return
    trusted = _trusted(model, pems)
    if noted is not None and _still_signed(noted, artifact, trusted):
        return
    try:
        bundle = _fetched(model, cache, open_source, patience) if model.signature else _own(artifact)
        signer = _verify(bundle, artifact, trusted)
    except Unproved as error:
        raise SignatureInvalid(f"model {model.name}: {error}") from None
    _log.info("%s: signed by the trusted key %s", model.name, signer)
    cache.add_note(artifact.digest, NOTE, bundle)


def _verify(bundle: bytes, artifact: Artifact, trusted: Mapping[str, SSlibKey]) -> str:
    """Return what the key is called that signed the artifact. Raises Unproved."""
    said = statement.read(bundle, trusted)
    if difference := said.difference(artifact):
        raise Unproved(f"it is not what was signed: {difference}")
    return said.signer


def _still_signed(noted: bytes, artifact: Artifact, trusted: Mapping[str, SSlibKey]) -> bool:
    try:
        _verify(noted, artifact, trusted)
    except Unproved as error:
        _log.warning("the signature that was verified earlier is not trusted any more: %s", error)
        return False
    return True


def _own(artifact: Artifact) -> bytes:
    """Return the bundle that came with the artifact. Raises Unproved, OSError."""
    sizes = {entry.path: entry.size for entry in artifact.listing.entries if not entry.link}
    if BUNDLE not in sizes:
        raise Unproved(
            f"its artifact has no {BUNDLE} at the root: sign it, or say in spec.variants[].source.signature.uri where "
            "the signature is"
        )
    if sizes[BUNDLE] > MAX_BUNDLE:
        raise Unproved(f"its {BUNDLE} {_TOO_LARGE}")
    return (artifact.content / BUNDLE).read_bytes()


def _fetched(model: ModelRequest, cache: Cache, open_source: OpenSource, patience: Patience | None) -> bytes:
    """Return the bundle from its own source. Raises Unproved, FetchError, OSError."""
    what = shown(model.signature)
    source = open_source(model.signature, cache.imports)
    if isinstance(source, Collection):
        raise Unproved(
            f"its signature {what} is not a file: name the bundle by a URI of its own, or put it into the artifact as "
            f"{BUNDLE} and leave spec.variants[].source.signature.uri out"
        )
    with closing(Download(source, what=what, limit=MAX_BUNDLE, patience=patience)) as download:
        try:
            return b"".join(download.chunks())
        except TooLarge:
            raise Unproved(f"its signature {what} {_TOO_LARGE}") from None
        except SourceChanged:
            raise SourceUnreachable(f"{what} changed while it was read") from None


def _trusted(model: ModelRequest, pems: Mapping[str, str]) -> dict[str, SSlibKey]:
    """Return the keys that can be used, each by its file and its place in it. Raises KeysMissing."""
    found: dict[str, SSlibKey] = {}
    unusable: list[str] = []
    for name, text in sorted(pems.items()):
        parts = _PEM.findall(text)
        if not parts:
            unusable.append(f"{name} holds no public key in PEM")
        for number, pem in enumerate(parts):
            called = name if len(parts) == 1 else f"{name}#{number + 1}"
            try:
                found[called] = _key(pem)
            except (ValueError, UnsupportedAlgorithm) as error:
                unusable.append(f"{called}: {error}")
    if not found:
        why = f"; {'; '.join(unusable)}" if unusable else ""
        raise KeysMissing(
            f"model {model.name}: its signature cannot be verified for want of a trusted key; put the signer's public "
            f"key (PEM) into the ConfigMap {TRUSTED_KEYS} of its namespace{why}"
        )
    for each in unusable:
        _log.warning("the ConfigMap %s: %s", TRUSTED_KEYS, each)
    return found


def _key(pem: str) -> SSlibKey:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("models are signed with elliptic curve keys: P-256, P-384 or P-521")  # noqa: TRY004 - the same for the caller as a curve that is not one of them
    return SSlibKey.from_crypto(key)
