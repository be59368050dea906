"""Media carried to the node by hand: files, archives and folders below import/, good, damaged and not there yet."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.delivery.artifacts import FILES, TAR_GZ, TAR_ZST, WEIGHTS, folder_digest, sha256
from tests.delivery.node import Node, Published
from tests.delivery.web import ONNX

pytestmark = pytest.mark.contract


def carried(path: str, files: Mapping[str, bytes], digest: str) -> Published:
    """What lies below import/ of the namespace's folder on the node, named by file:///import/PATH."""
    single = set(files) == {"line-3/model.onnx"}
    return Published(
        upstream="",
        uri=lambda _: f"file:///import/{path}",
        sha256=digest,
        size=sum(map(len, files.values())),
        files=ONNX if single else FILES,
        format="onnx" if single else "python",
        imported=files,
    )


MEDIA = {
    "file": carried("line-3/model.onnx", {"line-3/model.onnx": WEIGHTS}, sha256(WEIGHTS)),
    "tar-gz": carried("model.tar.gz", {"model.tar.gz": TAR_GZ}, sha256(TAR_GZ)),
    "tar-zst": carried("model.tar.zst", {"model.tar.zst": TAR_ZST}, sha256(TAR_ZST)),
    "folder": carried("plate/", {f"plate/{path}": FILES[path] for path in FILES}, folder_digest(FILES)),
}


@pytest.mark.parametrize("medium", MEDIA)
def test_what_was_carried_to_the_node_is_served(node: Node, medium: str) -> None:
    published = MEDIA[medium]

    report = node.fetch(node.request(published))

    assert report.ok, report.message
    assert node.serves(published)


@pytest.mark.parametrize("medium", MEDIA)
def test_a_damaged_copy_is_a_mismatch_and_a_better_one_is_taken(node: Node, medium: str) -> None:
    published = MEDIA[medium]
    path = max(published.imported, key=lambda name: len(published.imported[name]))
    data = published.imported[path]
    damaged = {**published.imported, path: data[:100] + bytes([data[100] ^ 1]) + data[101:]}

    report = node.fetch(node.request(replace(published, imported=damaged)))

    assert (report.outcome, report.reason) == ("failed", "DigestMismatch")
    assert published.sha256 in report.message
    assert node.empty()
    assert node.wrong(published) == ""

    better = node.fetch(node.request(published))
    assert better.ok, better.message
    assert node.serves(published)


@pytest.mark.parametrize("medium", MEDIA)
def test_what_was_not_carried_yet_is_asked_for(node: Node, medium: str) -> None:
    published = MEDIA[medium]

    report = node.fetch(node.request(replace(published, imported={})))

    assert (report.outcome, report.reason) == ("failed", "SourceUnreachable")
    assert published.uri("").removesuffix("/") in report.message
    assert node.empty()
    assert node.fetch(node.request(published)).ok
