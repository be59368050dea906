"""A Download against a real server that cuts, resets, changes and refuses."""

from collections.abc import Generator
from contextlib import closing

import pytest
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx, sha256, tar

from littoral.modelstore.digest import digest_of
from littoral.modelstore.errors import SourceUnreachable, TooLarge
from littoral.modelstore.sources import CHUNK, SourceChanged, Stream
from littoral.modelstore.sources.http import HttpSource
from littoral.modelstore.transfer import Download, Patience, Progress, Tally

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


def test_a_server_that_answers_with_less_than_was_asked_for_is_asked_for_the_rest(
    namespace: Namespace, origin: Origin
) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[2_000_000], most=1_000_000))

    assert namespace.fetch(onnx(uri, BODY)).ok
    assert len(origin.seen) >= 5
    assert set(namespace.waits) == {0.5}


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


def test_a_link_that_is_cut_every_second_still_gets_on(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[CHUNK + 100_000] * 40))

    assert namespace.fetch(onnx(uri, BODY)).ok
    assert set(namespace.waits) == {0.5}
    assert len(origin.seen) <= len(BODY) // CHUNK + 1


def test_attempts_that_bring_nothing_exhaust_it(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[0] * 20))

    report = namespace.fetch(onnx(uri, BODY))

    assert report.reason == "SourceUnreachable"
    assert len(origin.seen) == Patience().attempts


def test_with_bytes_at_stake_a_dead_source_is_waited_for_long(namespace: Namespace, origin: Origin) -> None:
    body = tar({"1/model.py": BODY}, "w")
    uri = origin.put("/m", Resource(body, cuts=[2_000_000, *[0] * 60]))

    assert namespace.fetch(onnx(uri, body)).ok

    assert len(namespace.waits) == 61
    assert sum(namespace.waits) > 600, "a link may be away for ten minutes in the middle of an archive"
    assert max(namespace.waits) <= Patience().most, "and is noticed soon after it came back"


def test_with_bytes_at_stake_a_dead_source_is_given_up_at_last(namespace: Namespace, origin: Origin) -> None:
    body = tar({"1/model.py": BODY}, "w")
    uri = origin.put("/m", Resource(body, cuts=[2_000_000, *[0] * 999]))

    report = namespace.fetch(onnx(uri, body))

    assert report.reason == "SourceUnreachable"
    assert f"{len(namespace.waits) + 1} attempts in a row" in report.message
    assert 14 * 60 < sum(namespace.waits) < 16 * 60


def test_a_file_is_given_up_within_seconds_for_its_part_is_kept(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[2_000_000, *[0] * 20]))

    assert namespace.fetch(onnx(uri, BODY)).reason == "SourceUnreachable"
    assert sum(namespace.waits) < 30

    before = len(origin.seen)
    assert namespace.fetch(onnx(uri, BODY)).reason == "SourceUnreachable"
    assert len(origin.seen) - before == Patience().attempts
    assert sum(namespace.waits) < 60, "nor with the part of an earlier process"

    origin.put("/m", Resource(BODY))
    assert namespace.fetch(onnx(uri, BODY)).ok
    assert int(str(origin.seen[-1][1]).removeprefix("bytes=").removesuffix("-")) >= 2_000_000 - CHUNK


class Mute:
    """Has ten MiB, hands out the first, and then says nothing for `silence` seconds of `now` until each is cut."""

    def __init__(self, silence: float) -> None:
        self.now, self.opened, self._silence = 0.0, 0, silence

    def open(self, offset: int) -> Stream:
        self.opened += 1
        return Stream(self._chunks(offset), 10 << 20)

    def _chunks(self, offset: int) -> Generator[bytes, None, None]:
        if offset == 0:
            yield bytes(1 << 20)
        self.now += self._silence
        raise SourceUnreachable("nothing came", retry=True)

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("silence", [0.0, 10.0, 30.0])
def test_the_time_that_attempts_take_is_part_of_the_patience(silence: float) -> None:
    """A time limit of the connection is no reason to hold the lock for three times as long."""
    source = Mute(silence)
    patience = Patience(sleep=source.wait, clock=lambda: source.now)

    with closing(Download(source, what="m", patience=patience)) as download, pytest.raises(SourceUnreachable):
        download.finish()

    assert Patience().staked <= source.now < Patience().staked + 90


def test_a_link_that_brings_something_for_minutes_is_not_dead_for_as_long() -> None:
    """Twenty minutes for less than a chunk, and a cut: what such a link is given is its number of cuts."""
    source = Mute(20 * 60.0)
    patience = Patience(sleep=source.wait, clock=lambda: source.now)

    with closing(Download(source, what="m", patience=patience)) as download, pytest.raises(SourceUnreachable):
        download.finish()

    assert source.opened > 10


class Curt:
    """Has 2500 bytes, hands out 1000 at most, and then ends as if that were all."""

    def __init__(self) -> None:
        self.opened: list[int] = []

    def open(self, offset: int) -> Stream:
        self.opened.append(offset)
        return Stream((BODY[start : min(start + 1000, 2500)] for start in [offset]), 2500)


def read_all(tally: Tally | None = None) -> Curt:
    source = Curt()
    with closing(Download(source, what="a part", patience=Patience(sleep=lambda _: None), tally=tally)) as download:
        assert download.finish() == sha256(BODY[:2500])
    return source


def test_a_stream_that_ends_too_soon_was_cut() -> None:
    assert read_all().opened == [0, 1000, 2000]


def test_a_limit_holds_over_all_streams_before_more_is_read() -> None:
    tally = Tally("model", limit=4999)
    read_all(tally)

    with pytest.raises(TooLarge, match=r"model has more than the 4999 bytes .* \(at least 5000\)"):
        read_all(tally)
    assert tally.received == 2500


def test_progress_is_that_of_all_streams(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    tally = Tally("model", total=5000, progress=Progress("model", every=5.0, clock=lambda: now[0]))
    with caplog.at_level("INFO"):
        read_all(tally)
        now[0] = 5.0
        read_all(tally)

    assert [message for message in caplog.messages if "%" in message] == [
        "model: 0.0 MiB of 0.0 MiB (70 %), 0.0 MiB/s",
    ]


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
