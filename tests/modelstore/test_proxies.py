"""Which way a source takes to its host: through the proxy that its ConfigMap, or else the environment, names."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.modelstore.servers import Answer, Authority, Objects, Web, proxying, serving
from tests.modelstore.test_credentials import content, opened

from littoral.modelstore.access import Access
from littoral.modelstore.errors import FetchError, SourceForbidden, SourceUnreachable
from littoral.modelstore.sources.tls import proxy_for

PROXY = "http://proxy:3128"
ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


WAYS: dict[str, tuple[str, dict[str, str], dict[str, str], str | None]] = {
    "no proxy is named": ("https://models.example/m", {}, {}, None),
    "of its scheme": ("https://models.example/m", {"HTTPS_PROXY": PROXY}, {}, PROXY),
    "of the other scheme": ("http://models.example/m", {"HTTPS_PROXY": PROXY}, {}, None),
    "of the environment": ("https://models.example/m", {}, {"https_proxy": PROXY}, PROXY),
    "over the environment's": ("https://models.example/m", {"HTTPS_PROXY": PROXY}, {"https_proxy": "http://x"}, PROXY),
    "without a scheme": ("http://models.example/m", {"http_proxy": "proxy:3128"}, {}, PROXY),
    "the environment's, where the ConfigMap excludes the host": (
        "https://models.example/m",
        {"NO_PROXY": "models.example"},
        {"https_proxy": PROXY},
        None,
    ),
}


@pytest.mark.parametrize("case", WAYS)
def test_the_proxy(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url, settings, environment, expected = WAYS[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert proxy_for(url, Access(settings=settings)) == expected


DIRECT = {
    "models.example": ("models.example", "example", ".example", "*.example", "other, MODELS.example", "*"),
    "models.example:8443": ("models.example", "models.example:8443"),
    "10.1.2.3": ("10.1.2.3", "10.0.0.0/8", "10.1.2.3:443"),
    "[fd00::7]": ("fd00::7", "fd00::/8"),
}
PROXIED = {
    "models.example": ("", "odels.example", "a.models.example", "models", "10.0.0.0/8", ","),
    "10.1.2.3": ("10.1.2.4", "11.0.0.0/8", "0.1.2.3", "10.1.2"),
}


@pytest.mark.parametrize(
    ("host", "excluded", "direct"),
    [(host, value, kind is DIRECT) for kind in (DIRECT, PROXIED) for host, values in kind.items() for value in values],
)
def test_what_no_proxy_covers(host: str, excluded: str, direct: bool) -> None:
    access = Access(settings={"HTTPS_PROXY": PROXY, "NO_PROXY": excluded})

    assert (proxy_for(f"https://{host}/m", access) is None) == direct


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(params=["http", "https"])
def store(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Iterator[Web]:
    """What both kinds of client can read models/m from, under the name models.invalid that only a proxy knows."""
    certificate = authority.certificate(tmp_path) if request.param == "https" else None
    with serving(Objects({"m": b"weights"}), certificate) as server:
        yield server


@pytest.mark.parametrize("client", ["http", "s3"])
def test_a_source_is_read_through_its_proxy(client: str, store: Web, authority: Authority) -> None:
    there = f"{store.scheme}://models.invalid"
    authorization = f"Basic {base64.b64encode(b'site7:p@ss').decode()}"
    with proxying(store, authorization) as proxy:
        name = f"{store.scheme.upper()}_PROXY"
        settings = {"ca.crt": authority.pem, "AWS_ENDPOINT_URL": there}
        uri = "s3://models/m" if client == "s3" else f"{there}/models/m"

        # A password is the Secret's, and so is the address that holds it.
        assert content(uri, Access({name: f"http://site7:p%40ss@{proxy.address}"}, settings)) == b"weights"

    asked = {"http": ("GET", f"{there}/models/m"), "https": ("CONNECT", "models.invalid:443")}
    assert (proxy.seen[0].method, proxy.seen[0].target) == asked[store.scheme]


@pytest.mark.parametrize("client", ["http", "s3"])
def test_an_excluded_host_is_asked_directly(
    client: str, store: Web, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "s3://models/m" if client == "s3" else f"{store.url}/models/m"
    settings = {"ca.crt": authority.pem, "AWS_ENDPOINT_URL": store.url, "NO_PROXY": "127.0.0.0/8"}
    with proxying(store) as proxy:
        monkeypatch.setenv(f"{store.scheme}_proxy", f"http://{proxy.address}")

        assert content(uri, Access(settings=settings)) == b"weights"

    assert proxy.seen == []


def test_each_host_of_a_redirect_has_its_own_way() -> None:
    with ExitStack() as stack:
        away = stack.enter_context(serving(lambda _: Answer(body=b"weights")))
        location = {"Location": "http://models.invalid/m"}
        near = stack.enter_context(serving(lambda _: Answer(302, headers=location)))
        proxy = stack.enter_context(proxying(away))
        settings = {"HTTP_PROXY": f"http://{proxy.address}", "NO_PROXY": "127.0.0.1"}

        assert content(f"{near.url}/m", Access(settings=settings)) == b"weights"

    assert [request.target for request in proxy.seen] == ["http://models.invalid/m"]


REFUSALS = {
    "http": (SourceForbidden, "the proxy .* 407"),
    "https": (SourceUnreachable, "the proxy failed: Tunnel connection failed: 407"),
}


def test_a_proxy_that_wants_a_user_says_so(store: Web, authority: Authority) -> None:
    reason, sentence = REFUSALS[store.scheme]
    with proxying(store, "Basic x") as proxy:
        settings = {"ca.crt": authority.pem, f"{store.scheme.upper()}_PROXY": f"http://{proxy.address}"}
        with pytest.raises(reason, match=sentence):
            opened(f"{store.scheme}://models.invalid/m", Access(settings=settings)).open(0)


@pytest.mark.parametrize("proxy", ["ftp://u:hidden@proxy", "http://u:hidden@", "http://u:hidden@proxy:port"])
@pytest.mark.parametrize("uri", ["http://models.invalid/m", "s3://models/m"])
def test_an_address_that_is_no_proxys_is_not_shown(uri: str, proxy: str) -> None:
    access = Access({"HTTP_PROXY": proxy}, {"AWS_ENDPOINT_URL": "http://models.invalid"})

    with pytest.raises(FetchError) as refused:
        opened(uri, access).open(0)

    assert isinstance(refused.value, SourceUnreachable)
    assert "hidden" not in str(refused.value)
