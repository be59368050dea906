"""The pace of a body: when pieces of it are handed on, and when so few of them come that the link counts as cut.

A read that waits for a whole chunk says nothing for as long as a bad link takes for it: what came within HOLD is handed
on, so that progress is logged and nothing that came is lost with the connection. And a time limit for each byte never
passes at a host that sends one now and then: less than LEAST bytes within WINDOW are no transfer. The slowest link that
models are brought over, a satellite telephone's 2.4 kbit/s, carries eighteen times as much.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final

from littoral.modelstore.errors import SourceUnreachable
from littoral.modelstore.sources import CHUNK, shown

HOLD: Final = 1.0
"""Seconds."""
WINDOW: Final = 60.0
"""Seconds."""
LEAST: Final = 1 << 10
"""Bytes."""


def paced(
    pieces: Generator[bytes, None, None], url: str, clock: Callable[[], float] = time.monotonic
) -> Generator[bytes, None, None]:
    """Yield what `pieces` yields, of whatever sizes, in chunks of about CHUNK bytes or of what came within HOLD.

    Raises what it raises, after all that came before; SourceUnreachable, worth a retry, below LEAST within WINDOW. Time
    in which nobody asks for the next chunk is not counted.
    """
    held: list[bytes] = []
    size, fresh, waited = 0, 0.0, 0.0
    brought = 0
    with closing(pieces):
        while True:
            asked = clock()
            try:
                piece = next(pieces, b"")
            except Exception:
                if held:
                    yield b"".join(held)
                raise
            took = clock() - asked
            fresh, waited = fresh + took, waited + took
            size, brought = size + len(piece), brought + len(piece)
            held.append(piece)
            if not piece or size >= CHUNK or fresh >= HOLD:
                if size:
                    yield b"".join(held)
                held, size, fresh = [], 0, 0.0
            if not piece:
                return
            if waited >= WINDOW:
                if brought < LEAST:
                    raise SourceUnreachable(
                        f"{shown(url)} sent {brought} bytes within {waited:.0f} s, which counts as a cut", retry=True
                    )
                waited, brought = 0.0, 0
