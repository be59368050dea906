"""A server that is a program of the catalogue: started on a free port of loopback, awaited, stopped by its record."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.binaries import Binaries
from rig.errors import RigError, with_log
from rig.processes import ProcessTable
from rig.progress import to_stderr
from rig.waiting import until

HOST = "127.0.0.1"
_READY_SECONDS = 30.0


class Program:
    """One process called `name` in the state folder `state`; its own files belong into `folder`."""

    def __init__(self, state: Path, name: str) -> None:
        self.folder = state.absolute() / "servers" / name
        self._name = name
        self._log = state.absolute() / "logs" / f"{name}.log"
        # Where `cluster.down` of that folder finds it.
        self._table = ProcessTable(state.absolute() / "processes")

    def start(self, program: str, arguments: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> None:
        """Start `program` of the catalogue, built if need be; return once it accepts connections at `port`.

        Raises RigError, with the end of its log, if it ends or does not listen within 30 s.
        """
        path = Binaries().ensure([program], to_stderr)[program]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._table.spawn(self._name, [str(path), *arguments], log=self._log, env=env)
        until(
            lambda: self._listens(port),
            timeout=_READY_SECONDS,
            interval=0.02,
            failure=lambda: with_log(f"{self._name} does not listen after {_READY_SECONDS:.0f} s", self._log),
        )

    def stop(self) -> None:
        """End it; its files stay."""
        self._table.stop([self._name], kill=True)

    def _listens(self, port: int) -> bool:
        if not self._table.alive(self._name):
            raise with_log(f"{self._name} ended while it was starting", self._log)
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def split(address: str) -> tuple[str, int]:
    """HOST:PORT as sockets take it. Raises RigError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise RigError(f"{address!r} is not HOST:PORT")
    return host, int(port)
