"""A Download against a real server that cuts, resets, changes and refuses."""

from contextlib import closing

import pytest
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx, sha256, tar

from littoral.modelstore.digest import digest_of
from littoral.modelstore.errors import SourceUnreachable
from littoral.modelstore.sources import CHUNK, SourceChanged
from littoral.modelstore.sources.http import HttpSource
from littoral.modelstore.transfer import Download, Patience, Progress

BODY = bytes(range(251)) * 20_000  # about 5 MiB, no period in common with a chunk


def test_a_cut_connection_resumes_where_it_was_cut(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[2_000_000, 1_000_000]))

    assert namespace.fetch(onnx(uri, BODY)).ok

    first, *others = (asked for _, asked in origin.seen)
    assert first is None
    offsets = [int(str(asked).removeprefix("bytes=").removesuffix("-")) for asked in others]
    assert len(offsets) == 2
    assert 0 < offsets[0] < offsets[1] <= 3_000_000


def test_a_server_without_ranges_is_read_past_what_is_here(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, ranges=False, cuts=[3_000_000]))

    assert namespace.fetch(onnx(uri, BODY)).ok


@pytest.mark.parametrize("etag", ['"2"', None])
def test_halves_of_two_versions_are_never_taken_for_one(namespace: Namespace, origin: Origin, etag: str | None) -> None:
    old = Resource(b"x" * len(BODY), etag='"1"' if etag else None, cuts=[3_000_000])
    old.then = Resource(BODY, etag=etag)
    uri = origin.put("/m", old)

    report = namespace.fetch(onnx(uri, BODY))

    assert report.ok, "the new version is fetched in one piece"
    assert namespace.staged() == []


def test_a_changed_source_is_noticed_before_the_rest_is_read(origin: Origin) -> None:
    source = HttpSource(origin.put("/m", Resource(BODY, etag='"1"', then=Resource(BODY, etag='"2"'))))
    source.open(0).chunks.close()

    with pytest.raises(SourceChanged):
        source.open(1000)


def test_an_archive_resumes_in_the_middle_of_unpacking(namespace: Namespace, origin: Origin) -> None:
    body = tar({"1/model.py": BODY, "1/more": BODY}, "w:gz")
    uri = origin.put("/m", Resource(body, cuts=[len(body) // 3, len(body) // 3]))

    assert namespace.fetch(onnx(uri, body)).ok
    assert (namespace.repository / "plate" / "1" / "more").read_bytes() == BODY


def test_a_body_without_length_that_ends_at_its_end(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(onnx(origin.put("/m", Resource(BODY, length=False)), BODY)).ok


def test_progress_renews_patience(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY * 3, cuts=[CHUNK + 200_000] * 12))

    assert namespace.fetch(onnx(uri, BODY * 3)).ok
    assert set(namespace.waits) == {0.5}


def test_attempts_that_bring_nothing_exhaust_it(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[0] * 20))

    report = namespace.fetch(onnx(uri, BODY))

    assert report.reason == "SourceUnreachable"
    assert len(origin.seen) == Patience().attempts


def test_retry_after_is_obeyed_within_reason(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, statuses=[503, 429], headers={"Retry-After": "3"}))
    assert namespace.fetch(onnx(uri, BODY)).ok
    assert namespace.waits == [3.0, 3.0]

    uri = origin.put("/n", Resource(BODY, statuses=[503], headers={"Retry-After": "86400"}))
    assert namespace.fetch(onnx(uri, BODY + b"", name="n", sha256=sha256(BODY), size=None)).ok


def test_404_is_not_tried_again(origin: Origin) -> None:
    with pytest.raises(SourceUnreachable, match="404"):
        digest_of(HttpSource(origin.put("/m", Resource(b"", statuses=[404, 404]))), "m")
    assert len(origin.seen) == 1


def test_peek_takes_nothing_and_read_returns_every_byte_in_order(origin: Origin) -> None:
    source = HttpSource(origin.put("/m", Resource(BODY)))
    with closing(Download(source, what="m")) as download:
        assert download.peek(512) == BODY[:512]
        assert download.peek(CHUNK + 7) == BODY[: CHUNK + 7]
        pieces = []
        while piece := download.read(100_003):
            pieces.append(piece)
        assert b"".join(pieces) == BODY
        assert download.finish() == sha256(BODY)


def test_progress_says_how_far_and_how_fast(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    progress = Progress("model", every=5.0, clock=lambda: now[0])
    with caplog.at_level("INFO"):
        for now[0] in (1.0, 5.0, 6.0):
            progress.at(int(now[0]) << 20, 20 << 20)
        now[0] = 10.0
        progress.at(15 << 20, None)

    assert caplog.messages == ["model: 5.0 MiB of 20.0 MiB (25 %), 1.0 MiB/s", "model: 15.0 MiB, 2.0 MiB/s"]
