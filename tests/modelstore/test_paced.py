"""The pace of a body: what a dripping host is, and when what came is handed on."""

import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

import pytest
from tests.modelstore.conftest import Origin, Resource
from tests.modelstore.test_credentials import opened

from littoral.modelstore.access import Access
from littoral.modelstore.errors import SourceUnreachable
from littoral.modelstore.sources import CHUNK, Stream
from littoral.modelstore.sources.paced import LEAST, WINDOW, paced
from littoral.modelstore.transfer import Download, Patience, Progress, Tally


@dataclass
class Link:
    """Brings pieces, each after some seconds."""

    pieces: Iterable[tuple[float, int]]
    now: float = 0.0
    sent: int = 0
    closed: bool = False

    def clock(self) -> float:
        return self.now

    def bring(self) -> Generator[bytes, None, None]:
        try:
            for seconds, size in self.pieces:
                self.now += seconds
                self.sent += size
                yield bytes(size)
        finally:
            self.closed = True

    def chunks(self) -> Generator[bytes, None, None]:
        return paced(self.bring(), "https://user:hidden@models.site/m?token=hidden", self.clock)


def test_a_fast_link_brings_whole_chunks() -> None:
    sizes = [len(chunk) for chunk in Link([(0.001, 16_000)] * 100).chunks()]

    assert sum(sizes) == 1_600_000
    assert all(CHUNK <= size < CHUNK + 16_000 for size in sizes[:-1])


def test_a_slow_link_hands_on_what_came_within_a_second() -> None:
    sizes = [len(chunk) for chunk in Link([(0.4, 100)] * 9).chunks()]

    assert sizes == [300, 300, 300]


@pytest.mark.parametrize(("every", "size"), [(29.0, 1), (1.0, (LEAST - 1) // 60), (59.0, 400)])
def test_a_drip_is_a_cut(every: float, size: int) -> None:
    link = Link([(every, size)] * 1000)

    with pytest.raises(SourceUnreachable) as cut:
        list(link.chunks())

    assert cut.value.retry
    assert (
        str(cut.value) == f"https://models.site/m sent {link.sent} bytes within {link.now:.0f} s, which counts as a cut"
    )
    assert link.sent < LEAST
    assert WINDOW <= link.now < 2 * WINDOW
    assert link.closed


def test_the_slowest_link_that_models_are_brought_over_is_none() -> None:
    assert sum(map(len, Link([(1.0, 300)] * 3600).chunks())) == 3600 * 300


def test_a_link_that_stalls_and_comes_back_is_none() -> None:
    assert sum(map(len, Link([(29.0, 5000)] * 100).chunks())) == 500_000


def test_time_in_which_nobody_asked_is_not_the_links() -> None:
    link = Link([(0.1, 10)] * 20)
    for _ in link.chunks():
        link.now += 3600


def test_what_came_before_a_cut_is_handed_on() -> None:
    def cut() -> Generator[bytes, None, None]:
        yield b"abc"
        raise SourceUnreachable("cut", retry=True)

    chunks = paced(cut(), "https://models.site/m")

    assert next(chunks) == b"abc"
    with pytest.raises(SourceUnreachable, match="cut"):
        next(chunks)


@dataclass
class Dripping:
    """A host that sends a byte within each limit of a byte, and whose clock is the link's."""

    links: list[Link] = field(default_factory=list)

    def open(self, offset: int) -> Stream:  # noqa: ARG002 - each link brings but drops
        link = Link([(29.0, 1)] * 1000, self.clock())
        self.links.append(link)
        return Stream(link.chunks(), 1_000_000)

    def clock(self) -> float:
        return self.links[-1].now if self.links else 0.0


def test_a_host_that_drips_is_given_up_and_progress_is_logged_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    host = Dripping()
    tally = Tally("models/plate", progress=Progress("models/plate", clock=host.clock))
    download = Download(host, what="models/plate", patience=Patience(sleep=lambda _: None), tally=tally)

    with caplog.at_level(logging.INFO), pytest.raises(SourceUnreachable, match=r"\(6 attempts in a row, 18 bytes"):
        download.finish()

    assert caplog.text.count("models/plate: 0.0 MiB") >= len(host.links)
    assert host.clock() < 6 * 2 * WINDOW


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_a_source_hands_on_what_is_there_before_a_chunk_is_full(kind: str, origin: Origin) -> None:
    uri = origin.put("/models/m", Resource(bytes(CHUNK), pace=0.6))
    origin.resources["/models/m"].headers["Last-Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT"
    access = Access(settings={"AWS_ENDPOINT_URL": uri.removesuffix("/models/m")})

    sizes = [len(chunk) for chunk in opened("s3://models/m" if kind == "s3" else uri, access).open(0).chunks]

    assert sum(sizes) == CHUNK
    assert len(sizes) > 1, "a link of 100 KiB/s is heard of each second"
