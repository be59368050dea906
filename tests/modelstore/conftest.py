"""A real HTTP origin on loopback with faults to order, and a namespace's cache and repository to deliver into."""

import hashlib
import http.server
import io
import socket
import struct
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from littoral.modelstore.fetch import Mounts, fetch_all
from littoral.modelstore.report import Report
from littoral.modelstore.request import FetchRequest, ModelRequest
from littoral.modelstore.transfer import Patience


@dataclass
class Resource:
    """What one path answers: `cuts` are taken one a request (bytes of body after which the connection is reset)."""

    body: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    most: int | None = None
    """Bytes of a range that one answer has at most."""
    stall: int | None = None
    """Bytes of body after which the answer waits for Origin.resume, having set Origin.stalled."""
    pace: float = 0.0
    """Seconds between two pieces of 64 KiB: a slow link."""
    then: "Resource | None" = None
    """What the path answers from the second request on."""


class Origin(http.server.ThreadingHTTPServer):
    """An HTTP server whose resources misbehave as told; `seen` holds (path, Range header) of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.resources: dict[str, Resource] = {}
        self.seen: list[tuple[str, str | None]] = []
        self.authorizations: list[str | None] = []
        self.position = 0
        """Up to which byte of the body the answer under way was written, where it is paced."""
        self.stalled, self.resume = threading.Event(), threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what these tests are about."""

    def put(self, path: str, resource: Resource) -> str:
        self.resources[path] = resource
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Origin

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        asked = self.headers.get("Range")
        self.server.seen.append((path, asked))
        self.server.authorizations.append(self.headers.get("Authorization"))
        resource = self.server.resources.get(path)
        if resource is None or resource.statuses:
            self._plain(resource.statuses.pop(0) if resource else 404, resource.headers if resource else {})
            return
        if resource.then is not None:
            self.server.resources[path] = resource.then
        start = 0
        condition = self.headers.get("If-Range")
        if asked and resource.ranges and condition in {None, resource.etag}:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(resource.body) and start:
            self._plain(416, {"Content-Range": f"bytes */{len(resource.body)}"})
            return
        self._body(resource, start)

    def _body(self, resource: Resource, start: int) -> None:
        body = resource.body[start:][: resource.most if start else None]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(resource.body)}")
        if resource.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        if resource.etag:
            self.send_header("ETag", resource.etag)
        self.end_headers()
        if resource.stall is not None:
            self.wfile.write(body[: resource.stall])
            body = body[resource.stall :]
            self.server.stalled.set()
            self.server.resume.wait(60)
        cut = resource.cuts.pop(0) if resource.cuts else None
        if resource.pace:
            for at in range(0, len(body), 1 << 16):
                self.wfile.write(body[at : at + (1 << 16)])
                self.server.position = start + at + (1 << 16)
                time.sleep(resource.pace)
            return
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            if cut % 2:  # half of the cuts are resets, which may also lose bytes under way
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _plain(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.resume.set()
        server.shutdown()
        thread.join()


@dataclass
class Namespace:
    """One namespace on one node: what the fetch container finds mounted."""

    cache: Path
    repository: Path
    waits: list[float] = field(default_factory=list)

    def request(self, *models: ModelRequest, partial: bool = False) -> FetchRequest:
        return FetchRequest(models=models, repository=str(self.repository), cache=str(self.cache), partial=partial)

    def fetch(self, *models: ModelRequest, pinned_by: str = "", **wishes: Any) -> Report:
        request = replace(self.request(*models), **wishes)
        return fetch_all(request, Patience(sleep=self.waits.append), slice_name=pinned_by, mounts=self.mounts)

    @property
    def mounts(self) -> Mounts:
        folder = self.cache.parent
        return Mounts(folder / "secrets", folder / "settings", folder / "keys")

    def pod(self, name: str) -> "Namespace":
        """Another pod of the namespace on the same node."""
        other = Namespace(self.cache, self.repository.parent / name, self.waits)
        other.repository.mkdir(exist_ok=True)
        return other

    def import_file(self, path: str, content: bytes) -> None:
        file = self.cache / "import" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def staged(self) -> list[Path]:
        return sorted((self.cache / "tmp").glob("*"))

    def entries(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "sha256").glob("*"))


@pytest.fixture
def namespace(tmp_path: Path) -> Namespace:
    return make_namespace(tmp_path)


def make_namespace(root: Path) -> Namespace:
    made = Namespace(root / "cache", root / "models")
    made.cache.mkdir()
    made.repository.mkdir()
    return made


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def onnx(uri: str, body: bytes, **changes: object) -> ModelRequest:
    """A single-file model whose promises `body` keeps, unless changed."""
    fields = {
        "name": "plate",
        "uri": uri,
        "sha256": sha256(body),
        "size": len(body),
        "format": "onnx",
        "config": 'name: "plate"\n',
    }
    return ModelRequest(**(fields | changes))  # type: ignore[arg-type]  # a test's keyword arguments


Member = bytes | tarfile.TarInfo


def tar(members: Mapping[str, Member], mode: str = "w") -> bytes:
    """A tar of `members`: bytes become a file, a TarInfo goes in as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # mode is a variable
        for name, member in members.items():
            if isinstance(member, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(member)
                archive.addfile(info, io.BytesIO(member))
            else:
                member.name = name
                archive.addfile(member)
    return buffer.getvalue()


def special(kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname, info.size = kind, target, size
    return info
