"""Origins for tests that hand out what they are told to, and what is received from them."""

import gzip
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from littoral.modelstore.errors import DiskFull, FetchError, SourceUnreachable
from littoral.modelstore.receive import Received, receive
from littoral.modelstore.sources import Member, Origin, SourceChanged, Stream
from littoral.modelstore.transfer import Patience
from littoral.modelstore.zst import zstd

FILE = bytes(range(251)) * 40
FILES = {"1/model.onnx": FILE, "1/weights/a": FILE[:3000], "config.pbtxt": b'name: "plate"\n', "empty": b""}
COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": lambda body: gzip.compress(body, mtime=0),
    "tar.zst": zstd.compress,
}


@dataclass
class Scripted:
    """Hands out `body` from any offset; the n-th answer ends in a cut connection after `cuts[n]` bytes."""

    body: bytes
    cuts: list[int] = field(default_factory=list)
    piece: int = 700
    announced: bool = True
    opened: list[int] = field(default_factory=list)

    def open(self, offset: int) -> Stream:
        if offset > len(self.body):
            raise SourceChanged
        self.opened.append(offset)
        return Stream(self._chunks(offset), len(self.body) if self.announced else None, '"1"')

    def _chunks(self, offset: int) -> Generator[bytes, None, None]:
        end = offset + self.cuts.pop(0) if self.cuts else len(self.body) + 1
        for start in range(offset, min(end, len(self.body)), self.piece):
            yield self.body[start : min(start + self.piece, end)]
        if end <= len(self.body):
            raise SourceUnreachable("the connection was cut", retry=True)


@dataclass
class Several:
    """A folder of `given`, or with `verified` a manifest whose digests prove them."""

    given: tuple[Member, ...]
    verified: bool = False
    refusals: int = 0

    def members(self) -> tuple[Member, ...]:
        if self.refusals:
            self.refusals -= 1
            raise SourceUnreachable("the connection was cut", retry=True)
        return self.given


@dataclass
class Counted:
    """Room for `free` bytes; notes what it was asked."""

    free: int = 1 << 40
    required: list[int] = field(default_factory=list)
    spent: int = 0

    def require(self, size: int) -> None:
        self.required.append(size)
        if size > self.free:
            raise DiskFull("no room")

    def spend(self, size: int) -> None:
        self.spent += size
        if self.spent > self.free:
            raise DiskFull("no room")


def received(
    origin: Origin,
    content: Path,
    *,
    promised: str = "",
    limit: int | None = None,
    room: Counted | None = None,
    part: int = 0,
    waits: list[float] | None = None,
    last: bool = False,
) -> Received:
    patience = Patience(sleep=(waits if waits is not None else []).append)
    room = room or Counted()
    return receive(
        origin,
        content,
        promised=promised,
        what="models/plate",
        limit=limit,
        room=room,
        part=part,
        patience=patience,
        last=last,
    )


def files_in(content: Path) -> dict[str, bytes]:
    return {path.relative_to(content).as_posix(): path.read_bytes() for path in content.rglob("*") if path.is_file()}


def fails(origin: Origin, content: Path, reason: type[FetchError], **given: object) -> str:
    with pytest.raises(reason) as failed:
        received(origin, content, **given)  # type: ignore[arg-type]  # a test's keyword arguments
    return str(failed.value)
