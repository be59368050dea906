"""Signatures, made by the real model_signing library and verified by the fetch container."""

import base64
import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import model_signing
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # documented, not re-exported
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx, sha256
from tests.modelstore.registries import REPOSITORY, Repository, layer, manifest
from tests.modelstore.servers import Answer, serving

from littoral.modelstore import statement
from littoral.modelstore.errors import REASONS
from littoral.modelstore.report import Report
from littoral.modelstore.request import ModelRequest
from littoral.modelstore.signature import MAX_BUNDLE, NOTE
from littoral.modelstore.statement import Unproved

CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]


@dataclass(frozen=True)
class Signer:
    """Somebody with a key pair."""

    private: ec.EllipticCurvePrivateKey
    folder: Path

    @property
    def public(self) -> bytes:
        return pem_of(self.private.public_key())

    def sign(self, path: Path, hashing: model_signing.hashing.Config | None = None) -> bytes:
        """The bundle that `model_signing sign key` makes of a file or a folder."""
        private, bundle = self.folder / "private.pem", self.folder / "made.sig"
        form, hidden = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(self.private.private_bytes(serialization.Encoding.PEM, form, hidden))
        config: Any = model_signing.signing.Config()  # type: ignore[no-untyped-call]  # the library's
        config.set_hashing_config(hashing or config_of()).use_elliptic_key_signer(private_key=private)
        config.sign(path, bundle)
        return bundle.read_bytes()

    def envelope(self, payload: bytes, kind: str = "application/vnd.in-toto+json") -> bytes:
        """A bundle that is well signed, whatever it says."""
        encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        signature = self.private.sign(encoded, ec.ECDSA(hashes.SHA256()))
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "dsseEnvelope": {
                    "payload": base64.b64encode(payload).decode(),
                    "payloadType": kind,
                    "signatures": [{"sig": base64.b64encode(signature).decode()}],
                },
            }
        ).encode()


def config_of(**how: Any) -> Any:
    """What of a model is hashed and how, as the library's users say it."""
    config: Any = model_signing.hashing.Config()  # type: ignore[no-untyped-call]  # the library's
    return config.use_file_serialization(**how)


