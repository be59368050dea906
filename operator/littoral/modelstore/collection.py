"""Room for one more artifact: what a namespace's cache may take on a node, and what goes when that is not enough.

The cache takes the bytes of its entries, those of parts that dead fetches left, and what fetches under way have
reserved; what lies in import/ was put there by people and is theirs. Room is made and reserved in one step under the
books (modelstore.locks), so fetches that run at a time never promise the same bytes twice, of the quota or of the disk.
First go parts that no pin
names, then entries that no pin names, least recently used first, then parts at large. Nothing goes where all of it
would not be enough.

**What is held is never collected.** Whoever is to lay out an artifact writes its digest into a pin, under the books,
*before* it looks for it; the collector reads the pins under the books *before* it takes anything, and takes it before
it lets go of them. So of the two, either the pin came first and the artifact stays, or the collector did and the
artifact is not found and fetched anew. What is being fetched or verified has its digest's lock taken, and the collector
leaves that alone, too.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from littoral.api.group import ANNOTATION_CACHE_QUOTA
from littoral.modelstore.cache import Cache, stored_size
from littoral.modelstore.errors import CacheFull, DiskFull
from littoral.modelstore.files import read_kept
from littoral.modelstore.pins import PATIENCE, Pin

MOST: Final = 20 << 30
SHARE: Final = 10
"""The default quota in bytes, and the part of the disk which it does not exceed: one of so many."""
RESERVE: Final = 64 << 20
"""Bytes that a fetch leaves free: a node's disk filled to the brim takes the kubelet down with it."""
_STEP: Final = 64 << 20
"""Bytes reserved at a time for what an archive expands to."""
_NAMED: Final = 4
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Victim:
    digest: str
    size: int
    is_entry: bool


@dataclass(frozen=True, slots=True)
class _Need:
    """What an artifact is to take: `total` bytes, of which `present` are on the disk."""

    digest: str
    total: int
    present: int


