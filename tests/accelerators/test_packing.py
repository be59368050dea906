"""Packing, against every way of laying things out."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.accelerators import packing
from littoral.accelerators.packing import Vector, fits

CHIP = Vector(8, 24, 7)
SIZES = [Vector(1, 3, 1), Vector(2, 6, 2), Vector(2, 6, 1), Vector(4, 12, 4), Vector(4, 12, 3)]
ODD = st.builds(Vector, st.integers(1, 6), st.integers(0, 9), st.integers(1, 5))


def every_way(box: Vector, boxes: int, things: list[Vector]) -> bool:
    def holds(layout: tuple[int, ...]) -> bool:
        return all(
            sum(thing[axis] for thing, at in zip(things, layout, strict=True) if at == index) <= box[axis]
            for index in range(boxes)
            for axis in range(len(box))
        )

    return any(holds(layout) for layout in product(range(boxes), repeat=len(things)))


@given(st.integers(0, 3), st.lists(st.sampled_from(SIZES) | ODD, max_size=6))
def test_finds_a_layout_exactly_where_there_is_one(boxes: int, things: list[Vector]) -> None:
    assert fits(CHIP, boxes, Counter(things)) == every_way(CHIP, boxes, things)


UNEVEN = {Vector(5, 1, 1): 1, Vector(4, 1, 1): 2, Vector(3, 1, 1): 1, Vector(2, 1, 1): 2}
"""Two boxes of ten cores hold 5 + 3 + 2 and 4 + 4 + 2; first fit lays 5 + 4 and 4 + 3 + 2, and has no room for 2."""
TEN = Vector(10, 9, 9)


def test_first_fit_is_not_the_last_word() -> None:
    assert not packing._first_fit(TEN, 2, tuple(UNEVEN), tuple(UNEVEN.values()))
    assert fits(TEN, 2, UNEVEN)


def test_a_search_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "STEPS", 1)

    assert not packing._Search(TEN, tuple(UNEVEN)).fits(2, tuple(UNEVEN.values()))
