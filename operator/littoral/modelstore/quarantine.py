"""What was refused, and why it is not downloaded again at once.

::

    <root>/quarantine/<digest>.<source>.json   a record: what came in the place of that digest from a source (the
                                               first digits of its URI's hash), when, how often

A mismatch does not heal by itself, but the kubelet runs the container again every few minutes, and each run would pull
the whole artifact over the site's uplink to refuse it again. So the same source is not read again for the same digest
until it says that it holds something else (another validator or size, asked with one request), or a pause has passed:
FIRST, doubled with every mismatch up to LONGEST. Meanwhile the same sentence is repeated, with both digests.

The pause is counted by the node's own clock; a record from the future counts as passed. The bytes are not kept. A URI
may hold credentials in its query, so what is kept of it is a hash.
"""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from littoral.modelstore.files import read_kept, replace_file

FIRST: Final = 300.0
LONGEST: Final = 6 * 3600.0
"""Seconds."""
_SOURCE: Final = 16
"""Digits of a URI's hash in a record's name; the record has all of them."""
_FORGOTTEN: Final = 30 * 86400.0
"""Seconds after which a record is of no use to anybody."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What came from `uri` (its hash) in the place of a digest: `got` is its own, "" where a member was wrong.

    `size` (bytes) and `validator` are what the source said of it, None where it said nothing; `message` is the sentence
    that was reported; `attempts` the number of mismatches, `time` that of the last one (seconds since the epoch).
    """

    uri: str
    message: str
    got: str = ""
    size: int | None = None
    validator: str | None = None
    attempts: int = 1
    time: float = 0.0

    def pause(self) -> float:
        """Seconds from `time` on in which the source is not read again unless it changed."""
        return min(FIRST * 2.0 ** min(self.attempts - 1, 16), LONGEST)


class Quarantine:
    """The records below `folder`. The caller holds the digest's lock. Methods raise OSError."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock

    def of(self, uri: str, digest: str) -> Refusal | None:
        """Return what was refused from `uri` in the place of `digest`; None where nothing was, or its pause is over."""
        refusal = self._read(uri, digest)
        return refusal if refusal and 0 <= self._clock() - refusal.time < refusal.pause() else None

    def add(self, uri: str, digest: str, *, message: str, got: str, size: int | None, validator: str | None) -> Refusal:
        """Note one more mismatch."""
        former = self._read(uri, digest)
        refusal = Refusal(
            uri=_hashed(uri),
            message=message,
            got=got,
            size=size,
            validator=validator,
            attempts=former.attempts + 1 if former else 1,
            time=self._clock(),
        )
        self._folder.mkdir(mode=0o755, exist_ok=True)
        self._forget()
        replace_file(self._path(uri, digest), json.dumps(asdict(refusal)).encode())
        return refusal

    def lift(self, digest: str) -> None:
        """Forget what came in the place of `digest`, which is here now."""
        for path in self._folder.glob(f"{digest}.*"):
            path.unlink(missing_ok=True)

    def _read(self, uri: str, digest: str) -> Refusal | None:
        try:
            data = json.loads(read_kept(self._path(uri, digest)) or b"")
        except (ValueError, RecursionError):
            return None
        match data:
            case {
                "uri": str(of),
                "message": str(message),
                "got": str(got),
                "size": int() | None as size,
                "validator": str() | None as validator,
                "attempts": int(attempts),
                "time": float(at),
            } if of == _hashed(uri):
                return Refusal(of, message, got, size, validator, attempts, at)
        return None

    def _forget(self) -> None:
        now = self._clock()
        for path in self._folder.iterdir():
            with suppress(OSError):  # another container's, or one that the disk has lost
                if now - path.stat().st_mtime > _FORGOTTEN:
                    path.unlink()

    def _path(self, uri: str, digest: str) -> Path:
        return self._folder / f"{digest}.{_hashed(uri)[:_SOURCE]}.json"


def _hashed(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()