class Collector:
    """Keeps a cache within `quota` bytes (None: the default) and never takes the digests `needed` by this process.

    `freed` has the digests of the entries that were collected.
    """

    def __init__(self, cache: Cache, *, quota: int | None = None, needed: frozenset[str] = frozenset()) -> None:
        self._cache, self._quota, self._needed = cache, quota, needed
        self.freed: list[str] = []

    def quota(self) -> int:
        """Return the bytes that the cache may take. Raises OSError."""
        if self._quota is not None:
            return self._quota
        disk = os.statvfs(self._cache.root)
        return min(MOST, disk.f_blocks * disk.f_frsize // SHARE)

    def free(self) -> int:
        """Return the bytes that may still be written to the disk. Raises OSError."""
        disk = os.statvfs(self._cache.root)
        return disk.f_bavail * disk.f_frsize

    def taken(self, *, but: str = "") -> int:
        """Return the bytes that the cache takes, without the part of the digest `but`. Raises OSError."""
        return sum(self._cache.sizes().values()) + sum(
            self._staged(digest) for digest in self._cache.staged_digests() if digest != but
        )

    def reserve(self, digest: str, total: int, present: int, *, spare: int = 0) -> int:
        """Let `digest`, whose lock the caller holds, take `total` bytes, of which `present` are there already.

        Where nothing must go for it, `spare` bytes more are reserved. Return how many were. Raises CacheFull,
        DiskFull, OSError.
        """
        doomed: list[Path] = []
        try:
            with self._cache.locks.books():
                if self._lacking(_Need(digest, total + spare, present)):
                    self._make_room(_Need(digest, total, present), doomed)
                    spare = 0
                self._cache.reservation(digest).write_text(str(total + spare), encoding="ascii")
        finally:
            for each in doomed:
                self._cache.dispose(each)
        return total + spare

    def relieve(self) -> bool:
        """Make a little room on a disk that takes nothing any more; False where nobody can spare anything."""
        with ExitStack() as locks:
            with self._cache.locks.books(PATIENCE):
                for victim in self._victims("", self._cache.pins.holders()):
                    if victim.size and locks.enter_context(self._cache.locks.attempt(victim.digest)):
                        doomed = self._take(victim)
                        break
                else:
                    return False
            self._cache.dispose(doomed)
        return True

    def _make_room(self, need: _Need, doomed: list[Path]) -> None:
        pins, lacking = self._cache.pins.holders(), self._lacking(need)
        with ExitStack() as locks:
            chosen: list[_Victim] = []
            for victim in self._victims(need.digest, pins):
                if lacking <= 0:
                    break
                # What another container has in its hands makes no room, and for nothing nothing goes.
                if locks.enter_context(self._cache.locks.attempt(victim.digest)):
                    chosen.append(victim)
                    lacking -= victim.size
            if lacking > 0:
                self._refuse(need, pins)
            doomed.extend(path for victim in chosen if (path := self._take(victim)))

    def _lacking(self, need: _Need) -> int:
        """How many bytes must go before `need` fits within the quota and on the disk."""
        beyond_quota = self.taken(but=need.digest) + need.total - self.quota()
        beyond_disk = need.total - need.present + RESERVE - self._unpromised(need.digest)
        return max(0, beyond_quota, beyond_disk)

    def _unpromised(self, digest: str) -> int:
        """The bytes free on the disk that no other fetch has reserved."""
        others = (each for each in self._cache.staged_digests() if each != digest)
        return self.free() - sum(self._staged(each) - self._written(each) for each in others)

    def _refuse(self, need: _Need, pins: dict[str, Pin | None]) -> None:
        taken, quota = self.taken(but=need.digest), self.quota()
        if taken + need.total <= quota:
            raise self._disk_full(need)
        held = sum(size for digest, size in self._cache.sizes().items() if self._is_held(digest, pins))
        raise CacheFull(
            f"the models of this namespace may take {_mib(quota)} of this node and take {_mib(taken)}, {_mib(held)} of "
            f"it for what slices serve, served last or will serve next ({_named(pins)}); {_mib(need.total)} more are "
            f"needed: raise the annotation {ANNOTATION_CACHE_QUOTA} of the namespace, or delete a model of it"
        )

    def _disk_full(self, need: _Need) -> DiskFull:
        size, free = need.total - need.present, max(0, self._unpromised(need.digest))
        return DiskFull(
            f"the node has {_mib(free)} free below the model cache and {_mib(size + RESERVE)} are needed "
            f"({_mib(size)} and {_mib(RESERVE)} in reserve); free space on the node"
        )

    def _victims(self, digest: str, pins: dict[str, Pin | None]) -> Iterator[_Victim]:
        parts = [part for part in self._cache.staged_digests() if part != digest and part not in self._needed]
        held = {part for part in parts if self._is_held(part, pins)}
        yield from (_Victim(part, self._staged(part), is_entry=False) for part in parts if part not in held)
        sizes = self._cache.sizes()
        free = (each for each in sizes if each != digest and not self._is_held(each, pins))
        for each in sorted(free, key=lambda each: (self._cache.used(each), each)):
            yield _Victim(each, sizes[each], is_entry=True)
        yield from (_Victim(part, self._staged(part), is_entry=False) for part in parts if part in held)

    def _is_held(self, digest: str, pins: dict[str, Pin | None]) -> bool:
        if digest in self._needed or any(pin is None or digest in pin.digests() for pin in pins.values()):
            return True
        return self._cache.is_kept(digest)

    def _take(self, victim: _Victim) -> Path | None:
        """Take away a victim whose lock is held; return what to dispose of once the books are let go of."""
        digest, size = victim.digest, victim.size
        if not victim.is_entry:
            _log.info("a part of sha256:%s is removed to make room (%d bytes)", digest, size)
            return self._cache.take_part(digest)
        idle = max(0.0, time.time() - self._cache.used(digest)) / 3600
        _log.info("sha256:%s is removed to make room (%d bytes, last used %.1f h ago)", digest, size, idle)
        self.freed.append(digest)
        return self._cache.take_away(digest)

    def _staged(self, digest: str) -> int:
        """The bytes that a fetch under way may come to, or that a dead one left."""
        try:
            reserved = int(read_kept(self._cache.reservation(digest)) or b"0")
        except ValueError:
            reserved = 0
        return max(reserved, self._written(digest))

    def _written(self, digest: str) -> int:
        return stored_size(self._cache.staged(digest) / "content")


class Allowance:
    """The room of one artifact that is being fetched: what `receive` asks before it writes."""

    def __init__(self, collector: Collector, digest: str, present: int) -> None:
        self._collector, self._digest = collector, digest
        self._spent, self._reserved, self._unchecked = present, 0, 0

    def require(self, size: int) -> None:
        """Make room for `size` more bytes. Raises CacheFull, DiskFull, OSError."""
        self._reserve(self._spent + size, spare=0)

    def spend(self, size: int) -> None:
        """Note that `size` bytes are about to be written. Raises CacheFull, DiskFull, OSError."""
        # What an archive expands to is not known beforehand.
        self._reserve(self._spent + size, spare=_STEP)
        self._spent += size
        self._unchecked += size
        if self._unchecked >= RESERVE // 4:
            # Others write to the disk as well.
            if self._collector.free() < RESERVE:
                self._collector.reserve(self._digest, self._reserved, self._spent)
            self._unchecked = 0

    def _reserve(self, total: int, *, spare: int) -> None:
        if total > self._reserved:
            self._reserved = self._collector.reserve(self._digest, total, self._spent, spare=spare)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _named(pins: dict[str, Pin | None]) -> str:
    names = sorted(pins)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) + more) or "none"
