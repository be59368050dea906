"""The faults happen where they were ordered, and a server that was started is gone when it is stopped."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import cluster, states
from rig.errors import RigError
from rig.processes import ProcessTable
from rig.servers.faults import Fault, faulty
from rig.servers.forward import forward_proxy
from rig.servers.program import HOST, Program, split
from rig.servers.registry import Registry
from rig.servers.s3 import ObjectStore
from rig.servers.toxiproxy import Toxiproxy
from rig.waiting import until

ANSWER = bytes(range(256)) * 1000


@pytest.fixture
def speaker() -> Iterator[str]:
    """A server that answers each connection with ANSWER, whatever it is sent, and closes it."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1)
                connection.sendall(ANSWER)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"{HOST}:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def answer(address: str) -> tuple[bytes, bool]:
    """What one connection to `address` brings, and whether it was reset."""
    heard = bytearray()
    with socket.create_connection(split(address), timeout=10) as connection:
        connection.sendall(b"?")
        try:
            while chunk := connection.recv(65536):
                heard += chunk
        except ConnectionResetError:
            return bytes(heard), True
    return bytes(heard), False


def test_without_faults_the_answer_arrives_as_it_is(speaker: str) -> None:
    with faulty(speaker) as link:
        assert answer(link.address) == (ANSWER, False)


@pytest.mark.parametrize("at", [0, 1, 16_383, 16_384, 200_001, len(ANSWER) - 1])
def test_a_flip_changes_one_bit_of_that_byte_once(speaker: str, at: int) -> None:
    with faulty(speaker, Fault("flip", at)) as link:
        damaged, _ = answer(link.address)
        assert [i for i, (a, b) in enumerate(zip(ANSWER, damaged, strict=True)) if a != b] == [at]
        assert damaged[at] == ANSWER[at] ^ 1
        assert answer(link.address) == (ANSWER, False)
        assert link.struck == [Fault("flip", at)]
        until(lambda: link.ended == 2, timeout=10, failure=lambda: AssertionError(link.ended))
        assert link.carried == 2 * len(ANSWER)


@pytest.mark.parametrize("at", [0, 1, 16_384, 200_001, len(ANSWER) - 1])
def test_a_cut_ends_the_connection_before_that_byte(speaker: str, at: int) -> None:
    with faulty(speaker, Fault("cut", at)) as link:
        assert answer(link.address) == (ANSWER[:at], False)
        assert answer(link.address) == (ANSWER, False)


def test_a_reset_is_a_reset_and_every_strikes_again(speaker: str) -> None:
    with faulty(speaker, Fault("reset", 100_000, every=True)) as link:
        for _ in range(2):
            heard, reset = answer(link.address)
            assert reset
            assert heard == ANSWER[: len(heard)]
            assert len(heard) <= 100_000
        assert len(link.struck) == 2


def test_what_follows_the_end_of_a_connection_waits_for_the_next(speaker: str) -> None:
    with faulty(speaker, Fault("flip", 5), Fault("cut", 10), Fault("flip", 20)) as link:
        assert answer(link.address) == (bytes([*ANSWER[:5], ANSWER[5] ^ 1, *ANSWER[6:10]]), False)
        second, _ = answer(link.address)
        assert (second[:20], second[20], second[21:]) == (ANSWER[:20], ANSWER[20] ^ 1, ANSWER[21:])


def test_a_reset_on_the_way_is_passed_on(speaker: str) -> None:
    with faulty(speaker, Fault("reset", 50_000)) as far, faulty(far.address) as near:
        assert answer(near.address)[1]


def test_an_open_connection_ends_with_the_link(speaker: str) -> None:
    with faulty(speaker) as link:
        idle = socket.create_connection(split(link.address), timeout=10)
    with idle, contextlib.suppress(ConnectionResetError):  # where the link ended before it had accepted
        assert idle.recv(1) == b""


def test_the_forward_proxy_carries_whole_urls_and_tunnels(speaker: str) -> None:
    with forward_proxy({"models.example:80": speaker}, credentials="node:site") as proxy:
        client = http.client.HTTPConnection(proxy.address, timeout=10)
        client.request("GET", "http://models.example:80/m")
        assert client.getresponse().status == 407
        client.close()
        with socket.create_connection(split(proxy.address), timeout=10) as tunnel:
            tunnel.sendall(f"CONNECT models.example:80 HTTP/1.1\r\nProxy-Authorization: {proxy.basic}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += tunnel.recv(1)
            assert head.startswith(b"HTTP/1.1 200")
            tunnel.sendall(b"?")
            heard = b""
            while chunk := tunnel.recv(65536):
                heard += chunk
        assert heard == ANSWER
        assert proxy.seen == ["GET http://models.example:80/m", "CONNECT models.example:80"]


@pytest.mark.parametrize("address", ["", "127.0.0.1", ":80", "127.0.0.1:http"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(RigError, match="is not HOST:PORT"):
        split(address)


@pytest.mark.contract
def test_the_programs_answer_and_leave_nothing() -> None:
    state = states.make()
    try:
        registry = Registry(state, "registry").start()
        store = ObjectStore(state, "s3").start()
        toxiproxy = Toxiproxy(state, "toxiproxy").start()
        with toxiproxy.link(registry.address) as link:
            assert _status(link.address) == 200
            link.down()
            with pytest.raises(ConnectionRefusedError):
                _status(link.address)
            link.up()
            assert _status(link.address) == 200
        with socket.create_connection(split(store.address), timeout=10):
            pass
        assert len(ProcessTable(state / "processes").records()) == 3
        assert [line for line in cluster.down(state) if "process" in line] == [
            "process registry", "process s3", "process toxiproxy",
        ]  # fmt: skip
        assert ProcessTable(state / "processes").records() == []
    finally:
        cluster.down(state)


@pytest.mark.contract
def test_a_program_that_does_not_start_says_why(tmp_path: Path) -> None:
    program = Program(tmp_path, "registry")
    with pytest.raises(RigError, match=r"registry ended while it was starting(.|\n)*no-such-file"):
        program.start("registry", ["serve", "/no-such-file"], 1)


def _status(address: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    finally:
        connection.close()
