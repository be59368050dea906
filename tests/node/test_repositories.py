"""A whole Triton repository behind one name, and models that are loaded only if a trusted key signed them."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from kubernetes.client import ApiException
from model_signing import signing
from tests.node.conftest import Namespaces
from tests.node.edge import JETSON, T4, Edge, condition
from tests.node.models import CONFIG, Artifact, archive, code, manifest, multiplier, variant

from littoral.api import group

pytestmark = pytest.mark.node

ENSEMBLE = """platform: "ensemble"
max_batch_size: 0
input [ { name: "X", data_type: TYPE_INT32, dims: [ -1 ] } ]
output [ { name: "Y", data_type: TYPE_INT32, dims: [ -1 ] } ]
ensemble_scheduling {
  step [
    { model_name: "double" model_version: -1 input_map { key: "X" value: "X" } output_map { key: "Y" value: "twice" } },
    { model_name: "triple" model_version: -1 input_map { key: "X" value: "twice" } output_map { key: "Y" value: "Y" } }
  ]
}
"""


def test_an_ensemble_is_served_by_the_name_of_its_entry(edge: Edge, namespace: str) -> None:
    repository = archive(
        "six.tar",
        {
            "double/config.pbtxt": CONFIG.encode(),
            "double/1/model.py": code(2),
            "triple/config.pbtxt": CONFIG.encode(),
            "triple/1/model.py": code(3),
            "six/config.pbtxt": ENSEMBLE.encode(),
        },
    )
    only = variant("any", ["cpu"], edge.models.add(repository), repository.sha256, layout="Repository")
    serving = {"startupTimeout": "2m", "modelName": "six"}
    edge.apply(namespace, manifest("pipeline", [only], node=JETSON, serving=serving))
    edge.await_ready(namespace, "pipeline")
    pod = edge.pod(namespace, "pipeline")
    assert edge.infer(pod, "six", 7) == 42
    assert edge.infer(pod, "double", 7) == 14


class Signer:
    """A key pair and what it signs."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._folder, self._key = folder, folder / "key.pem"
        self._key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, name: str, files: dict[str, bytes]) -> Artifact:
        """The archive of these files with their signature, model.sig, at its root."""
        content = self._folder / name
        for path, data in files.items():
            target = content / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        signature = self._folder / f"{name}.sig"
        config = signing.Config()  # type: ignore[no-untyped-call]
        config.use_elliptic_key_signer(private_key=self._key).sign(content, signature)
        return archive(name, {**files, "model.sig": signature.read_bytes()})


def tampered(artifact: Artifact, path: str, data: bytes) -> Artifact:
    """The same archive with one file replaced, its signature left as it was."""
    with tarfile.open(fileobj=io.BytesIO(artifact.data)) as tar:
        files = {member.name: _read(tar, member) for member in tar.getmembers()}
    return archive(f"tampered-{artifact.name}", {**files, path: data})


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def test_where_signatures_are_required_only_what_a_trusted_key_signed_is_loaded(
    edge: Edge, namespaces: Namespaces, tmp_path: Path
) -> None:
    signer = Signer(tmp_path)
    namespace = namespaces(labels={group.LABEL_REQUIRE_SIGNATURE: "true"})
    keys = {"metadata": {"name": group.TRUSTED_KEYS}, "data": {"line.pem": signer.public}}
    edge.core.create_namespaced_config_map(namespace, keys)

    unsigned = multiplier(81)
    with pytest.raises(ApiException, match="signature"):
        edge.serve(namespace, "unsigned", unsigned, node=T4)

    signed = signer.sign("signed.tar", {"config.pbtxt": CONFIG.encode(), "1/model.py": code(82)})
    changed = tampered(signed, "1/model.py", code(83))
    for name, artifact in (("signed", signed), ("changed", changed)):
        source: dict[str, Any] = {"signature": {}}
        only = variant("any", ["cpu"], edge.models.add(artifact), artifact.sha256, **source)
        edge.apply(namespace, manifest(name, [only], node=T4))
    edge.await_ready(namespace, "signed")
    assert edge.infer(edge.pod(namespace, "signed"), "signed", 2) == 164

    found = edge.await_reason(namespace, "changed", "SignatureInvalid")
    assert "1/model.py" in condition(found, "Ready")["message"]
    assert condition(found, "Stalled")["reason"] == "SignatureInvalid"
    (server,) = edge.pod(namespace, "changed").status.container_statuses
    assert server.state.waiting.reason == "PodInitializing"
