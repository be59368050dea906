"""What was refused is not pulled over the uplink again before something changed or time passed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx, sha256, tar

from littoral.modelstore.quarantine import FIRST, LONGEST, Quarantine, Refusal

GOOD, BAD = b"good" * 500, b"evil" * 500
DIGEST = sha256(GOOD)


def age(namespace: Namespace, seconds: float) -> None:
    """Let so many seconds pass since the mismatch."""
    [path] = (namespace.cache / "quarantine").glob("*.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"time": record["time"] - seconds}))


def test_the_same_source_is_refused_again_with_the_same_words_and_without_its_bytes(
    namespace: Namespace, origin: Origin
) -> None:
    model = onnx(origin.put("/m", Resource(BAD)), GOOD)
    first = namespace.fetch(model)
    assert first.reason == "DigestMismatch"
    assert sha256(BAD) in first.message
    assert DIGEST in first.message
    origin.put("/m", Resource(GOOD))  # the same for all that it says of itself

    again = namespace.fetch(model)

    assert (again.reason, again.message) == (first.reason, first.message), "an Event is written once for one message"
    assert not list(namespace.cache.glob("tmp/*"))


@pytest.mark.parametrize("wrong", [BAD, BAD + b"longer"], ids=["by its validator", "by its size"])
def test_a_source_that_changed_is_read_at_once(namespace: Namespace, origin: Origin, wrong: bytes) -> None:
    model = onnx(origin.put("/m", Resource(wrong)), GOOD, size=None)
    assert namespace.fetch(model).reason == "DigestMismatch"

    origin.put("/m", Resource(GOOD, etag='"2"' if len(wrong) == len(GOOD) else '"1"'))

    assert namespace.fetch(model).ok
    assert not list(namespace.cache.glob("quarantine/*")), "what is here is in nobody's quarantine"


@pytest.mark.parametrize(("seconds", "read"), [(FIRST - 5, False), (FIRST + 1, True), (-3600, True)])
def test_a_source_that_says_nothing_is_read_again_after_a_pause(
    namespace: Namespace, origin: Origin, seconds: float, read: bool
) -> None:
    model = onnx(origin.put("/m", Resource(BAD, etag=None)), GOOD)
    assert namespace.fetch(model).reason == "DigestMismatch"
    origin.put("/m", Resource(GOOD, etag=None))

    age(namespace, seconds)

    assert namespace.fetch(model).ok == read, "a time in the future is of a clock that was wrong"


def test_a_file_that_was_carried_anew_is_read_at_once(namespace: Namespace) -> None:
    model = onnx("file:///import/m", GOOD)
    namespace.import_file("m", BAD)
    assert namespace.fetch(model).reason == "DigestMismatch"

    namespace.import_file("m", GOOD)

    assert namespace.fetch(model).ok


def test_a_source_that_is_gone_meanwhile_is_still_refused(namespace: Namespace, origin: Origin) -> None:
    model = onnx(origin.put("/m", Resource(BAD)), GOOD)
    namespace.fetch(model)
    origin.resources.clear()

    assert namespace.fetch(model).reason == "DigestMismatch"


def test_another_source_of_the_same_digest_is_read(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(onnx(origin.put("/bad", Resource(BAD)), GOOD)).reason == "DigestMismatch"

    assert namespace.fetch(onnx(origin.put("/good", Resource(GOOD)), GOOD)).ok


def test_another_digest_of_the_same_source_is_read(namespace: Namespace, origin: Origin) -> None:
    model = onnx(origin.put("/m", Resource(BAD)), GOOD)
    assert namespace.fetch(model).reason == "DigestMismatch"

    assert namespace.fetch(replace(model, sha256=sha256(BAD))).ok


def test_a_damaged_archive_is_in_quarantine_as_well(namespace: Namespace, origin: Origin) -> None:
    whole = tar({"1/model.py": GOOD}, "w:gz")
    damaged = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
    model = onnx(origin.put("/m", Resource(damaged)), whole)
    assert namespace.fetch(model).reason == "DigestMismatch"
    origin.put("/m", Resource(whole))

    assert namespace.fetch(model).reason == "DigestMismatch"


def test_the_pause_doubles_up_to_its_bound(tmp_path: Path) -> None:
    now = [1e9]
    quarantine = Quarantine(tmp_path / "quarantine", lambda: now[0])
    pauses = [quarantine.add("uri", DIGEST, message="", got="", size=None, validator=None).pause() for _ in range(12)]

    assert pauses[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert pauses[-1] == LONGEST == max(pauses)
    assert quarantine.of("uri", DIGEST) is not None
    now[0] += LONGEST
    assert quarantine.of("uri", DIGEST) is None


def test_no_query_of_a_uri_is_written_down(tmp_path: Path) -> None:
    Quarantine(tmp_path / "q").add("https://x/m?token=hunter2", DIGEST, message="m", got="", size=1, validator="v")

    assert "hunter2" not in next((tmp_path / "q").glob(f"{DIGEST}.*")).read_text()


def test_a_mismatch_that_cannot_be_written_down_is_a_mismatch(
    namespace: Namespace, origin: Origin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("littoral.modelstore.quarantine.replace_file", full)

    assert namespace.fetch(onnx(origin.put("/m", Resource(BAD)), GOOD)).reason == "DigestMismatch"
    assert "cannot be remembered" in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uri": 1}', "[" * 100_000])
def test_a_record_that_cannot_be_read_refuses_nothing(tmp_path: Path, text: str) -> None:
    quarantine = Quarantine(tmp_path)
    quarantine.add("uri", DIGEST, message="", got="", size=None, validator=None)
    [record] = tmp_path.iterdir()
    record.write_text(text)

    assert quarantine.of("uri", DIGEST) is None


def test_records_of_long_ago_go(tmp_path: Path) -> None:
    now = [1e9]
    quarantine = Quarantine(tmp_path, lambda: now[0])
    quarantine.add("uri", "1" * 64, message="", got="", size=None, validator=None)
    now[0] = next(tmp_path.iterdir()).stat().st_mtime + 31 * 86400

    added = quarantine.add("uri", DIGEST, message="", got="", size=None, validator=None)

    assert [path.name.partition(".")[0] for path in tmp_path.iterdir()] == [DIGEST]
    assert isinstance(added, Refusal)


def test_a_wrong_file_over_a_link_that_cuts_is_read_once_where_its_halves_are_proved_to_be_one(
    namespace: Namespace, origin: Origin
) -> None:
    large = b"evil" * 100_000
    uri = origin.put("/m", Resource(large, cuts=[len(large) // 2]))

    assert namespace.fetch(onnx(uri, GOOD, size=None)).reason == "DigestMismatch"

    assert [asked for _, asked in origin.seen if asked is None] == [None], "not begun anew"


def test_an_answer_without_a_length_that_was_cut_is_read_once_more(namespace: Namespace, origin: Origin) -> None:
    cut = Resource(GOOD[:-10], length=False, then=Resource(GOOD, length=False))
    assert namespace.fetch(onnx(origin.put("/m", cut), GOOD)).ok

    wrong = origin.put("/bad", Resource(BAD, length=False))
    origin.seen.clear()
    assert namespace.fetch(onnx(wrong, GOOD, sha256=sha256(b"x"))).reason == "DigestMismatch"
    assert len(origin.seen) == 2, "once more, and no more"


def test_two_sources_of_one_digest_have_a_record_each(namespace: Namespace, origin: Origin) -> None:
    models = [onnx(origin.put(path, Resource(BAD)), GOOD) for path in ("/a", "/b")]
    for model in models:
        assert namespace.fetch(model).reason == "DigestMismatch"
        origin.put(model.uri[-2:], Resource(GOOD))

    for model in models:
        assert namespace.fetch(model).reason == "DigestMismatch", "the one's mismatch is not forgotten for the other's"
