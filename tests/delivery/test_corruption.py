"""Bytes that are not the promised ones, by a bad disk at the source or on the way: named, and never within reach."""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.delivery.artifacts import TAR_GZ, TAR_ZST, WEIGHTS, sha256
from tests.delivery.conftest import KINDS, Servers
from tests.delivery.node import Node

from rig.servers.faults import Fault, faulty

pytestmark = pytest.mark.contract

ENCRYPTED = sorted(kind for kind in KINDS if kind.startswith("https-") or "-private-" in kind)
PLAIN = sorted(set(KINDS) - set(ENCRYPTED))
MIDDLE = 300_000
"""A byte of the model's weights, whatever the protocol says before them."""

STORED: dict[str, tuple[bytes, Callable[[Servers], Path]]] = {
    "s3-file": (WEIGHTS, lambda servers: servers.store.object("model.onnx")),
    "s3-tar-zst": (TAR_ZST, lambda servers: servers.store.object("model.tar.zst")),
    "oci-modelpack-gz": (TAR_GZ, lambda servers: servers.registry.blob(sha256(TAR_GZ))),
    "oci-oras-file": (WEIGHTS, lambda servers: servers.registry.blob(sha256(WEIGHTS))),
    "oci-private-modelpack-zst": (TAR_ZST, lambda servers: servers.private_registry.blob(sha256(TAR_ZST))),
}
"""The file in which a server keeps what it hands out, and what it is to hold."""


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@contextlib.contextmanager
def holding(file: Path, data: bytes) -> Iterator[None]:
    """Have `file` hold other bytes while the block runs."""
    sound = file.read_bytes()
    file.write_bytes(data)
    try:
        yield
    finally:
        file.write_bytes(sound)


@pytest.mark.parametrize("kind", sorted(STORED))
def test_a_bad_disk_at_the_source_is_named_with_both_digests(node: Node, servers: Servers, kind: str) -> None:
    published = KINDS[kind](servers)
    data, file = STORED[kind]
    damaged = flipped(data, MIDDLE)
    with holding(file(servers), damaged):
        report = node.fetch(node.request(published))

    assert (report.outcome, report.reason) == ("failed", "DigestMismatch")
    assert sha256(damaged) in report.message
    assert sha256(data) in report.message
    assert node.empty()
    assert node.wrong(published) == ""


def test_a_manifest_that_is_not_the_promised_one_is_named_with_both_digests(node: Node, servers: Servers) -> None:
    published = KINDS["oci-modelpack-raw"](servers)
    file = servers.registry.blob(published.sha256)
    damaged = file.read_bytes().replace(b"labels.txt", b"1/other.py")
    with holding(file, damaged):
        report = node.fetch(node.request(published))

    assert (report.outcome, report.reason) == ("failed", "DigestMismatch")
    assert sha256(damaged) in report.message
    assert published.sha256 in report.message
    assert node.empty()


@pytest.mark.parametrize("kind", PLAIN)
def test_a_bit_flipped_on_the_way_is_a_mismatch(node: Node, servers: Servers, kind: str) -> None:
    published = KINDS[kind](servers)
    with faulty(published.upstream, Fault("flip", MIDDLE, every=True)) as link:
        report = node.fetch(node.request(published, link.address))

    assert link.struck
    assert (report.outcome, report.reason) == ("failed", "DigestMismatch")
    digests = set(re.findall("[0-9a-f]{64}", report.message))
    assert published.sha256 in digests
    # What was promised and what came; of a registry also the digest of the manifest, which stands in the URI.
    assert len(digests) == (3 if kind.startswith("oci-") else 2)
    assert node.empty()
    assert node.wrong(published) == ""


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_under_tls_a_flipped_bit_is_a_cut_and_survived(node: Node, servers: Servers, kind: str) -> None:
    published = KINDS[kind](servers)
    with faulty(published.upstream, Fault("flip", MIDDLE)) as link:
        report = node.fetch(node.request(published, link.address))

    assert len(link.struck) == 1
    assert report.ok, report.message
    assert node.serves(published)


def test_what_served_goes_on_serving(node: Node, servers: Servers, tmp_path: Path) -> None:
    """The next version arrives damaged, in the pod that is to replace the one that serves."""
    serving, following = KINDS["http-tar"](servers), KINDS["s3-tar-zst"](servers)
    assert node.fetch(node.request(serving)).ok
    replacement = tmp_path / "models-of-the-next-pod"
    replacement.mkdir()
    with faulty(following.upstream, Fault("flip", MIDDLE, every=True)) as link:
        report = node.fetch(replace(node.request(following, link.address), repository=str(replacement)))

    assert report.reason == "DigestMismatch"
    assert list(replacement.iterdir()) == []
    assert node.serves(serving)
    assert node.fetch(node.request(serving)).models[0].source == "cache"
