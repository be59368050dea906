"""A TCP proxy with faults at exact bytes: a byte flipped, the connection cut or reset.

A fault's place is counted from the first byte that the server answers on a connection, so what happens is decided by
the list of faults and by nothing else: a test draws the list, and the same list does the same again.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rig.servers.program import HOST, split

_CHUNK = 16384
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on and zero: closing sends a reset, and what was not yet sent is lost."""


@dataclass(frozen=True)
class Fault:
    """What happens to the byte number `at` of an answer stream.

    `flip` inverts the lowest bit of it, `cut` closes before it, `reset` resets the connection before it. It strikes the
    first connection that gets that far; with `every`, each.
    """

    kind: Literal["flip", "cut", "reset"]
    at: int
    every: bool = False


class FaultyLink:
    """A link to a server: `address` is HOST:PORT. Resets of the server are passed on as what they are.

    `struck` holds the faults that happened, in their order; `carried` counts the bytes that servers answered, over all
    connections; `ended` counts the connections that are over.
    """

    def __init__(self, upstream: str, faults: Sequence[Fault]) -> None:
        self.struck: list[Fault] = []
        self.carried = 0
        self.ended = 0
        self._upstream, self._left = split(upstream), list(faults)
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.address = f"{HOST}:{self._server.server_address[1]}"

    def take(self, begin: int, end: int) -> list[Fault]:
        """The faults of the bytes from `begin` up to `end`, in their order; those that strike once are used up."""
        with self._lock:
            due = sorted((fault for fault in self._left if begin <= fault.at < end), key=lambda fault: fault.at)
            ends = next((index for index, fault in enumerate(due) if fault.kind != "flip"), len(due))
            due = due[: ends + 1]  # nothing follows the end of a connection
            self._left = [fault for fault in self._left if fault.every or fault not in due]
            self.struck += due
            return due

    def mend(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self._left.clear()

    def reroute(self, upstream: str) -> None:
        """Have new connections go to another server (HOST:PORT)."""
        self._upstream = split(upstream)

    def carry(self, client: socket.socket) -> None:
        """Carry one connection until either side ends it, or a fault does."""
        try:
            server = socket.create_connection(self._upstream, timeout=10)
        except OSError:
            return
        with server, self._open(client, server):
            server.settimeout(None)
            asking = threading.Thread(target=_pump, args=(client, server))
            asking.start()
            try:
                self._answer(server, client)
            except ConnectionResetError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass  # the link was stopped
            for end in (server, client):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RD)  # ends the other thread, and lets what was written go out
            asking.join()

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        position = 0
        while chunk := bytearray(server.recv(_CHUNK)):
            for fault in self.take(position, position + len(chunk)):
                offset = fault.at - position
                if fault.kind == "flip":
                    chunk[offset] ^= 1
                    continue
                self._send(client, chunk[:offset])
                if fault.kind == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            self._send(client, chunk)
            position += len(chunk)

    def _send(self, client: socket.socket, chunk: bytearray) -> None:
        client.sendall(chunk)
        with self._lock:
            self.carried += len(chunk)

    @contextlib.contextmanager
    def _open(self, *ends: socket.socket) -> Iterator[None]:
        with self._lock:
            self._connections.update(ends)
        try:
            yield
        finally:
            with self._lock:
                self._connections.difference_update(ends)
                self.ended += 1

    def start(self) -> None:
        """Accept connections."""
        self._server.start()

    def stop(self) -> None:
        """Refuse connections and end those that are open."""
        self._server.refuse()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()  # joins their threads


@contextlib.contextmanager
def faulty(upstream: str, *faults: Fault) -> Iterator[FaultyLink]:
    """A link to the server at `upstream` (HOST:PORT) with these faults that is there while the block runs."""
    link = FaultyLink(upstream, faults)
    link.start()
    try:
        yield link
    finally:
        link.stop()


class _Server(socketserver.ThreadingTCPServer):
    def __init__(self, link: FaultyLink) -> None:
        super().__init__((HOST, 0), _Connection)
        self.link = link
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def refuse(self) -> None:
        self.shutdown()
        self._thread.join()

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close at once: the base class's shutdown would send an end where a reset is ordered."""
        assert isinstance(request, socket.socket)  # noqa: S101  # for the type checker: the other is UDP's
        request.close()


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.link.carry(self.request)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
