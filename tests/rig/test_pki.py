import base64
import ipaddress
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rig import flags
from rig.flags import Options
from rig.pki import Authority, kubeconfig


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki")


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_serving_certificate_is_good_for_loopback_the_bridge_and_the_service(authority: Authority) -> None:
    options = Options(address="10.210.0.2", service_cidr="10.211.0.0/16")
    pair = authority.issue("api", user="kube-apiserver", hosts=flags.serving_hosts(options))
    names = read(pair.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = set(map(str, names.get_values_for_type(x509.IPAddress)))
    assert addresses == {"127.0.0.1", "10.210.0.2", "10.211.0.1"}
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)


def test_a_node_is_known_by_its_user_and_group_and_may_not_serve(authority: Authority) -> None:
    certificate = read(authority.issue("n", user="system:node:edge-a", groups=["system:nodes"]).certificate)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:edge-a"
    assert certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_what_a_loaded_authority_issues_is_signed_by_the_same_key(authority: Authority, tmp_path: Path) -> None:
    issued = read(Authority.load(tmp_path / "pki").issue("later", user="x").certificate)
    issued.verify_directly_issued_by(read(authority.certificate))


def test_keys_are_readable_by_their_owner_alone(authority: Authority) -> None:
    assert authority.issue("x", user="x").key.stat().st_mode & 0o077 == 0


def test_a_kubeconfig_verifies_the_server(authority: Authority) -> None:
    client = authority.issue("admin", user="admin", groups=["system:masters"])
    config = yaml.safe_load(kubeconfig(url="https://127.0.0.1:1", authority=authority.certificate, client=client))
    cluster = config["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority.certificate.read_bytes()
    assert "insecure-skip-tls-verify" not in cluster
