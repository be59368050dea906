"""The web server that models come from: the world outside the site, whose links are slow and whose days are bad."""

import contextlib
import http.server
import re
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from http import HTTPStatus

from tests.node.models import Artifact

_PIECE = 64 << 10
"""Sent at once; as much as a connection may hold that its other end has not got."""


@dataclass(frozen=True)
class _Served:
    data: bytes
    rate: float | None
    etag: str


@dataclass
class Answer:
    """One answer to a GET: where it began, and how many bytes were sent, received or not."""

    offset: int
    sent: int = 0


class ModelServer:
    """Serves artifacts with ranges, as slowly as is asked for, and knows what it was asked and what it sent.

    It can be switched off and on again, on the same port. `answers` has what was sent in answer to each GET of a path,
    `finished` when its last byte was (seconds of the machine's monotonic clock), `requests` the paths of all requests.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._port = 0
        self._files: dict[str, _Served] = {}
        self._server: http.server.ThreadingHTTPServer | None = None
        self._open: set[socket.socket] = set()
        self.requests: list[str] = []
        self.answers: defaultdict[str, list[Answer]] = defaultdict(list)
        self.finished: dict[str, float] = {}

    def add(self, artifact: Artifact, *, rate: float | None = None) -> str:
        """Serve an artifact, at most `rate` bytes a second to each client; its URI."""
        self._files[f"/{artifact.name}"] = _Served(artifact.data, rate, f'"{artifact.sha256}"')
        return f"http://{self._address}:{self._port}/{artifact.name}"

    def sent(self, path: str) -> int:
        """How many bytes of a path were sent, received or not."""
        return sum(answer.sent for answer in self.answers[path])

    def start(self) -> None:
        """Listen; always on the same port."""
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def setup(self) -> None:
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
                super().setup()

            def do_GET(self) -> None:
                server._answer(self)

            def do_HEAD(self) -> None:
                server._head(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                pass

        self._server = http.server.ThreadingHTTPServer((self._address, self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Refuse every connection, and end those that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.drop()

    def drop(self) -> None:
        """End every answer in its middle."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # ended by itself meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def _head(self, handler: http.server.BaseHTTPRequestHandler) -> tuple[_Served, int] | None:
        """Answer with the headers; what is to follow, and from which byte on."""
        self.requests.append(handler.path)
        served = self._files.get(handler.path)
        if served is None:
            handler.send_error(HTTPStatus.NOT_FOUND)
            return None
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if handler.headers.get("If-Range", served.etag) != served.etag:
            wanted = None
        offset, size = int(wanted[1]) if wanted else 0, len(served.data)
        handler.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
        if wanted:
            handler.send_header("Content-Range", f"bytes {offset}-{size - 1}/{size}")
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("ETag", served.etag)
        handler.send_header("Content-Length", str(size - offset))
        handler.end_headers()
        return served, offset

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        begun = self._head(handler)
        if begun is None:
            return
        served, offset = begun
        answer = Answer(offset)
        self.answers[handler.path].append(answer)
        self._open.add(handler.connection)
        try:
            for start in range(offset, len(served.data), _PIECE):
                piece = served.data[start : start + _PIECE]
                handler.connection.sendall(piece)
                answer.sent += len(piece)
                if served.rate is not None:
                    time.sleep(len(piece) / served.rate)
            self.finished[handler.path] = time.monotonic()
        except OSError:  # the client is gone, or `drop` came
            handler.close_connection = True
        finally:
            self._open.discard(handler.connection)
