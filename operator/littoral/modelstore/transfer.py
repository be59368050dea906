"""Reading a stream once, front to back, through whatever the link does meanwhile.

A Download is a file-like object for the unpacker: it hashes and counts every byte before anyone sees it, resumes where
the connection was cut, and holds one chunk in memory. Attempts that bring nothing are counted and backed off; one that
brings at least a chunk starts the count anew, so a slow link with many cuts finishes.

How long a source may be dead depends on what is at stake. As long as nothing is, some attempts in a row end it, and
the kubelet's own back-off takes over: the pod shows what goes on, and nothing holds the lock meanwhile. That is so
before the first bytes, and of a single file always, whose part another process resumes. What an archive or a folder
became is lost with the process: for its sake that goes on for a quarter of an hour without a byte.

A host that sends a byte now and then is a dead one as well: `sources.paced` cuts it off once a minute, and each of
those minutes is one attempt that brought nothing.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeVar

from littoral.modelstore.errors import SourceUnreachable, TooLarge
from littoral.modelstore.sources import CHUNK, Source

_log: Final = logging.getLogger(__name__)
_LONGEST_WAIT: Final = 30.0
"""The most that a Retry-After is obeyed, in seconds; a server that asks for more is the kubelet's to come back to."""
_LONGEST_SILENCE: Final = 60.0
"""The most seconds of an attempt that count as an outage: one that lasts longer has brought something meanwhile, for
`sources.paced` would have cut it off."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long attempts may bring nothing, and how long to wait between two; times are in seconds.

    While nothing is at stake, `attempts` in a row end it, after some 15 s and the time that they take themselves. With
    bytes at stake it is `staked` that must have passed, waits and attempts together. The wait is `first`, doubled up to
    `most`.
    """

    attempts: int = 6
    staked: float = 900.0
    first: float = 0.5
    most: float = 15.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def wait(self, failures: int, asked: float | None) -> float:
        """Wait after the given number of failures in a row, at least what the server asked for, within reason.

        Returns how long.
        """
        backoff = self.most if failures > 30 else min(self.first * 2.0 ** (failures - 1), self.most)
        seconds = max(backoff, min(asked or 0.0, _LONGEST_WAIT))
        self.sleep(seconds)
        return seconds


class _Outage:
    """Failures in a row, and for how long they have lasted."""

    def __init__(self, patience: Patience) -> None:
        self.failures, self._seconds = 0, 0.0
        self._patience = patience
        self._begun = patience.clock()

    def attempt(self) -> None:
        """An attempt begins."""
        self._begun = self._patience.clock()

    def failed(self, received: int) -> None:
        """Count an attempt that brought so many bytes; a whole chunk of them is the end of what was before."""
        if received >= CHUNK:
            self.failures, self._seconds = 1, 0.0
        else:
            self.failures += 1
            self._seconds += min(self._patience.clock() - self._begun, _LONGEST_SILENCE)

    def over(self, *, staked: bool) -> bool:
        """Tell whether it lasts too long, with or without bytes at stake."""
        return self._seconds >= self._patience.staked if staked else self.failures >= self._patience.attempts

    def wait(self, asked: float | None) -> None:
        """Wait before the next attempt."""
        self._seconds += self._patience.wait(self.failures, asked)


_T = TypeVar("_T")


def patiently(ask: Callable[[], _T], patience: Patience) -> _T:
    """Return what `ask` returns, a small thing for which nothing is at stake. Raises what it raises, at last."""
    outage = _Outage(patience)
    while True:
        try:
            return ask()
        except SourceUnreachable as error:
            outage.failed(0)
            if not error.retry or outage.over(staked=False):
                raise
            _log.warning("%s; trying again", error)
            outage.wait(error.retry_after)


