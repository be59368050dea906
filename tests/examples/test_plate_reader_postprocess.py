"""The plate reader's numbers-to-text half, on arrays made by hand: no network, no OpenCV."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).parents[2] / "examples/plate-reader/model/postprocess.py"
SPEC = importlib.util.spec_from_file_location("plate_reader_postprocess", SOURCE)
assert SPEC is not None
assert SPEC.loader is not None
postprocess = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = postprocess
SPEC.loader.exec_module(postprocess)

Array = npt.NDArray[np.float64]

CHARACTERS = postprocess.alphabet("G\nM\n1\n2\n5")
BLANK, G, M, ONE, TWO, FIVE, SPACE = range(7)


def steps(*classes: int, sure: float = 1.0) -> Array:
    """One row for each step, `sure` of its class and as sure of the others together."""
    table = np.full((len(classes), len(CHARACTERS)), (1 - sure) / (len(CHARACTERS) - 1))
    table[np.arange(len(classes)), classes] = sure
    return table


def box(left: float, top: float, width: float = 100, height: float = 20) -> Array:
    corners = [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]
    return np.array(corners, dtype=np.float64)


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        pytest.param([G, M, SPACE, ONE, TWO, FIVE], "GM 125", id="plain"),
        pytest.param([G, G, G, M, M], "GM", id="repetitions are one character"),
        pytest.param([ONE, BLANK, ONE], "11", id="a blank between makes two"),
        pytest.param([BLANK, BLANK, TWO, BLANK], "2", id="blanks vanish"),
        pytest.param([BLANK, BLANK], "", id="nothing but blanks"),
    ],
)
def test_ctc_reads_the_best_class_of_each_step(classes: list[int], text: str) -> None:
    assert postprocess.ctc_decode(steps(*classes), CHARACTERS)[0] == text


def test_the_score_is_the_mean_over_characters_and_leaves_blanks_out() -> None:
    table = np.concatenate([steps(G, sure=0.8), steps(BLANK, sure=0.3), steps(M, sure=0.6)])

    assert postprocess.ctc_decode(table, CHARACTERS) == ("GM", pytest.approx(0.7))


def test_a_text_without_characters_scores_nothing() -> None:
    assert postprocess.ctc_decode(steps(BLANK), CHARACTERS) == ("", 0.0)


@given(st.lists(st.integers(1, 6), max_size=12))
def test_what_is_spelt_with_a_blank_between_any_two_is_read_back(classes: list[int]) -> None:
    spelt = [step for character in classes for step in (character, BLANK)]

    text, _ = postprocess.ctc_decode(steps(*spelt, BLANK), CHARACTERS)

    assert text == "".join(CHARACTERS[character] for character in classes)


@given(st.permutations(range(4)), st.floats(-0.7, 0.7), st.floats(30, 300), st.floats(8, 29))
def test_corners_come_clockwise_from_the_top_left_however_they_were_given(
    order: list[int], tilt: float, width: float, height: float
) -> None:
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    upright = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ turn.T

    assert postprocess.clockwise(upright[list(order)]) == pytest.approx(upright, abs=1e-3)


def test_boxes_are_read_line_by_line_from_the_left() -> None:
    first, second = box(0, 100), box(200, 96)  # one line, its right box a little higher
    below, above = box(50, 140), box(300, 20)

    ordered = postprocess.reading_order([below, second, first, above])

    assert [tuple(found[0]) for found in ordered] == [(300, 20), (0, 100), (200, 96), (50, 140)]


def test_no_boxes_read_as_nothing() -> None:
    assert postprocess.reading_order([]) == []


@given(st.integers(1, 8000), st.integers(1, 8000), st.sampled_from([640, 960]))
def test_detection_never_sees_more_than_its_side_and_always_a_multiple_of_32(
    width: int, height: int, side: int
) -> None:
    seen = postprocess.fit(width, height, side)

    assert all(length % 32 == 0 and 32 <= length <= side for length in seen if max(width, height) >= 32)
    assert all(length <= max(32, real + 16) for length, real in zip(seen, (width, height), strict=True))


def test_unclip_undoes_the_shrinking_of_a_square() -> None:
    # area 100, perimeter 40, ratio 1.6: four pixels on every side.
    assert postprocess.unclip(10, 10, 1.6) == (18, 18)
