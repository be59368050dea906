"""What a slice's pin holds, from what it asked for."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.modelstore.cache import Cache
from littoral.modelstore.pins import GRACE, Pin, Pins, wanted

A, B, C, D = (letter * 64 for letter in "abcd")
digests = st.sets(st.sampled_from([A, B, C, D]), min_size=1, max_size=2).map(wanted)
pins = st.builds(
    Pin,
    current=digests | st.just(()),
    last=digests | st.just(()),
    next=digests | st.just(()),
)

STEPS: list[tuple[str, list[tuple[str, str]], Pin]] = [
    ("a first server", [("seek", A), ("serve", A)], Pin(current=(A,))),
    ("a first server that does not get there", [("seek", A)], Pin(next=(A,))),
    ("an update fetched by the server itself", [("serve", A), ("seek", B)], Pin((A,), (), (B,))),
    ("an update", [("serve", A), ("seek", B), ("serve", B)], Pin((B,), (A,))),
    ("a prefetch", [("serve", A), ("prepare", B)], Pin((A,), (), (B,))),
    (
        "a restart while the next is there",
        [("serve", A), ("prepare", B), ("seek", A), ("serve", A)],
        Pin((A,), (), (B,)),
    ),
    ("a cutover", [("serve", A), ("prepare", B), ("seek", B), ("serve", B)], Pin((B,), (A,))),
    ("a way back from what never answered", [("serve", A), ("serve", B), ("seek", A), ("serve", A)], Pin((A,), (A,))),
    (
        "a way back that the next survives",
        [("serve", A), ("serve", B), ("prepare", C), ("serve", A)],
        Pin((A,), (A,), (C,)),
    ),
    ("a prefetch of what serves", [("serve", A), ("prepare", B), ("prepare", A)], Pin((A,))),
    ("a prefetch of something newer", [("serve", A), ("prepare", B), ("prepare", C)], Pin((A,), (), (C,))),
    ("updates of which none answers", [("serve", A), ("serve", B), ("serve", C)], Pin((C,), (A,))),
]


@pytest.mark.parametrize(("steps", "expected"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS])
def test_what_a_pin_holds(steps: list[tuple[str, str]], expected: Pin) -> None:
    pin = Pin()
    for step, digest in steps:
        pin = {"seek": pin.seeking, "prepare": pin.preparing, "serve": pin.serving}[step]((digest,))
    assert pin == expected


def test_a_prefetch_says_what_answered_last_and_that_stays() -> None:
    pin = Pin().serving((A,)).serving((B,))
    assert pin == Pin((B,), (A,)), "whether B answers is not known here"

    pin = pin.preparing((C,), last=(B,))

    assert pin == Pin((B,), (B,), (C,))
    assert pin.serving((C,)).seeking((D,)).serving((D,)) == Pin((D,), (B,))


@given(pins, digests)
def test_what_is_asked_for_is_always_held_and_what_serves_is_never_let_go(pin: Pin, asked: tuple[str, ...]) -> None:
    assert pin.seeking(asked).digests() >= {*asked, *pin.current, *pin.last}
    assert pin.preparing(asked).digests() >= {*asked, *pin.current, *pin.last}
    served = pin.serving(asked)
    assert served.current == asked
    assert served.digests() >= set(pin.last or pin.current), "what answered is what an update may go back to"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_a_pin_is_a_file_of_its_slice(cache: Cache, tmp_path: Path) -> None:
    cache.pins.change("plate-x", lambda pin: pin.serving((A,)))

    assert json.loads((tmp_path / "pins" / "plate-x.json").read_text()) == {"current": [A], "last": [], "next": []}
    assert cache.pins.of("plate-x") == Pin((A,))
    assert cache.pins.of("other") == Pin()


def test_a_pin_that_stands_is_not_written_again_but_its_time_is_noted(cache: Cache, tmp_path: Path) -> None:
    cache.pins.change("plate-x", lambda pin: pin.serving((A,)))
    path = tmp_path / "pins" / "plate-x.json"
    os.utime(path, (0, 0))
    before = path.stat()

    cache.pins.change("plate-x", lambda pin: pin.serving((A,)))

    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime > before.st_mtime


def test_pins_of_slices_that_are_gone_are_dropped_unless_they_may_be_newer_than_the_list(
    cache: Cache, tmp_path: Path
) -> None:
    for name, age in (("here", 9 * GRACE), ("gone", 2 * GRACE), ("new", GRACE / 2), ("ahead", -9 * GRACE)):
        cache.pins.change(name, lambda pin: pin.serving((A,)))
        os.utime(tmp_path / "pins" / f"{name}.json", (1e9 - age, 1e9 - age))

    cache.pins.drop_others(["here", "never-was"], drawn=1e9 - GRACE / 2, received=1e9, now=1e9)

    assert cache.pins.holders().keys() == {"here", "new", "ahead"}


DAMAGED = ["", "{", "[]", "{}", '{"current": ["x"], "last": [], "next": []}', '{"current": "' + A + '"}', "[" * 100_000]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_pin_that_cannot_be_read_is_none_until_its_slice_writes_it_anew(
    cache: Cache, tmp_path: Path, text: str
) -> None:
    (tmp_path / "pins").mkdir()
    (tmp_path / "pins" / "plate-x.json").write_text(text)
    assert cache.pins.holders() == {"plate-x": None}

    cache.pins.change("plate-x", lambda pin: pin.serving((A,)))

    assert cache.pins.holders() == {"plate-x": Pin((A,))}


def test_what_a_killed_writer_left_is_no_pin_and_goes(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "pins").mkdir()
    left = tmp_path / "pins" / ".plate-x.json.0011223344556677"
    left.write_text("{")

    assert cache.pins.holders() == {}
    cache.pins.change("plate-x", lambda pin: pin.serving((A,)))
    assert not left.exists()


def test_the_pins_folder_is_made_below_a_mounted_cache_alone(tmp_path: Path) -> None:
    absent = Pins(tmp_path / "absent" / "pins", Cache(tmp_path / "absent").locks.books)

    with pytest.raises(FileNotFoundError):
        absent.change("plate-x", lambda pin: pin.serving((A,)))
    assert not (tmp_path / "absent").exists()