class Progress:
    """Logs, every few seconds, how far a transfer is and how fast it goes."""

    def __init__(self, what: str, every: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._every, self._clock = what, every, clock
        self._said, self._bytes = clock(), 0

    def at(self, received: int, total: int | None) -> None:
        """Note that `received` bytes of `total` (None: unknown) are here."""
        now = self._clock()
        if (elapsed := now - self._said) < self._every:
            return
        rate = (received - self._bytes) / elapsed
        of = f" of {total / 2**20:.1f} MiB ({100 * received / total:.0f} %)" if total else ""
        _log.info("%s: %.1f MiB%s, %.1f MiB/s", self._what, received / 2**20, of, rate / 2**20)
        self._said, self._bytes = now, received


class Tally:
    """What a whole artifact has brought, over all the streams that it comes in: its limit and its progress.

    `total` is the size of the artifact where it is known. Methods raise TooLarge beyond `limit`.
    """

    def __init__(
        self, what: str, *, limit: int | None = None, total: int | None = None, progress: Progress | None = None
    ) -> None:
        self.what, self.total, self.received = what, total, 0
        self._limit = limit
        self._progress = progress or Progress(what)
        self.expect(total or 0)

    def expect(self, size: int) -> None:
        """Note that the artifact has at least `size` bytes."""
        if self._limit is not None and size > self._limit:
            raise TooLarge(
                f"{self.what} has more than the {self._limit} bytes that its size declares (at least {size})"
            )

    def add(self, size: int) -> None:
        """Note that `size` more bytes are here."""
        self.received += size
        self.expect(self.received)
        self._progress.at(self.received, self.total)


class Download:
    """One stream being read: an artifact, or a part of one whose `tally` it then shares.

    With `start`, that many bytes are here already and `digest` has seen them. `read` raises TooLarge as soon as more
    than `limit` bytes are there or announced, SourceUnreachable when patience is out, SourceChanged when the source
    began to hand out something else. `resumed` tells whether the bytes were joined from several answers; `total` and
    `validator` are what the source announced, known after the first read. `kept` is the caller's to set: what came
    outlives this process, so that nothing is lost by giving up.
    """

    def __init__(
        self,
        source: Source,
        *,
        what: str,
        limit: int | None = None,
        patience: Patience | None = None,
        tally: Tally | None = None,
        start: int = 0,
        digest: "hashlib._Hash | None" = None,
    ) -> None:
        self.received = self.start = start
        self.total: int | None = None
        self.validator: str | None = None
        self.resumed = start > 0
        self.kept = False
        self.what = what
        self._source = source
        self._whole = tally is None
        self._tally = tally or Tally(what, limit=limit)
        self._patience = patience or Patience()
        self._hash = digest or hashlib.sha256()
        self._chunks = self._resuming()
        self._pending = b""
        self._position = 0
        if start:
            self._tally.add(start)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, as many as are at hand; b"" at the end."""
        if self._position == len(self._pending):
            self._pending, self._position = next(self._chunks, b""), 0
        if self._position == 0 and len(self._pending) <= size:
            self._position = len(self._pending)
            return self._pending
        piece = self._pending[self._position : self._position + size]
        self._position += len(piece)
        return piece

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes (fewer at the end) without taking them."""
        while len(self._pending) - self._position < size and (chunk := next(self._chunks, b"")):
            self._pending, self._position = self._pending[self._position :] + chunk, 0
        return self._pending[self._position : self._position + size]

    def chunks(self) -> Generator[bytes, None, None]:
        """Yield what is left."""
        while chunk := self.read(CHUNK):
            yield chunk

    def finish(self) -> str:
        """Read what is left and return the SHA-256 of the whole as hex digits."""
        for _ in self.chunks():
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let go of the connection."""
        self._chunks.close()

    def _resuming(self) -> Generator[bytes, None, None]:
        outage = _Outage(self._patience)
        while True:
            begun = self.received
            outage.attempt()
            try:
                yield from self._attempt()
            except SourceUnreachable as error:
                outage.failed(self.received - begun)
                # Less than a chunk comes again in no time.
                staked = not self.kept and self._tally.received >= CHUNK
                if not error.retry or outage.over(staked=staked):
                    raise SourceUnreachable(self._given_up(error, outage.failures)) from error
                _log.warning("%s, after %d bytes; trying again", error, self.received)
                outage.wait(error.retry_after)
                self.resumed = self.received > 0
            else:
                return

    def _attempt(self) -> Generator[bytes, None, None]:
        stream = self._source.open(self.received)
        self.total, self.validator = stream.total, stream.validator
        if self._whole:
            self._tally.total = stream.total
        with closing(stream.chunks):
            self._tally.expect(self._tally.received - self.received + (stream.total or 0))
            for chunk in stream.chunks:
                self.received += len(chunk)
                self._hash.update(chunk)
                self._tally.add(len(chunk))
                yield chunk
        if stream.total is not None and self.received < stream.total:
            missing = stream.total - self.received
            raise SourceUnreachable(f"{self.what} ended with {missing} bytes to come", retry=True)

    def _given_up(self, error: SourceUnreachable, failures: int) -> str:
        return f"{error} ({failures} attempts in a row, {self.received} bytes received)" if failures > 1 else str(error)
