"""https against a server whose certificate a private authority signed, by each of the two clients that speak it."""

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.modelstore.servers import Authority, Objects, Web, proxying, serving
from tests.modelstore.test_credentials import content, opened

from littoral.modelstore.access import Access
from littoral.modelstore.errors import NodeClockWrong, SourceUnreachable
from littoral.modelstore.sources.tls import clock_wrong
from littoral.modelstore.transfer import Download, Patience

CLIENTS = ("http", "s3")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@contextmanager
def store(authority: Authority, folder: Path, begins_in_days: int = -1) -> Iterator[Web]:
    with serving(Objects({"m": b"weights"}), authority.certificate(folder, begins_in_days=begins_in_days)) as server:
        yield server


def uri(client: str, host: str) -> str:
    return "s3://models/m" if client == "s3" else f"{host}/models/m"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("where", ["ConfigMap", "Secret", "environment"])
def test_a_private_authority_is_trusted_where_it_is_named(
    client: str, where: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = f"# Autorité du site\n{authority.pem}"
    secret = {"ca.crt": bundle} if where == "Secret" else {}
    settings = {"ca.crt": bundle} if where == "ConfigMap" else {}
    if where == "environment":
        (tmp_path / "ca.pem").write_text(bundle, encoding="latin-1")
        monkeypatch.setenv("LITTORAL_CA_BUNDLE", str(tmp_path / "ca.pem"))

    with store(authority, tmp_path) as server:
        access = Access(secret, settings | {"AWS_ENDPOINT_URL": server.url})
        assert content(uri(client, server.url), access) == b"weights"


@pytest.mark.parametrize("client", CLIENTS)
def test_another_authority_is_not_trusted_and_not_asked_again(
    client: str, authority: Authority, tmp_path: Path
) -> None:
    waits: list[float] = []
    with store(authority, tmp_path) as server:
        access = Access(settings={"ca.crt": Authority().pem, "AWS_ENDPOINT_URL": server.url})
        source = opened(uri(client, server.url), access)
        download = Download(source, what="m", patience=Patience(sleep=waits.append))
        with closing(download), pytest.raises(SourceUnreachable, match=r"TLS failed: .*(certificate|authority)"):
            download.finish()

    assert waits == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_host_of_another_name_is_not_trusted(client: str, authority: Authority, tmp_path: Path) -> None:
    with store(authority, tmp_path) as server:
        there = f"https://localhost:{server.server_port}"
        access = Access(settings={"ca.crt": authority.pem, "AWS_ENDPOINT_URL": there})
        with pytest.raises(SourceUnreachable, match=r"TLS failed: .*(another host|not valid for 'localhost')"):
            opened(uri(client, there), access).open(0)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("through", ["directly", "through a proxy"])
def test_a_certificate_of_tomorrow_means_that_the_nodes_clock_is_behind(
    client: str, through: str, authority: Authority, tmp_path: Path
) -> None:
    with store(authority, tmp_path, begins_in_days=1) as server, proxying(server) as proxy:
        there = server.url if through == "directly" else "https://models.invalid"
        settings = {"ca.crt": authority.pem, "AWS_ENDPOINT_URL": there}
        if through != "directly":
            settings["HTTPS_PROXY"] = f"http://{proxy.address}"
        with pytest.raises(NodeClockWrong) as wrong:
            opened(uri(client, there), Access({"token": "hidden"}, settings)).open(0)

    assert server.seen == [], "nothing is asked of a host that is not verified"
    begin, clock = (
        dt.datetime.fromisoformat(time) for time in re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", str(wrong.value))
    )
    assert re.search(r"not yet valid before .* UTC, by the node's clock, which says .* UTC", str(wrong.value))
    assert dt.timedelta(hours=23) < begin - clock <= dt.timedelta(days=1)


def test_a_clock_is_not_blamed_for_an_authority_that_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    with store(authority, tmp_path, begins_in_days=1) as server, pytest.raises(SourceUnreachable, match="TLS failed"):
        opened(f"{server.url}/models/m", Access()).open(0)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_expired_certificate_says_by_which_clock(client: str, authority: Authority, tmp_path: Path) -> None:
    with store(authority, tmp_path, begins_in_days=-60) as server:
        access = Access(settings={"ca.crt": authority.pem, "AWS_ENDPOINT_URL": server.url})
        with pytest.raises(SourceUnreachable, match=r"TLS failed: .*has expired by the node's clock"):
            opened(uri(client, server.url), access).open(0)


NO_CERTIFICATES = {
    "words": "our authority",
    "half of one": "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----",
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", NO_CERTIFICATES)
def test_what_is_no_certificate_is_named(client: str, case: str) -> None:
    access = Access(settings={"ca.crt": NO_CERTIFICATES[case]})

    with pytest.raises(SourceUnreachable, match=r"ca\.crt of .*configMapName names holds no CA certificates in PEM"):
        opened(uri(client, "https://models.invalid"), access).open(0)


def test_a_bundle_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LITTORAL_CA_BUNDLE", str(tmp_path / "ca.pem"))

    with pytest.raises(SourceUnreachable, match=r"ca\.pem \(LITTORAL_CA_BUNDLE\) cannot be read"):
        opened("https://models.invalid/m").open(0)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_image_without_certificates_trusts_certifis(
    client: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cacert.pem").write_text(authority.pem)
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "cacert.pem"))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))

    with store(authority, tmp_path) as server:
        access = Access(settings={"AWS_ENDPOINT_URL": server.url})
        assert content(uri(client, server.url), access) == b"weights"


def test_a_proxys_password_is_not_sent_in_plain_text_to_find_a_time(authority: Authority, tmp_path: Path) -> None:
    """http.client asks a proxy without TLS, whatever its URL says: the sentence does without the time then."""
    with store(authority, tmp_path, begins_in_days=1) as server, proxying(server) as proxy:
        settings = {"ca.crt": authority.pem, "HTTPS_PROXY": f"https://user:hidden@{proxy.address}"}
        wrong = clock_wrong("https://models.invalid/m", Access(settings=settings))

    assert proxy.seen == []
    assert "the host's certificate is not yet valid, by the node's clock" in str(wrong)
