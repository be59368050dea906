"""Servers on loopback for the tests of sources: a web server that answers as told, a store that speaks S3, a proxy.

Each notes what it was asked, for what a source sends, and to whom, is what these tests are about.
"""

import contextlib
import datetime as dt
import hashlib
import http.server
import ipaddress
import select
import socket
import socketserver
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Request:
    """`target` is the path and query, or of a proxy's request the whole URL; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return urllib.parse.unquote(urllib.parse.urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.target).query))


@dataclass(frozen=True)
class Answer:
    """`cut`: so many bytes of the body are sent, then the connection is closed."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


class Web(http.server.ThreadingHTTPServer):
    """Answers by a function; `seen` holds the requests."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.seen, self.scheme = answer, list[Request](), "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def do_GET(self) -> None:
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        self.server.seen.append(request)
        answer = self.server.answer(request)
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(answer.body[: answer.cut])
        self.close_connection = answer.cut is not None

    do_HEAD = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextlib.contextmanager
def serving(answer: Callable[[Request], Answer], certificate: Path | None = None) -> Iterator[Web]:
    """A server for the time of the context, by https where it has a certificate (and key, in one PEM file)."""
    with Web(answer) as server:
        if certificate:
            server.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        with running(server):
            yield server


@contextlib.contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve for the time of the context."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class Objects:
    """The objects of one bucket by key, as S3 hands them out; pages of a listing hold `page` of them."""

    def __init__(self, objects: Mapping[str, bytes], *, bucket: str = "models", page: int = 1000) -> None:
        self.objects, self._bucket, self._page = dict(objects), bucket, page
        self.cuts: list[int] = []

    def __call__(self, request: Request) -> Answer:
        key = request.path.removeprefix(f"/{self._bucket}").removeprefix("/")
        if request.query.get("list-type") == "2":
            return self._list(request.query)
        if key not in self.objects:
            return refusal(404, "NoSuchKey")
        return self._object(self.objects[key], request.headers)

    def _object(self, body: bytes, asked: Mapping[str, str]) -> Answer:
        tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        headers = {"ETag": tag, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
        if asked.get("if-match", tag) != tag:
            return refusal(412, "PreconditionFailed")
        cut = self.cuts.pop(0) if self.cuts else None
        if "range" not in asked:
            return Answer(200, body, headers, cut)
        start = int(asked["range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return refusal(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return Answer(206, body[start:], headers, cut)

    def _list(self, query: Mapping[str, str]) -> Answer:
        after = query.get("continuation-token", "")
        keys = sorted(key for key in self.objects if key.startswith(query.get("prefix", "")) and key > after)
        page, more = keys[: self._page], len(keys) > self._page
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2015-10-21T07:28:00.000Z</LastModified>"
            f'<ETag>"1"</ETag><Size>{len(self.objects[key])}</Size></Contents>'
            for key in page
        )
        following = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return Answer(
            200,
            f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>{str(more).lower()}'
            f"</IsTruncated>{following}{entries}</ListBucketResult>".encode(),
        )


def refusal(status: int, code: str) -> Answer:
    """What S3 answers for an error."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode())


class Proxy(socketserver.ThreadingTCPServer):
    """Takes every request, for whatever host, to `target`; `seen` holds the heads of the requests, one a connection.

    With `password` it wants basic credentials that end in it.
    """

    daemon_threads = True

    def __init__(self, target: Web, authorization: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.target, self.authorization, self.seen = target, authorization, list[Request]()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what these tests are about."""


class _ProxyHandler(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        head = [self.rfile.readline()]
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            head.append(line)
        method, target, _ = head[0].decode().split()
        fields = (line.decode().partition(":") for line in head[1:])
        headers = {name.lower(): value.strip() for name, _, value in fields}
        self.server.seen.append(Request(method, target, headers))
        if self.server.authorization and headers.get("proxy-authorization") != self.server.authorization:
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.server.target.server_port)) as there:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                parts = urllib.parse.urlsplit(target)
                path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
                there.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + b"".join(head[1:]) + b"\r\n")
            _join(self.connection, there)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Hand on bytes both ways until either side has no more."""
    while True:
        ready, _, _ = select.select([one, other], [], [])
        for source in ready:
            data = source.recv(1 << 16)
            if not data:
                return
            (other if source is one else one).sendall(data)


@contextlib.contextmanager
def proxying(target: Web, authorization: str | None = None) -> Iterator[Proxy]:
    """A proxy for the time of the context."""
    with Proxy(target, authorization) as proxy, running(proxy):
        yield proxy


class Authority:
    """A private certificate authority; `pem` is its certificate."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the site's own authority")])
        certificate = self._builder(self._name, self._key, begins_in_days=-365).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.pem = certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def certificate(self, folder: Path, *, begins_in_days: int = -1, host: str = "models.invalid") -> Path:
        """A certificate of 127.0.0.1 and of `host`, valid for 30 days, and its key: one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(host)]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        made = (
            self._builder(subject, key, begins_in_days=begins_in_days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = folder / f"server{begins_in_days}.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        return pem

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, begins_in_days: int
    ) -> x509.CertificateBuilder:
        begin = dt.datetime.now(dt.UTC) + dt.timedelta(days=begins_in_days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(days=30 if subject != self._name else 3650))
        )