def pem_of(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_bytes(serialization.Encoding.PEM, form)
    return encoded


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return make_signer(tmp_path / "signer")


def make_signer(folder: Path, curve: ec.EllipticCurve = CURVES[0]) -> Signer:
    folder.mkdir()
    return Signer(ec.generate_private_key(curve), folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder as its maker has it."""
    folder = tmp_path / "plate"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(b"weights")
    (folder / "labels.txt").write_bytes(b"a\nb\n")
    return folder


def trust(namespace: Namespace, **keys: bytes) -> None:
    """Make the ConfigMap of trusted keys what `keys` says, as the kubelet mounts it."""
    shutil.rmtree(namespace.mounts.keys, ignore_errors=True)
    namespace.mounts.keys.mkdir()
    (namespace.mounts.keys / "..data").mkdir()
    for name, text in keys.items():
        (namespace.mounts.keys / f"{name}.pem").write_bytes(text)


def packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, path.relative_to(folder), recursive=False)
    return buffer.getvalue()


def signed(namespace: Namespace, folder: Path, bundle: bytes | None = None, **changes: object) -> ModelRequest:
    """The request of a model that is to be signed; `bundle` goes beside its artifact."""
    body = packed(folder)
    namespace.import_file("m.tar", body)
    if bundle is not None:
        namespace.import_file("m.sig", bundle)
        changes = {"signature": "file:///import/m.sig", **changes}
    return onnx("file:///import/m.tar", body, signed=True, **changes)


def served(namespace: Namespace) -> bool:
    return (namespace.repository / "plate").exists()


class TestIsServed:
    @pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
    def test_what_a_trusted_key_signed(
        self, namespace: Namespace, model: Path, tmp_path: Path, curve: ec.EllipticCurve
    ) -> None:
        signer = make_signer(tmp_path / "signer", curve)
        trust(namespace, somebody=make_signer(tmp_path / "other").public, signer=signer.public)

        report = namespace.fetch(signed(namespace, model, signer.sign(model)))

        assert report.ok, report
        assert served(namespace)

    def test_with_the_bundle_in_the_artifact(self, namespace: Namespace, model: Path, signer: Signer) -> None:
        (model / "model.sig").write_bytes(signer.sign(model))
        trust(namespace, signer=signer.public)

        assert namespace.fetch(signed(namespace, model)).ok

    def test_a_single_file(self, namespace: Namespace, model: Path, signer: Signer) -> None:
        namespace.import_file("m.sig", signer.sign(model / "1" / "model.onnx"))
        namespace.import_file("m.onnx", b"weights")
        trust(namespace, signer=signer.public)
        request = onnx("file:///import/m.onnx", b"weights", signed=True, signature="file:///import/m.sig")

        assert namespace.fetch(request).ok

    def test_an_archive_that_was_signed_as_it_is(
        self, namespace: Namespace, model: Path, signer: Signer, tmp_path: Path
    ) -> None:
        archive = tmp_path / "m.tar"
        archive.write_bytes(packed(model))
        trust(namespace, signer=signer.public)

        assert namespace.fetch(signed(namespace, model, signer.sign(archive))).ok

    @pytest.mark.parametrize("bundled", [False, True])
    def test_a_file_that_is_the_only_one_of_its_artifact(
        self, namespace: Namespace, model: Path, signer: Signer, *, bundled: bool
    ) -> None:
        """As a registry has it: the artifact's digest is then a manifest's, not that of the file that was signed."""
        bundle = signer.sign(model / "1" / "model.onnx")
        shutil.rmtree(model)
        model.mkdir()
        (model / "plate-7.onnx").write_bytes(b"weights")
        if bundled:
            (model / "model.sig").write_bytes(bundle)
        trust(namespace, signer=signer.public)

        assert namespace.fetch(signed(namespace, model, None if bundled else bundle)).ok

    def test_whatever_is_said_of_paths_that_are_none(self, namespace: Namespace, model: Path, signer: Signer) -> None:
        bundle = signer.sign(model)
        how: Any = {"method": "files", "hash_type": "sha256", "ignore_paths": [{}, [], None, ".git"]}
        trust(namespace, signer=signer.public)

        assert namespace.fetch(signed(namespace, model, signer.envelope(_predicate(bundle, serialization=how)))).ok

    def test_with_links_to_files_that_were_signed(self, namespace: Namespace, model: Path, signer: Signer) -> None:
        (model / "1" / "alias.onnx").symlink_to("model.onnx")
        trust(namespace, signer=signer.public)

        assert namespace.fetch(signed(namespace, model, signer.sign(model, config_of().set_allow_symlinks(True)))).ok

    def test_and_gits_own_files_need_not_be_signed(self, namespace: Namespace, model: Path, signer: Signer) -> None:
        bundle = signer.sign(model)
        (model / ".git").mkdir()
        (model / ".git" / "HEAD").write_text("x")
        trust(namespace, signer=signer.public)

        assert namespace.fetch(signed(namespace, model, bundle)).ok


def _changed(model: Path) -> None:
    (model / "1" / "model.onnx").write_bytes(b"Weights")


def _extra(model: Path) -> None:
    (model / "1" / "more.py").write_bytes(b"")


def _missing(model: Path) -> None:
    (model / "labels.txt").unlink()


def _linked(model: Path) -> None:
    (model / "2").symlink_to("1")


def _moved(model: Path) -> None:
    (model / "1").rename(model / "2")


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a changed file": (_changed, f"1/model.onnx has sha256 {sha256(b'Weights')}, not {sha256(b'weights')}"),
    "an extra file": (_extra, "1/more.py is not in the signature"),
    "a missing file": (_missing, "labels.txt was signed and is not there"),
    "an extra link": (_linked, "2 is not in the signature"),
    "a moved folder": (_moved, "1/model.onnx was signed and is not there"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_was_changed_after_it_was_signed_is_never_served(
    namespace: Namespace, model: Path, signer: Signer, case: str
) -> None:
    tamper, words = TAMPERED[case]
    bundle = signer.sign(model)
    tamper(model)
    trust(namespace, signer=signer.public)

    refused(
        namespace, namespace.fetch(signed(namespace, model, bundle)), f"model plate: it is not what was signed: {words}"
    )


def refused(namespace: Namespace, report: Report, words: str) -> None:
    assert (report.outcome, report.reason) == ("failed", "SignatureInvalid"), report
    assert words in report.message
    assert not REASONS[report.reason]
    assert not served(namespace)
    assert namespace.cache.joinpath("sha256").exists(), "the artifact itself is what was promised"
    assert not list(namespace.cache.rglob(f"notes/{NOTE}"))


def _payload(bundle: bytes, **changes: Any) -> bytes:
    statement = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return json.dumps(statement | changes).encode()


def _predicate(bundle: bytes, **changes: Any) -> bytes:
    predicate = json.loads(_payload(bundle))["predicate"]
    return _payload(bundle, predicate=predicate | changes)


def _shards(model: Path, signer: Signer) -> bytes:
    return signer.sign(model, config_of().use_shard_serialization())


def _flipped(bundle: bytes) -> bytes:
    data = json.loads(bundle)
    data["dsseEnvelope"]["payload"] = base64.b64encode(_payload(bundle).replace(b"labels", b"Labels")).decode()
    return json.dumps(data).encode()


def _retyped(bundle: bytes) -> bytes:
    return bundle.replace(b"application/vnd.in-toto+json", b"application/json")


NOBODY = "its signature was made by none of the trusted keys (signer.pem)"
WRONG_BUNDLES: dict[str, tuple[Callable[[Path, Signer], bytes], str]] = {
    "truncated": (lambda m, s: s.sign(m)[:-40], "its signature is damaged or another file"),
    "empty": (lambda _, __: b"", "its signature is damaged or another file"),
    "no text": (lambda _, __: b"\xff\xfe\x00", "its signature is damaged or another file"),
    "deep": (lambda _, __: b"[" * 100_000, "its signature is damaged or another file"),
    "not a bundle": (lambda _, __: b"{}", "is not a sigstore bundle with one DSSE signature"),
    "a payload type of no text": (
        lambda m, s: s.sign(m).replace(b"application/vnd.in-toto+json", b"\\ud800"),
        "is not a sigstore bundle with one DSSE",
    ),
    "no base64": (
        lambda m, s: re.sub(b'"sig":"[^"]*"', b'"sig":"A"', s.sign(m)),
        "is not a sigstore bundle with one DSSE",
    ),
    "another statement under the signature": (lambda m, s: _flipped(s.sign(m)), NOBODY),
    "another payload type under the signature": (lambda m, s: _retyped(s.sign(m)), NOBODY),
    "a signed text of another type": (lambda m, s: s.envelope(_payload(s.sign(m)), "text/plain"), "but 'text/plain'"),
    "a signed text that is no JSON": (lambda _, s: s.envelope(b"hello"), "it is not JSON"),
    "another statement": (
        lambda m, s: s.envelope(_payload(s.sign(m), predicateType="https://slsa.dev/provenance/v1")),
        "no statement of the type https://model_signing/signature/v1.0",
    ),
    "a list that is not its subject's": (
        lambda m, s: s.envelope(_predicate(s.sign(m), resources=[])),
        "not the one that its subject stands for",
    ),
    "a list of something else": (
        lambda m, s: s.envelope(_predicate(s.sign(m), resources=[{"name": "a", "algorithm": "md5", "digest": ""}])),
        "list of files cannot be read",
    ),
    "a statement of many levels": (lambda _, s: s.envelope(b"[" * 100_000), "it is not JSON"),
    "shards": (_shards, "its signature is of shards hashed by sha256"),
    "another hash": (lambda m, s: s.sign(m, config_of(hashing_algorithm="blake3")), "is of files hashed by blake3"),
    "of another model": (lambda m, s: s.sign(m / "1"), "1/model.onnx is not in the signature"),
    "of another file": (lambda m, s: s.sign(m / "labels.txt"), "the file that was signed has sha256"),
    "too large": (lambda m, s: s.sign(m) + b" " * MAX_BUNDLE, "m.sig has more than 1 MiB"),
}


@pytest.mark.parametrize("case", WRONG_BUNDLES)
def test_what_is_not_proved_by_its_bundle_is_never_served(
    namespace: Namespace, model: Path, signer: Signer, case: str
) -> None:
    make, words = WRONG_BUNDLES[case]
    trust(namespace, signer=signer.public)

    refused(namespace, namespace.fetch(signed(namespace, model, make(model, signer))), words)


def test_another_key_is_not_enough(namespace: Namespace, model: Path, signer: Signer, tmp_path: Path) -> None:
    trust(namespace, signer=make_signer(tmp_path / "other").public)

    refused(namespace, namespace.fetch(signed(namespace, model, signer.sign(model))), NOBODY)


def test_an_artifact_without_a_signature_is_told_where_to_put_one(
    namespace: Namespace, model: Path, signer: Signer
) -> None:
    trust(namespace, signer=signer.public)

    refused(namespace, namespace.fetch(signed(namespace, model)), "has no model.sig at the root: sign it, or say in")


def test_what_the_signer_left_out_is_not_taken_for_signed(namespace: Namespace, model: Path, signer: Signer) -> None:
    """Model signing lets the signer ignore paths; here only Git's may be, for the rest can be loaded."""
    bundle = signer.sign(model, config_of().set_ignored_paths(paths=["1"]))
    assert "1" in json.loads(_payload(bundle))["predicate"]["serialization"]["ignore_paths"]
    trust(namespace, signer=signer.public)

    report = namespace.fetch(signed(namespace, model, bundle))

    refused(namespace, report, "1/model.onnx is not in the signature")


KEYS: dict[str, tuple[dict[str, bytes], str]] = {
    "no ConfigMap": ({}, "put the signer's public key (PEM) into the ConfigMap littoral-trusted-keys of its namespace"),
    "no PEM": ({"a": b"hello"}, "a.pem holds no public key in PEM"),
    "a damaged key": ({"a": b"-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----"}, "a.pem: "),
    "a kind of key that signs no models": (
        {"a": pem_of(ed25519.Ed25519PrivateKey.generate().public_key())},
        "a.pem: models are signed with elliptic curve keys: P-256, P-384 or P-521",
    ),
    "a curve that signs no models": ({"a": pem_of(ec.generate_private_key(ec.SECP256K1()).public_key())}, "secp256k1"),
}


@pytest.mark.parametrize("case", KEYS)
def test_without_a_key_that_can_be_used_it_waits_for_one(
    namespace: Namespace, model: Path, signer: Signer, case: str
) -> None:
    keys, words = KEYS[case]
    if keys:
        trust(namespace, **keys)
    request = signed(namespace, model, signer.sign(model))

    report = namespace.fetch(request)

    assert (report.reason, REASONS[report.reason]) == ("KeysMissing", True)
    assert words in report.message
    assert not served(namespace)
    trust(namespace, **keys, signer=signer.public)
    assert namespace.fetch(request).ok, "one that cannot be used spoils none of the others"


def test_one_entry_may_hold_several_keys(namespace: Namespace, model: Path, signer: Signer, tmp_path: Path) -> None:
    trust(namespace, all=make_signer(tmp_path / "other").public + b"\n# since May\n" + signer.public)

    assert namespace.fetch(signed(namespace, model, signer.sign(model))).ok


class TestAWarmStart:
    """The second fetch of the same artifact, with every source down."""

    @pytest.fixture
    def request_(self, namespace: Namespace, model: Path, signer: Signer, origin: Origin) -> ModelRequest:
        body, bundle = packed(model), signer.sign(model)
        uri, signature = origin.put("/m.tar", Resource(body)), origin.put("/m.sig", Resource(bundle))
        request = onnx(uri, body, signed=True, signature=signature)
        trust(namespace, signer=signer.public)
        assert namespace.fetch(request).ok
        origin.resources.clear()
        origin.seen.clear()
        return request

    def test_needs_the_keys_alone(self, namespace: Namespace, request_: ModelRequest, origin: Origin) -> None:
        assert namespace.fetch(request_).ok
        assert origin.seen == []

    def test_serves_what_was_verified_when_the_keys_are_gone(
        self, namespace: Namespace, request_: ModelRequest, origin: Origin, caplog: pytest.LogCaptureFixture
    ) -> None:
        shutil.rmtree(namespace.mounts.keys)

        assert namespace.fetch(request_).ok
        assert origin.seen == []
        assert "no trusted key is at hand; its signature was verified by one earlier" in caplog.text

    def test_serves_nothing_that_only_a_key_signed_which_was_taken_away(
        self, namespace: Namespace, request_: ModelRequest, tmp_path: Path
    ) -> None:
        trust(namespace, other=make_signer(tmp_path / "other").public)

        report = namespace.fetch(request_)

        assert (report.reason, REASONS[report.reason]) == ("SourceUnreachable", True), "it may be signed anew there"
        assert not served(namespace)

    def test_takes_another_signature_where_the_key_was_replaced(
        self, namespace: Namespace, request_: ModelRequest, model: Path, origin: Origin, tmp_path: Path
    ) -> None:
        other = make_signer(tmp_path / "other")
        trust(namespace, other=other.public)
        origin.put("/m.sig", Resource(other.sign(model)))

        assert namespace.fetch(request_).ok
        origin.resources.clear()
        assert namespace.fetch(request_).ok, "and keeps it"
        assert [path for path, _ in origin.seen] == ["/m.sig"]

    def test_says_that_there_is_no_other_signature(
        self, namespace: Namespace, request_: ModelRequest, model: Path, signer: Signer, origin: Origin
    ) -> None:
        trust(namespace, other=pem_of(ec.generate_private_key(CURVES[0]).public_key()))
        origin.put("/m.sig", Resource(signer.sign(model)))

        assert namespace.fetch(request_).reason == "SignatureInvalid"

    def test_of_what_was_fetched_unsigned_needs_the_signature(
        self, namespace: Namespace, model: Path, signer: Signer
    ) -> None:
        namespace.import_file("m.tar", packed(model))
        assert namespace.fetch(onnx("file:///import/m.tar", packed(model))).ok

        assert namespace.fetch(signed(namespace, model, signer.sign(model))).reason == "KeysMissing"
        assert not served(namespace)


def test_a_source_of_the_signature_that_is_away_is_waited_for(
    namespace: Namespace, model: Path, signer: Signer, origin: Origin
) -> None:
    trust(namespace, signer=signer.public)
    uri = origin.put("/m.sig", Resource(b"", statuses=[503] * 99))

    report = namespace.fetch(signed(namespace, model, None, signature=uri))

    assert (report.reason, REASONS[report.reason]) == ("SourceUnreachable", True)
    assert not served(namespace)


def test_a_prefetch_verifies_it_as_well(namespace: Namespace, model: Path, signer: Signer) -> None:
    trust(namespace, signer=signer.public)
    request = signed(namespace, model, signer.sign(model)[:-40])

    assert namespace.fetch(request, prefetch=True).reason == "SignatureInvalid"


@settings(deadline=None)
@given(place=st.integers(0, 1000), byte=st.binary(min_size=1, max_size=1))
def test_no_other_byte_in_what_was_signed_is_accepted(place: int, byte: bytes) -> None:
    """Whatever becomes of the bundle: it is refused, or says exactly what was signed."""
    private = ec.derive_private_key(7, ec.SECP256R1())
    whole = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": hashlib.sha256(bytes.fromhex("ab" * 32)).hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [{"name": "1/model.onnx", "algorithm": "sha256", "digest": "ab" * 32}],
        },
    }
    bundle = Signer(private, Path()).envelope(json.dumps(whole).encode())
    keys = {"signer.pem": SSlibKey.from_crypto(private.public_key())}
    changed = bundle[: place % len(bundle)] + byte + bundle[place % len(bundle) + 1 :]

    try:
        said = statement.read(changed, keys)
    except Unproved:
        return
    assert said == statement.read(bundle, keys)


