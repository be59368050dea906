"""What each store is told of who asks, and what becomes of its answers and of a link that fails."""

import contextlib
import re
import socket
import socketserver
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.modelstore.servers import Answer, Objects, refusal, running, serving
from tests.modelstore.test_credentials import content, opened
from tests.modelstore.test_objects import WEIGHTS, at

from littoral.modelstore.access import Access
from littoral.modelstore.errors import FetchError, NodeClockWrong, SourceForbidden, SourceUnreachable

STORES: dict[str, tuple[str, dict[str, str], dict[str, str], str, str]] = {
    "s3 anonymous": ("s3://models/a/m", {}, {}, "/models/a/m", ""),
    "s3": (
        "s3://models/a/m",
        {"AWS_ACCESS_KEY_ID": "site7", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_SESSION_TOKEN": "t"},
        {"AWS_REGION": "eu-north-1"},
        "/models/a/m",
        r"AWS4-HMAC-SHA256 Credential=site7/\d+/eu-north-1/s3/aws4_request",
    ),
    "gs anonymous": ("gs://models/a/m", {}, {}, "/models/a/m", ""),
    "az anonymous": ("az://models/a/m", {}, {"AZURE_STORAGE_ACCOUNT_NAME": "site"}, "/models/a/m", ""),
    "az": (
        "az://models/a/m",
        {"AZURE_STORAGE_ACCOUNT_KEY": "aGlkZGVu"},
        {"AZURE_STORAGE_ACCOUNT_NAME": "site"},
        "/models/a/m",
        "SharedKey site:",
    ),
}


@pytest.mark.parametrize("case", STORES)
def test_each_store_is_asked_in_its_own_way(case: str) -> None:
    uri, secret, settings, path, authorization = STORES[case]
    with serving(Objects({"a/m": b"weights"})) as server:
        endpoints = {"GOOGLE_BASE_URL": server.url, "AZURE_STORAGE_ENDPOINT": server.url}
        assert content(uri, at(server, secret, **endpoints, **settings)) == b"weights"

    (request,) = server.seen
    assert request.path == path
    assert re.match(authorization, request.headers.get("authorization", ""))
    assert bool(authorization) == ("authorization" in request.headers)
    assert "hidden" not in str(request)


def test_an_azure_signature_goes_into_the_query_and_into_no_message() -> None:
    secret = {"AZURE_STORAGE_SAS_TOKEN": "sv=2023-11-03&sig=hidden"}
    with serving(lambda _: refusal(503, "ServerBusy")) as server:
        settings = {"AZURE_STORAGE_ENDPOINT": server.url, "AZURE_STORAGE_ACCOUNT_NAME": "site"}
        with pytest.raises(SourceUnreachable) as refused:
            opened("az://models/m", Access(secret, settings)).open(0)

    assert server.seen[0].query["sig"] == "hidden"
    assert str(refused.value) == "az://models/m answered 503 Service Unavailable (ServerBusy)"


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_without_credentials_nobody_is_asked_for_some(scheme: str) -> None:
    """Clients of clouds look for them on 169.254.169.254, and for seconds where there is no cloud.

    A process of its own, whose every connection is seen: obstore's are made in Rust.
    """
    with serving(Objects({"m": b"weights"})) as server, socket.socket() as metadata:
        metadata.bind(("127.0.0.1", 0))
        metadata.listen()
        program = (
            "import sys\nfrom pathlib import Path\nfrom littoral.modelstore.access import Access\n"
            "from littoral.modelstore.sources import source_for\n"
            "settings = dict(AWS_ENDPOINT_URL=sys.argv[2], GOOGLE_BASE_URL=sys.argv[2],\n"
            "                AZURE_STORAGE_ENDPOINT=sys.argv[2], AZURE_STORAGE_ACCOUNT_NAME='site')\n"
            "stream = source_for(sys.argv[1], Path(), Access({}, settings)).open(0)\n"
            "assert b''.join(stream.chunks) == b'weights'\n"
        )
        there = f"http://127.0.0.1:{metadata.getsockname()[1]}"
        environment = {
            "AWS_METADATA_ENDPOINT": there,
            "AZURE_MSI_ENDPOINT": there,
            "GCE_METADATA_HOST": there.removeprefix("http://"),
        }
        subprocess.run(
            [sys.executable, "-c", program, f"{scheme}://models/m", server.url], env=environment, check=True, timeout=60
        )
        metadata.setblocking(False)
        with pytest.raises(BlockingIOError):
            metadata.accept()


PLAIN_ANSWERS: dict[str, tuple[Answer, type[FetchError], bool, str]] = {
    "404": (refusal(404, "NoSuchKey"), SourceUnreachable, False, r"answered 404 Not Found \(NoSuchKey\)$"),
    "403": (refusal(403, "AccessDenied"), SourceForbidden, False, r"answered 403 Forbidden \(AccessDenied\): it wants"),
    "a token that ended": (refusal(400, "ExpiredToken"), SourceForbidden, False, r"\(ExpiredToken\): it wants"),
    "another region": (
        refusal(400, "AuthorizationHeaderMalformed"),
        SourceUnreachable,
        False,
        r"\(AuthorizationHeaderMalformed\); AWS_REGION is to name the region of the bucket$",
    ),
    "the clock": (refusal(403, "RequestTimeTooSkewed"), NodeClockWrong, False, "the node's clock, which says 20"),
    "503": (refusal(503, "SlowDown"), SourceUnreachable, True, r"answered 503 Service Unavailable \(SlowDown\)$"),
    "501": (refusal(501, "NotImplemented"), SourceUnreachable, False, "answered 501 Not Implemented"),
    "no status": (refusal(599, "X"), SourceUnreachable, False, r"answered 599 \(X\)$"),
    "a redirect to nowhere": (Answer(301), SourceUnreachable, False, "in another region; AWS_REGION is to name it"),
}


@pytest.mark.parametrize("case", PLAIN_ANSWERS)
def test_an_answer_becomes_a_sentence(case: str) -> None:
    answer, reason, retry, sentence = PLAIN_ANSWERS[case]
    with serving(lambda _: answer) as server, pytest.raises(FetchError, match=sentence) as failed:
        opened("s3://models/m", at(server)).open(0)

    assert type(failed.value) is reason
    assert getattr(failed.value, "retry", False) == retry
    assert len(server.seen) == 1, "attempts are counted by whoever reads"


def test_a_link_that_fails_becomes_a_sentence() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for endpoint, sentence in {
            nobody: f"s3://models/m at {nobody} cannot be reached: Connection refused",
            "http://models.invalid": "its host name cannot be resolved",
        }.items():
            with pytest.raises(SourceUnreachable, match=sentence) as failed:
                opened("s3://models/m", Access(settings={"AWS_ENDPOINT_URL": endpoint})).open(0)
            assert failed.value.retry


def test_a_cut_becomes_a_sentence() -> None:
    objects = Objects({"m": WEIGHTS})
    objects.cuts = [5]
    with serving(objects) as server, pytest.raises(SourceUnreachable, match="the connection was cut") as cut:
        content("s3://models/m", at(server))

    assert cut.value.retry


ENDS = {
    "nothing": (b"", "the connection was cut", True),
    "half an answer": (b"HTTP/1.1 200 OK\r\n", "the connection was cut", True),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\nx", r"what answers is no store \(MissingContentLength\)", False),
    "no HTTP": (b"SSH-2.0\r\n\r\n", "the request failed", True),
}


@pytest.mark.parametrize("case", ENDS)
def test_whatever_answers_becomes_a_sentence(case: str) -> None:
    reply, sentence, retry = ENDS[case]
    with talking(reply) as port, pytest.raises(SourceUnreachable, match=sentence) as failed:
        opened("s3://models/m", Access(settings={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})).open(0)

    assert failed.value.retry == retry


def test_http_is_not_taken_for_https() -> None:
    sentence = "TLS failed: what answers does not speak it"
    with (
        talking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port,
        pytest.raises(SourceUnreachable, match=sentence) as failed,
    ):
        opened("s3://models/m", Access(settings={"AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}"})).open(0)

    assert not failed.value.retry


@contextlib.contextmanager
def talking(reply: bytes) -> Iterator[int]:
    """The port of something that says `reply` to whoever said something, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(reply)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server, running(server):
        yield server.server_address[1]


def test_https_is_not_left_for_http() -> None:
    """Plain http is spoken where the endpoint says so, and nowhere else."""
    with serving(Objects({"m": b"weights"})) as server, pytest.raises(SourceUnreachable):
        opened("s3://models/m", at(server, AWS_ENDPOINT_URL=f"https://127.0.0.1:{server.server_port}")).open(0)

    assert server.seen == []
