"""toxiproxy (github.com/Shopify/toxiproxy): a TCP proxy whose links are made slow, late, cut or reset by order.

The toxics are its own: `latency` (latency, jitter: ms), `bandwidth` (rate: KB/s), `slow_close` (delay: ms), `timeout`
(timeout: ms; swallows everything, then closes), `reset_peer` (timeout: ms; then a reset), `limit_data` (bytes; then
closes). One is put on a stream ("downstream": from server to client) and holds for every connection, those that are
open included, until it is removed.
"""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rig.errors import RigError
from rig.servers.program import HOST, Program, free_port

Toxic = Literal["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "limit_data"]
_NUMBERS = itertools.count()


class Toxiproxy:
    """The proxy's server; its links are made by `link`."""

    def __init__(self, state: Path, name: str) -> None:
        self._program = Program(state, name)
        self._port = free_port()

    def start(self) -> Toxiproxy:
        """Start it. Raises RigError."""
        arguments = ["-host", HOST, "-port", str(self._port)]
        self._program.start("toxiproxy-server", arguments, self._port, {"LOG_LEVEL": "info"})
        return self

    def stop(self) -> None:
        """End it, and every link."""
        self._program.stop()

    @contextmanager
    def link(self, upstream: str) -> Iterator[Link]:
        """A link to the server at `upstream` (HOST:PORT) that is there while the block runs."""
        name = f"link-{next(_NUMBERS)}"
        made = self.call("POST", "/proxies", {"name": name, "listen": f"{HOST}:0", "upstream": upstream})
        try:
            yield Link(self, name, str(made["listen"]))
        finally:
            self.call("DELETE", f"/proxies/{name}")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request of its API. Raises RigError."""
        # Not by urllib, which would take a proxy from the environment.
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RigError(f"toxiproxy: {method} {path}: {answer.status} {text.decode(errors='replace')}")
        return dict(json.loads(text)) if text else {}


class Link:
    """One link: connect to `address` (HOST:PORT) in place of the server."""

    def __init__(self, server: Toxiproxy, name: str, address: str) -> None:
        self.address = address
        self._server, self._path = server, f"/proxies/{name}"

    def poison(self, toxic: Toxic, stream: Literal["upstream", "downstream"] = "downstream", **attributes: int) -> None:
        """Put `toxic` on the link with its attributes."""
        body = {"name": toxic, "type": toxic, "stream": stream, "attributes": attributes}
        self._server.call("POST", f"{self._path}/toxics", body)

    def cure(self, toxic: Toxic) -> None:
        """Take `toxic` off the link; what it holds back flows on.

        toxiproxy waits up to 5 s for each connection that ended while it was held back: cure sound links only.
        """
        self._server.call("DELETE", f"{self._path}/toxics/{toxic}")

    def down(self) -> None:
        """Cut every connection and refuse new ones."""
        self._server.call("POST", self._path, {"enabled": False})

    def up(self) -> None:
        """Accept connections again."""
        self._server.call("POST", self._path, {"enabled": True})