SAID = (
    "of an artifact that is a folder the folder is signed, and of an archive in a registry the folder that was packed"
)


def test_a_file_that_was_signed_is_no_proof_of_what_lies_beside_it(
    namespace: Namespace, model: Path, signer: Signer
) -> None:
    bundle = signer.sign(model / "1" / "model.onnx")
    trust(namespace, signer=signer.public)

    report = namespace.fetch(signed(namespace, model, bundle))

    refused(namespace, report, f"the file that was signed has sha256 {sha256(b'weights')}; {SAID}")


@pytest.mark.parametrize("pushed", ["the file", "an archive of it"])
def test_a_file_that_was_signed_and_pushed_to_a_registry(
    namespace: Namespace, model: Path, signer: Signer, tmp_path: Path, pushed: str
) -> None:
    """What is signed of an archive is the archive, of which a registry's artifact keeps the files alone."""
    archive = tmp_path / "m.tar"
    archive.write_bytes(packed(model))
    path = model / "1" / "model.onnx" if pushed == "the file" else archive
    namespace.import_file("m.sig", signer.sign(path))
    trust(namespace, signer=signer.public)
    repository = Repository()
    repository.push(path.read_bytes())
    named = repository.tag(manifest(layer(path.read_bytes(), title=path.name)))
    with serving(repository) as web:
        uri = f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}@{named}"
        request = onnx(
            uri, b"", sha256=named[7:], size=None, signed=True, signature="file:///import/m.sig", name="plate"
        )
        report = namespace.fetch(request)

    if pushed == "the file":
        assert report.ok, report
    else:
        refused(namespace, report, SAID)


