"""Whether things of several sizes fit on so many boxes that are alike: exact, for the few that a node has.

Most questions are answered by a sum (it cannot) or by first fit (it can). The rest are searched: each box is filled to
the brim in every way, which loses nothing, because what lies in a later box may always be moved into room in an earlier
one. The search is bounded; what it cannot show in time to fit is taken not to.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

STEPS: Final = 5_000
"""Boxes that one search fills at most. Of 1,000 tight questions about up to eight chips none needed 500; the longest
took some 30 ms."""

Counts = tuple[int, ...]


class Vector(NamedTuple):
    """A size, or a box's room: AI cores, memory in MiB, AI CPUs."""

    cores: int
    memory: int
    cpus: int

    def within(self, room: "Vector") -> bool:
        """Whether it fits into this room on each axis."""
        return self.cores <= room.cores and self.memory <= room.memory and self.cpus <= room.cpus

    def less(self, other: "Vector", times: int = 1) -> "Vector":
        """The room that is left beside so many of the other."""
        return Vector(
            self.cores - times * other.cores, self.memory - times * other.memory, self.cpus - times * other.cpus
        )


def fits(box: Vector, boxes: int, things: Mapping[Vector, int]) -> bool:
    """Whether all of them, each whole in one box, fit into so many boxes."""
    if boxes <= 0:
        return not any(things.values())
    ordered = tuple(sorted(((size, count) for size, count in things.items() if count), reverse=True))
    return _fits(box, boxes, tuple(size for size, _ in ordered), tuple(count for _, count in ordered))


@lru_cache(maxsize=4096)  # the nodes of a fleet are alike, and so is what they hold
def _fits(box: Vector, boxes: int, sizes: tuple[Vector, ...], counts: Counts) -> bool:
    for axis in range(len(box)):
        if sum(size[axis] * count for size, count in zip(sizes, counts, strict=True)) > box[axis] * boxes:
            return False
    return _first_fit(box, boxes, sizes, counts) or _Search(box, sizes).fits(boxes, counts)


def _first_fit(box: Vector, boxes: int, sizes: tuple[Vector, ...], counts: Counts) -> bool:
    rooms = [box] * boxes
    for size in Counter(dict(zip(sizes, counts, strict=True))).elements():
        index = next((i for i, room in enumerate(rooms) if size.within(room)), None)
        if index is None:
            return False
        rooms[index] = rooms[index].less(size)
    return True


class _Search:
    """One search; what it has seen to fail is not tried again."""

    def __init__(self, box: Vector, sizes: tuple[Vector, ...]) -> None:
        self._box = box
        self._sizes = sizes
        self._failed: set[tuple[int, Counts]] = set()
        self._steps = STEPS

    def fits(self, boxes: int, counts: Counts) -> bool:
        if not any(counts):
            return True
        if boxes == 0 or (boxes, counts) in self._failed:
            return False
        for left, rest in self._fillings(self._box, counts):
            if any(count and size.within(left) for size, count in zip(self._sizes, rest, strict=True)):
                continue  # not to the brim
            self._steps -= 1
            if self._steps < 0:
                return False
            if self.fits(boxes - 1, rest):
                return True
        self._failed.add((boxes, counts))
        return False

    def _fillings(self, room: Vector, counts: Counts, first: int = 0) -> Iterator[tuple[Vector, Counts]]:
        """Every choice of things for one box, the fullest first: the room it leaves, and what is left over."""
        if first == len(counts):
            yield room, ()
            return
        size, count = self._sizes[first], counts[first]
        most = min(count, *(room[axis] // size[axis] for axis in range(len(size)) if size[axis]))
        for used in range(most, -1, -1):
            for left, rest in self._fillings(room.less(size, used), counts, first + 1):
                yield left, (count - used, *rest)
