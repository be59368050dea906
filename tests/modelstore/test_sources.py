"""What a URI may name, and what it may not."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx
from tests.modelstore.servers import Answer, serving
from tests.modelstore.test_credentials import opened

from littoral.modelstore.errors import FetchError, UnsupportedSource
from littoral.modelstore.sources import same_host, shown, source_for
from littoral.modelstore.sources.file import import_path

ESCAPES = [
    "file:///etc/passwd",
    "file:///import/../secret",
    "file:///import/%2e%2e/secret",
    "file:///import/a/%2E%2E%2F%2e%2e/secret",
    "file:///import/..%2fsecret",
    "file:///import//etc/passwd",
    "file:///import/./m",
    "file:///import/",
    "file:///import",
    "file:///imports/m",
    "file:///import/a%00b",
    "file:///import/m?x=1",
    "file:///import/m#x",
    "file://host/import/m",
    "file://localhost/import/m",
    "file:import/m",
    "file:m",
]


@pytest.mark.parametrize("uri", ESCAPES)
def test_a_file_uri_names_nothing_outside_import(namespace: Namespace, uri: str) -> None:
    (namespace.cache / "secret").write_bytes(b"secret")

    report = namespace.fetch(onnx(uri, b"secret"))

    assert report.reason == "UnsupportedSource", report


LINKS = {
    "the file": ("m", "../secret"),
    "a folder": ("folder", ".."),
    "an absolute folder": ("folder", "/"),
    "a link inside": ("m", "real"),
}


@pytest.mark.parametrize("case", LINKS)
def test_no_symbolic_link_is_followed(namespace: Namespace, case: str) -> None:
    name, target = LINKS[case]
    namespace.import_file("real", b"secret")
    (namespace.cache / "secret").write_bytes(b"secret")
    (namespace.cache / "import" / name).symlink_to(target)

    report = namespace.fetch(onnx(f"file:///import/{name if name == 'm' else 'folder/secret'}", b"secret"))

    assert report.reason == "UnsupportedSource"
    assert "symbolic link" in report.message


def test_import_itself_may_not_be_a_link(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"secret")
    (namespace.cache / "import").symlink_to(tmp_path)

    assert namespace.fetch(onnx("file:///import/m", b"secret")).reason == "UnsupportedSource"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_only_a_regular_file_is_read(namespace: Namespace, kind: str) -> None:
    namespace.import_file("beside", b"")
    path = namespace.cache / "import" / "m"
    path.mkdir() if kind == "folder" else os.mkfifo(path)

    report = namespace.fetch(onnx("file:///import/m", b"x"))

    assert (report.reason, "not a regular file" in report.message) == ("UnsupportedSource", True)


@pytest.mark.parametrize("uri", ["file:///import/line%203/m.onnx", "file:///import/line 3/m.onnx"])
def test_a_file_carried_by_hand_is_a_source(namespace: Namespace, uri: str) -> None:
    namespace.import_file("line 3/m.onnx", b"weights")

    assert namespace.fetch(onnx(uri, b"weights")).ok


def test_an_absent_file_says_where_it_belongs(namespace: Namespace) -> None:
    report = namespace.fetch(onnx("file:///import/usb/m.onnx", b"x"))

    assert report.reason == "SourceUnreachable"
    assert "/var/lib/littoral/namespaces/<UID of the namespace>/import/usb/m.onnx" in report.message


@given(st.text())
@settings(deadline=None)  # a busy machine is no failure
def test_whatever_import_path_accepts_is_plain(text: str) -> None:
    try:
        parts = import_path(f"file:///import/{text}")
    except UnsupportedSource:
        return
    assert parts
    assert all(part not in {"", ".", ".."} and "/" not in part for part in parts)


@given(st.text() | st.from_regex(r"(https?|file|s3)://[ -~]*", fullmatch=True))
@settings(deadline=None)  # a busy machine is no failure
def test_no_uri_breaks_the_fetcher(text: str) -> None:
    with contextlib.suppress(FetchError):
        source_for(text, Path())


def test_what_is_shown_of_a_uri_holds_no_secret() -> None:
    assert shown("https://user:pass@host:8443/a/b?X-Signature=abc#f") == "https://host:8443/a/b"


@pytest.mark.parametrize("uri", ["https://[", "https://user:hidden@[x/m?token=hidden", "https://a\u2100b:hidden@c/"])
def test_what_is_no_uri_is_shown_by_its_scheme_alone(uri: str) -> None:
    assert shown(uri) == "https:…"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://models.site/m", "https://MODELS.site:443/sigs/m.sig?x=1", True),
        ("http://models.site:80/m", "http://models.site/m.sig", True),
        ("https://[::1]:8443/m", "https://[::1]:8443/m.sig", True),
        ("s3://models/a/m", "s3://models/b/m.sig", True),
        ("https://models.site/m", "http://models.site/m.sig", False),
        ("https://models.site/m", "https://models.site:8443/m.sig", False),
        ("https://models.site/m", "https://models.site.evil/m.sig", False),
        ("https://models.site/m", "https://models.site@evil/m.sig", False),
        ("https://models.site/m", "https://evil\\@models.site/m.sig", False),
        ("https://models.site/m", "https://[", False),
        ("s3://models/a/m", "s3://others/a/m.sig", False),
        ("s3://models/a/m", "gs://models/a/m.sig", False),
        ("oci://models.site/m", "https://models.site/m.sig", False),
    ],
)
def test_whose_host_it_is(one: str, other: str, *, same: bool) -> None:
    assert same_host(one, other) == same_host(other, one) == same


@pytest.mark.parametrize("digits", [19, 400, 5000])
@pytest.mark.parametrize("status", [200, 206])
def test_a_length_that_nothing_has_is_said(namespace: Namespace, digits: int, status: int) -> None:
    headers = {"Content-Length": "9" * digits, "Content-Range": "bytes 0-8/9"}
    with serving(lambda _: Answer(status, headers=headers, cut=0)) as server:
        report = namespace.fetch(onnx(f"{server.url}/m", b"x"))

    assert report.reason == "SourceUnreachable"
    assert report.message.startswith(f"{server.url}/m announces a length of {digits} digits (6 attempts")


@pytest.mark.parametrize("after", ["9" * 5000, "Fri, 31 Dec 999999999999999 23:59:59 GMT", "soon"])
def test_a_retry_after_that_is_no_time_is_not_obeyed(namespace: Namespace, after: str) -> None:
    with serving(lambda _: Answer(503, headers={"Retry-After": after})) as server:
        report = namespace.fetch(onnx(f"{server.url}/m", b"x"))

    assert report.reason == "SourceUnreachable", report
    assert max(namespace.waits) <= 30


def test_a_redirect_is_followed(namespace: Namespace, origin: Origin) -> None:
    there = origin.put("/there", Resource(b"weights"))
    here = origin.put("/here", Resource(b"", statuses=[302], headers={"Location": there}))

    assert namespace.fetch(onnx(here, b"weights")).ok


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://models.invalid/m", "http://[", "http://:80/m"])
def test_a_redirect_to_elsewhere_than_the_web_is_refused(namespace: Namespace, origin: Origin, location: str) -> None:
    here = origin.put("/here", Resource(b"", statuses=[302] * 9, headers={"Location": location}))

    report = namespace.fetch(onnx(here, b"weights"))

    assert report.reason == "SourceUnreachable"
    assert "redirects to what is" in report.message
    assert namespace.waits == []


def test_redirects_in_circles_end(namespace: Namespace, origin: Origin) -> None:
    here = origin.put("/here", Resource(b"", statuses=[302] * 99, headers={"Location": "/here"}))

    report = namespace.fetch(onnx(here, b"weights"))

    assert (report.reason, len(origin.seen)) == ("SourceUnreachable", 6)
    assert "too many redirects" in report.message


def test_proxies_come_from_the_environment(
    namespace: Namespace, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = origin.put("", Resource(b""))
    origin.put("http://models.invalid/m", Resource(b"weights"))  # what a proxy is asked for is the whole URI
    monkeypatch.setenv("http_proxy", proxy)

    assert namespace.fetch(onnx("http://models.invalid/m", b"weights")).ok

    monkeypatch.setenv("no_proxy", "models.invalid")
    report = namespace.fetch(onnx("http://models.invalid/m", b"others"))
    assert "cannot be resolved" in report.message


def test_a_range_is_asked_for_of_the_version_that_was_begun() -> None:
    with serving(lambda _: Answer(body=b"weights", headers={"ETag": '"7"'})) as server:
        source = opened(f"{server.url}/m")
        stream = source.open(0)
        stream.chunks.close()
        source.open(5).chunks.close()

    first, second = (request.headers for request in server.seen)
    assert "range" not in first
    assert (second["range"], second["if-range"]) == ("bytes=5-", '"7"')
    assert (stream.total, stream.validator) == (7, '"7"')