def test_a_signature_that_is_no_file_is_told_where_it_may_be(namespace: Namespace, model: Path, signer: Signer) -> None:
    namespace.import_file("sigs/m.sig", signer.sign(model))
    trust(namespace, signer=signer.public)

    for uri in ("file:///import/sigs/", f"oci://127.0.0.1:9/m@sha256:{'0' * 64}"):
        refused(
            namespace,
            namespace.fetch(signed(namespace, model, signature=uri)),
            f"its signature {uri} is not a file: name the bundle by a URI of its own, or put it into the artifact as "
            "model.sig and leave spec.variants[].source.signature.uri out",
        )


@pytest.mark.parametrize("beside", [True, False])
def test_the_secret_is_for_the_models_host_and_not_for_that_of_its_signature(
    namespace: Namespace, origin: Origin, model: Path, signer: Signer, *, beside: bool
) -> None:
    folder = namespace.mounts.secrets / "reader"
    folder.mkdir(parents=True)
    (folder / "token").write_text("hunter2")
    trust(namespace, signer=signer.public)
    bundle = signer.sign(model / "1" / "model.onnx")
    uri = origin.put("/m.onnx", Resource(b"weights"))
    with serving(lambda _: Answer(body=bundle)) as other:
        signature = origin.put("/m.sig", Resource(bundle)) if beside else f"{other.url}/m.sig"
        report = namespace.fetch(onnx(uri, b"weights", signed=True, secret="reader", signature=signature))

    assert report.ok, report
    seen = origin.authorizations + [request.headers.get("authorization") for request in other.seen]
    assert seen == ["Bearer hunter2", "Bearer hunter2" if beside else None]
