"""An HTTP proxy in this process: CONNECT for https, whole URLs for http, with a password where wanted.

It knows names that nobody else does, as a site's proxy resolves those of the world: who reaches them came through it.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import select
import socket
import urllib.parse
from collections.abc import Iterator, Mapping

from rig.servers.program import HOST, split
from rig.servers.serving import serving

_CHUNK = 65536
_HOP = frozenset(
    {"connection", "proxy-connection", "proxy-authorization", "keep-alive", "te", "transfer-encoding", "upgrade"}
)


class ForwardProxy(http.server.ThreadingHTTPServer):
    """The proxy at `address` (HOST:PORT).

    `names` maps the addresses (HOST:PORT) that it is asked for to those that it connects to; others are taken as they
    are. `credentials` is USER:PASSWORD, None: everybody may use it. `seen` holds method and target of each request.
    """

    daemon_threads = True

    def __init__(self, names: Mapping[str, str], credentials: str | None = None) -> None:
        super().__init__((HOST, 0), _Handler)
        self.names = names
        self.address = f"{HOST}:{self.server_port}"
        self.seen: list[str] = []
        self.basic = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else None

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: whoever hangs up has had what they wanted."""


@contextlib.contextmanager
def forward_proxy(names: Mapping[str, str] | None = None, *, credentials: str | None = None) -> Iterator[ForwardProxy]:
    """A proxy that is there while the block runs."""
    with serving(ForwardProxy(names or {}, credentials)) as server:
        yield server


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ForwardProxy

    def do_CONNECT(self) -> None:
        if not self._admitted():
            return
        with socket.create_connection(split(self._upstream(self.path)), timeout=10) as upstream:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            _splice(self.connection, upstream)
        self.close_connection = True

    def do_GET(self) -> None:
        self._relay()

    def do_HEAD(self) -> None:
        self._relay()

    def _relay(self) -> None:
        if not self._admitted():
            return
        url = urllib.parse.urlsplit(self.path)
        upstream = http.client.HTTPConnection(self._upstream(url.netloc), timeout=10)
        with contextlib.closing(upstream):
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            upstream.request(self.command, urllib.parse.urlunsplit(("", "", *url[2:])), headers=headers)
            answer = upstream.getresponse()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")  # its end is the answer's, whatever length was announced
            self.end_headers()
            while chunk := answer.read(_CHUNK):
                self.wfile.write(chunk)

    def _upstream(self, address: str) -> str:
        return self.server.names.get(address, address)

    def _admitted(self) -> bool:
        self.server.seen.append(f"{self.command} {self.path}")
        if self.server.basic in {None, self.headers.get("Proxy-Authorization")}:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="site"')
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        return False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass


def _splice(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    while True:
        ready, _, _ = select.select([one, other], [], [])
        for source in ready:
            chunk = source.recv(_CHUNK)
            if not chunk:
                return
            (other if source is one else one).sendall(chunk)
