"""What an OpenSSF model signing bundle says, and whether an artifact is that.

``model_signing sign key --private_key KEY PATH`` lists the files below PATH with their SHA-256 in an in-toto statement
and signs that in a DSSE envelope, within a sigstore bundle. PATH may be the folder that became the artifact, or the
file as it is fetched, an archive included. A file that was signed may also be the only one in the artifact, as in a
registry's; an archive that is a registry's layer is known by the files in it alone, and their folder is to be signed.

Everything that Triton could read must be in the statement: beside the bundle itself only Git's own files at the root
may be unsigned, and they only where the signer says so. A link counts as the file that it leads to.

https://github.com/sigstore/model-transparency, https://docs.sigstore.dev/about/bundle/
"""

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]  # documented, not re-exported

from littoral.api.group import TRUSTED_KEYS
from littoral.modelstore.cache import Artifact
from littoral.modelstore.listing import Entry, Listing
from littoral.modelstore.request import BUNDLE

_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://model_signing/signature/v1.0"
_UNSIGNED: Final = frozenset({".git", ".gitattributes", ".github", ".gitignore"})
"""What `model_signing` leaves out unless it is told not to; no backend of Triton reads it."""
_ITSELF: Final = "."
"""The name of the one resource of a statement about a file."""
_LINKS: Final = 16
"""How many links are followed one after the other; what is longer leads nowhere."""


class Unproved(Exception):  # noqa: N818 - what the artifact is
    """The artifact is not signed, or not by whom it should be, or not as it is."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What was signed: the files by name with their SHA-256 in hex, the names that were left out, and by which key."""

    files: Mapping[str, str]
    ignored: frozenset[str]
    signer: str

    def difference(self, artifact: Artifact) -> str | None:
        """Return in words the first thing in which an artifact is not what was signed, or None."""
        found = _files(artifact.listing)
        if set(self.files) == {_ITSELF}:
            return self._other_file(artifact.digest, found)
        if set(found) == {""}:
            return None if list(self.files.values()) == list(found.values()) else "the signature is of other files"
        for path in sorted(self.files.keys() | found.keys()):
            if path not in found:
                return f"{path} was signed and is not there"
            if path not in self.files:
                if path != BUNDLE and path.partition("/")[0] not in self.ignored:
                    return f"{path} is not in the signature"
            elif found[path] != self.files[path]:
                return f"{path} has sha256 {found[path] or 'none, for it is a link to no file'}, not {self.files[path]}"
        return None

    def _other_file(self, digest: str, found: Mapping[str, str]) -> str | None:
        """Return in words why the one file that was signed is neither the artifact nor the only file in it."""
        signed = self.files[_ITSELF]
        held = [sha256 for path, sha256 in found.items() if path != BUNDLE]
        if signed == digest or held == [signed]:
            return None
        said = f"the file that was signed has sha256 {signed}"
        if set(found) == {""}:
            return said
        return (
            f"{said}; of an artifact that is a folder the folder is signed, and of an archive in a registry the folder "
            "that was packed"
        )


def read(bundle: bytes, trusted: Mapping[str, SSlibKey]) -> Statement:
    """Return what a bundle says that one of the keys (by what they are called) has signed. Raises Unproved."""
    envelope = _envelope(bundle)
    signer = next((name for name, key in trusted.items() if _signed_by(key, envelope)), None)
    if signer is None:
        raise Unproved(
            f"its signature was made by none of the trusted keys ({', '.join(trusted)}): have it signed by one of "
            f"their owners, or add the signer's public key to the ConfigMap {TRUSTED_KEYS}"
        )
    if envelope.payload_type != _PAYLOAD_TYPE:
        raise Unproved(f"what was signed is no statement about a model but {envelope.payload_type[:64]!a}")
    try:
        payload = json.loads(envelope.payload)
    except (ValueError, RecursionError):
        raise Unproved("what was signed is no statement about a model: it is not JSON") from None
    return _statement(payload, signer)


def _envelope(bundle: bytes) -> Envelope:
    try:
        data = json.loads(bundle)
    except (ValueError, RecursionError):
        raise Unproved("its signature is damaged or another file: a sigstore bundle is JSON") from None
    match data:
        case {
            "mediaType": str(media),
            "dsseEnvelope": {"payload": str(payload), "payloadType": str(kind), "signatures": [{"sig": str(sig)}]},
        } if media.startswith(_MEDIA_TYPE) and kind.isascii():
            signatures = [{"keyid": "", "sig": sig}]
            try:
                return Envelope.from_dict({"payload": payload, "payloadType": kind, "signatures": signatures})
            except (FormatError, ValueError):
                pass
    raise Unproved("its signature is not a sigstore bundle with one DSSE signature; `model_signing sign key` makes one")


def _signed_by(key: SSlibKey, envelope: Envelope) -> bool:
    # Model signing names no key in the envelope; the library looks only at signatures that name the key.
    (signature,) = envelope.signatures.values()
    signatures = {key.keyid: Signature(key.keyid, signature.signature)}
    try:
        Envelope(envelope.payload, envelope.payload_type, signatures).verify([key], threshold=1)
    except VerificationError:
        return False
    return True


def _statement(payload: Any, signer: str) -> Statement:
    match payload:
        case {
            "_type": str(kind),
            "predicateType": str(predicate),
            "subject": [{"digest": {"sha256": str(root)}}],
            "predicate": {"serialization": {"method": str(method), "hash_type": str(algorithm)} as how, **content},
        } if (kind, predicate) == (_STATEMENT, _PREDICATE):
            pass
        case _:
            raise Unproved(f"what was signed is no statement of the type {_PREDICATE}; sign with model-signing 1.0 on")
    if (method, algorithm) != ("files", "sha256"):
        raise Unproved(
            f"its signature is of {method[:16]} hashed by {algorithm[:16]}, and only of files hashed by sha256 can one "
            "be verified: sign it as model_signing does unless told otherwise"
        )
    files = _resources(content.get("resources"), root)
    ignored = how.get("ignore_paths")
    names = (name for name in ignored if isinstance(name, str)) if isinstance(ignored, list) else ()
    return Statement(files, _UNSIGNED.intersection(names), signer)


def _resources(resources: Any, root: str) -> dict[str, str]:
    files: dict[str, str] = {}
    for resource in resources if isinstance(resources, list) else ():
        match resource:
            case {"name": str(name), "algorithm": "sha256", "digest": str(digest)} if name not in files:
                files[name] = digest
            case _:
                raise Unproved("its signature's list of files cannot be read")
    try:
        whole = hashlib.sha256(b"".join(map(bytes.fromhex, files.values()))).hexdigest()
    except ValueError:
        raise Unproved("its signature's list of files cannot be read") from None
    if whole != root:
        raise Unproved("its signature's list of files is not the one that its subject stands for")
    return files


def _files(listing: Listing) -> dict[str, str]:
    """Return the SHA-256 of each file by path; of a link that of the file it leads to, "" where it leads to none."""
    entries = {entry.path: entry for entry in listing.entries}
    found = {}
    for path, entry in entries.items():
        at = entry
        for _ in range(_LINKS):
            if not at.link:
                break
            target = posixpath.normpath(posixpath.join(posixpath.dirname(at.path), at.link))
            at = entries.get(target, Entry(target))
        found[path] = at.sha256
    return found
