"""https against a server whose certificate a private authority signed."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx


def certificate(folder: Path, *, begins_in_days: int) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "models")])
    begin = dt.datetime.now(dt.UTC) + dt.timedelta(days=begins_in_days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return pem


def serve_tls(origin: Origin, pem: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    origin.socket = context.wrap_socket(origin.socket, server_side=True, do_handshake_on_connect=False)


def test_a_private_authority_is_trusted_when_it_is_named(
    namespace: Namespace, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path, begins_in_days=-1)
    uri = origin.put("/m", Resource(b"weights")).replace("http:", "https:")
    serve_tls(origin, pem)

    refused = namespace.fetch(onnx(uri, b"weights"))
    assert refused.reason == "SourceUnreachable"
    assert "certificate" in refused.message
    assert namespace.waits == [], "an untrusted certificate is not tried again within the process"

    monkeypatch.setenv("LITTORAL_CA_BUNDLE", str(pem))
    assert namespace.fetch(onnx(uri, b"weights")).ok


def test_a_certificate_of_tomorrow_names_the_clock(
    namespace: Namespace, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path, begins_in_days=1)
    uri = origin.put("/m", Resource(b"weights")).replace("http:", "https:")
    serve_tls(origin, pem)
    monkeypatch.setenv("LITTORAL_CA_BUNDLE", str(pem))

    report = namespace.fetch(onnx(uri, b"weights"))

    assert "not yet valid" in report.message
    assert "clock" in report.message
