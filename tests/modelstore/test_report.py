"""The termination message: always a report, always small; and never taken for one when it is not."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.modelstore.errors import REASONS
from littoral.modelstore.report import MAX_BYTES, FailedModel, FetchedModel, Report, parse_report

DIGEST = "ab" * 32
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
sizes = st.integers(0, 2**63 - 1)
models = st.builds(
    FetchedModel,
    name=st.text(max_size=300),
    digest=digests,
    size=sizes,
    source=st.sampled_from(["cache", "fetched"]),
    seconds=st.floats(0, 1e6),
)
failures = st.builds(
    FailedModel, name=st.text(max_size=300), reason=st.sampled_from([*REASONS]), message=st.text(max_size=600)
)
reports = st.builds(
    Report,
    outcome=st.sampled_from(["ok", "partial", "failed"]),
    reason=st.sampled_from(["", *REASONS]),
    message=st.text(max_size=6000) | st.text("\U0001f980\ud800\x00", max_size=3000),
    models=st.lists(models, max_size=40).map(tuple),
    kept=st.lists(digests, max_size=90).map(tuple),
    free=st.none() | sizes,
    failures=st.lists(failures, max_size=40).map(tuple),
    freed=st.lists(digests, max_size=90).map(tuple),
)


@given(reports)
@settings(deadline=None)  # a busy machine is no failure
def test_every_report_fits_and_is_read_back(report: Report) -> None:
    text = report.dump()

    assert len(text.encode()) <= MAX_BYTES
    read = parse_report(text)
    assert read is not None
    assert (read.outcome, read.reason, read.free) == (report.outcome, report.reason, report.free)
    assert report.kept[: len(read.kept)] == read.kept
    assert report.freed[: len(read.freed)] == read.freed
    assert [model.digest for model in read.models] == [model.digest for model in report.models][: len(read.models)]
    assert [each.reason for each in read.failures] == [each.reason for each in report.failures][: len(read.failures)]


def test_what_is_shortened_first_is_what_the_cache_keeps() -> None:
    report = Report("failed", "TooLarge", "x" * 900, (FetchedModel("a", DIGEST, 1, "cache", 0.1),), (DIGEST,) * 90, 1)

    read = parse_report(report.dump())

    assert read is not None
    assert (read.message, read.models) == (report.message, report.models)
    assert 0 < len(read.kept) < 90


def test_a_report_with_everything_in_it_keeps_what_matters_most() -> None:
    models = tuple(FetchedModel(f"model-{number}", DIGEST, 2**40, "fetched", 1234.567) for number in range(8))
    failures = tuple(FailedModel(f"other-{number}", "DigestMismatch", "x" * 256) for number in range(4))
    message = "https://models.example/plate is not what was promised: " + "x" * 300
    report = Report("partial", "DigestMismatch", message, models, (DIGEST,) * 40, 2**42, failures, (DIGEST,) * 40)

    text = report.dump()

    read = parse_report(text)
    assert read is not None
    assert MAX_BYTES - 80 < len(text.encode()) <= MAX_BYTES
    assert (read.message, read.models, read.failures) == (message, models, failures)
    assert read.kept == ()
    assert 0 < len(read.freed) < 40


GARBAGE = [
    "",
    "null",
    "[]",
    '"ok"',
    "{}",
    '{"outcome":"ok"',
    '{"outcome":"fine"}',
    '{"outcome":["ok"]}',
    '{"outcome":"ok","models":{}}',
    '{"outcome":"ok","models":[1]}',
    '{"outcome":"ok","models":[{"name":"a"}]}',
    '{"outcome":"ok","kept":["xyz"]}',
    '{"outcome":"ok","free":"much"}',
    '{"outcome":"ok","free":1' + "0" * 30 + "}",
    '{"outcome":"failed","message":{}}',
    '{"outcome":"partial","failures":[1]}',
    '{"outcome":"partial","failures":[{"name":"a"}]}',
    "[" * 30_000,
    '{"outcome":"ok","message":"' + "x" * 100_000 + '"}',
    "Traceback (most recent call last):\n  ...\nMemoryError",
]
WRONG_IN_A_MODEL: list[tuple[str, Any]] = [
    ("name", 1),
    ("digest", "xyz"),
    ("size", -1),
    ("size", True),
    ("size", 2**63),
    ("source", "thin air"),
    ("source", []),
    ("seconds", float("nan")),
    ("seconds", -1),
    ("seconds", 10**400),
    ("seconds", "1"),
]


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_no_report(text: str) -> None:
    assert parse_report(text) is None


@pytest.mark.parametrize(("field", "value"), WRONG_IN_A_MODEL)
def test_a_report_with_an_impossible_model_is_none(field: str, value: object) -> None:
    model = {"name": "a", "digest": DIGEST, "size": 1, "source": "cache", "seconds": 0.5}
    assert parse_report(json.dumps({"outcome": "ok", "models": [model]})) is not None

    assert parse_report(json.dumps({"outcome": "ok", "models": [model | {field: value}]})) is None


fields = st.sampled_from(["outcome", "models", "kept", "free", "message", "name", "digest", "seconds"])
leaves = st.none() | st.integers() | st.floats() | st.text() | st.just("ok")
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(fields, inner))


@given(st.text() | values.map(json.dumps))
@settings(deadline=None)  # a busy machine is no failure
def test_nothing_makes_it_raise(text: str) -> None:
    parse_report(text)


@pytest.mark.parametrize("extra", [{}, {"models": None, "kept": None, "message": None}, {"from": "a later version"}])
def test_what_is_absent_or_unknown_does_no_harm(extra: dict[str, Any]) -> None:
    read = parse_report(json.dumps({"outcome": "ok", "kept": [f"sha256:{DIGEST}"], **extra}))

    assert read is not None
    assert read.ok
    assert read.kept in {(DIGEST,), ()}


def test_a_message_of_a_node_is_cleaned_before_it_is_shown() -> None:
    read = parse_report(json.dumps({"outcome": "failed", "message": "a\x1b[31m\n\ud800b" + "x" * 5000}))

    assert read is not None
    assert read.message.startswith("a [31m b")
    assert len(read.message) == 1024
