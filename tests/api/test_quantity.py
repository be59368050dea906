import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.api.base import QUANTITY_PATTERN
from littoral.api.quantity import MIB, from_mib, parse_quantity, short_mib, to_mib, to_seconds

MIBS = st.integers(0, 2**40)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("3", "3"),
        (3, "3"),
        (1.5, "1.5"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("100m", "0.1"),
        ("2k", "2000"),
        ("1Ki", "1024"),
        ("1M", "1000000"),
        ("1Gi", "1073741824"),
        ("1e3", "1000"),
        ("12E2", "1200"),
        ("1E", "1000000000000000000"),
        ("1Ei", "1152921504606846976"),
        (" 4Gi ", "4294967296"),
    ],
)
def test_quantities_are_what_kubernetes_takes_them_for(text: str | float, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "-1", "1K", "1ki", "Gi", "4 Gi", "4GB", "1.2.3", "1e", "1mi", "∞", "1u", "0x10"])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "mib"),
    [("0", 0), ("1", 1), ("1Mi", 1), ("1048577", 2), ("1G", 954), ("4Gi", 4096), ("1500m", 1), ("0.5Gi", 512)],
)
def test_memory_is_rounded_up_to_a_mib(text: str, mib: int) -> None:
    assert to_mib(text) == mib


@given(MIBS)
def test_memory_reads_back_as_it_was_written(mib: int) -> None:
    assert to_mib(from_mib(mib)) == mib


@given(MIBS)
def test_what_is_written_passes_the_crds_own_pattern(mib: int) -> None:
    assert re.fullmatch(QUANTITY_PATTERN, from_mib(mib))


@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True))
def test_all_that_the_crds_admit_is_read(text: str) -> None:
    assert parse_quantity(text) >= 0


@given(st.integers(0, 2**60))
def test_nothing_is_charged_less_than_it_asked_for(size: int) -> None:
    assert size <= to_mib(size) * MIB < size + MIB


@pytest.mark.parametrize(
    ("mib", "text"),
    [(0, "0"), (1, "1Mi"), (1023, "1023Mi"), (1024, "1Gi"), (1536, "1536Mi"), (3 * 1024 * 1024, "3Ti")],
)
def test_memory_is_written_as_the_api_server_prints_it(mib: int, text: str) -> None:
    assert from_mib(mib) == text


@pytest.mark.parametrize(("mib", "text"), [(0, "0Mi"), (300, "300Mi"), (1024, "1Gi"), (2560, "2.5Gi"), (2561, "2.5Gi")])
def test_memory_for_people(mib: int, text: str) -> None:
    assert short_mib(mib) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1500ms", 2), ("1m1ms", 61), ("1.5h", 5400)],
)
def test_durations_are_whole_seconds_rounded_up(text: str, seconds: int) -> None:
    assert to_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1s", "1d", "1h 30m", "1h30", "5m!", ".5h"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write one such as"):
        to_seconds(text)


@given(st.integers(0, 10_000), st.integers(0, 59), st.integers(0, 59))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert to_seconds(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds
