"""Entries of the cache: what is found, what is proved again after a boot, what is thrown away."""

import contextlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.modelstore.conftest import sha256

from littoral.modelstore import listing
from littoral.modelstore.boot import boot_id
from littoral.modelstore.cache import Cache
from littoral.modelstore.errors import (
    CacheFull,
    DigestMismatch,
    DiskFull,
    NodeClockWrong,
    SourceForbidden,
    SourceUnreachable,
)
from littoral.modelstore.listing import Listing
from rig.waiting import until

WEIGHTS = b"weights" * 1000
FILES = {"config.pbtxt": b"", "1/model.onnx": WEIGHTS}


def store(cache: Cache, digest: str, files: dict[str, bytes] | bytes) -> Path:
    """Make an entry of a file, or of a folder with these files; return its folder."""
    with cache.locks.digest(digest), cache.staging(digest) as content:
        if isinstance(files, bytes):
            content.write_bytes(files)
        else:
            for name, data in files.items():
                (content / name).parent.mkdir(parents=True, exist_ok=True)
                (content / name).write_bytes(data)
        artifact = cache.commit(digest, 1234, listing.of(content))
    return artifact.content.parent


DIGEST = sha256(WEIGHTS)
CONTENTS: dict[str, dict[str, bytes] | bytes] = {"file": WEIGHTS, "folder": FILES}


@pytest.fixture(params=CONTENTS)
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return store(Cache(tmp_path, boot="first"), DIGEST, CONTENTS[request.param])


def some_file(entry: Path) -> Path:
    content = entry / "content"
    return content / "1" / "model.onnx" if content.is_dir() else content


def test_what_was_verified_under_this_boot_is_found_and_nothing_is_read(entry: Path, tmp_path: Path) -> None:
    some_file(entry).write_bytes(b"as big as it likes: nobody looks")

    artifact = Cache(tmp_path, boot="first").find(DIGEST)

    assert artifact is not None
    assert (artifact.digest, artifact.content, artifact.size) == (DIGEST, entry / "content", 1234)
    assert {each.path for each in artifact.listing.entries} in ({""}, set(FILES))


def test_an_entry_whose_listing_is_damaged_is_not_found_even_under_this_boot(entry: Path, tmp_path: Path) -> None:
    flip(entry / "listing")

    assert Cache(tmp_path, boot="first").find(DIGEST) is None, "a signature is compared with it"


def test_after_a_boot_an_entry_is_compared_once_and_then_found(entry: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path, boot="second")
    assert cache.find(DIGEST) is None
    assert cache.kept() == (DIGEST,), "it is there, if not proved"

    artifact = cache.verify(DIGEST)

    assert artifact is not None
    assert cache.find(DIGEST) == artifact
    assert Cache(tmp_path, boot="first").find(DIGEST) is None


def test_two_containers_compare_an_entry_one_after_the_other_and_so_once(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    compared: list[Path] = []

    def difference(_: Listing, content: Path, __: object) -> None:
        compared.append(content)
        until(lambda: "waiting for it" in caplog.text, timeout=60, failure=lambda: AssertionError("nobody waits"))

    monkeypatch.setattr(Listing, "difference", difference)

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(Cache(tmp_path, boot="second").verify, DIGEST) for _ in range(2)]

    assert [artifact.digest for each in found if (artifact := each.result())] == [DIGEST, DIGEST]
    assert compared == [entry / "content"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda entry: flip(some_file(entry)),
    "a file cut short": lambda entry: os.truncate(some_file(entry), 100),
    "a file gone": lambda entry: some_file(entry).unlink(),
    "a listing with a flipped bit": lambda entry: flip(entry / "listing"),
    "no listing": lambda entry: (entry / "listing").unlink(),
    "a marker cut short": lambda entry: os.truncate(entry / "verified.json", 20),
    "no marker": lambda entry: (entry / "verified.json").unlink(),
    "a marker without a boot": lambda entry: change_marker(entry, boot=None),
    "a marker of another digest": lambda entry: change_marker(entry, digest="0" * 64),
}


def change_marker(entry: Path, **fields: object) -> None:
    path = entry / "verified.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_proved_after_a_boot_is_never_found_and_makes_place(
    entry: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGES[damage](entry)
    cache = Cache(tmp_path, boot="second")

    assert cache.verify(DIGEST) is None
    cache.sweep()

    assert cache.find(DIGEST) is None
    store(cache, DIGEST, WEIGHTS)
    assert cache.find(DIGEST) is not None
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_difference_is_named(entry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = some_file(entry)
    flip(damaged)

    Cache(tmp_path, boot="second").verify(DIGEST)

    assert (damaged.name if damaged.name != "content" else DIGEST) in caplog.text
    assert f"the listing says {DIGEST}" in caplog.text
    assert "it is thrown away" in caplog.text
    assert not entry.exists()


def test_content_that_cannot_be_read_is_no_content(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr("littoral.modelstore.listing.Listing.difference", broken)

    assert Cache(tmp_path, boot="second").verify(DIGEST) is None
    assert "Input/output error" in caplog.text
    assert not entry.exists()


def test_a_copy_is_not_thrown_away_because_the_machine_is_short_of_something(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise OSError(12, os.strerror(12))

    monkeypatch.setattr("littoral.modelstore.listing.Listing.difference", short)
    cache = Cache(tmp_path, boot="second")

    with pytest.raises(OSError, match="Cannot allocate memory"):
        cache.verify(DIGEST)
    assert cache.find(DIGEST) is None
    assert cache.kept() == (DIGEST,)


def test_where_the_kernel_tells_no_boot_everything_is_compared_each_time(entry: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path, boot="")

    for _ in range(2):
        assert cache.find(DIGEST) is None
        assert cache.verify(DIGEST) is not None


def test_the_boot_is_the_kernels(tmp_path: Path) -> None:
    known = tmp_path / "boot_id"
    known.write_text("5f0a5f5e-8f5e-4a53-b1a7-3f2b8a1c7d11\n")

    assert boot_id(known) == "5f0a5f5e-8f5e-4a53-b1a7-3f2b8a1c7d11"
    assert boot_id(tmp_path / "absent") == ""


def test_notes_stay_with_the_entry_and_go_with_it(entry: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path, boot="first")
    assert cache.note(DIGEST, "signature") is None

    cache.add_note(DIGEST, "signature", b"one")
    cache.add_note(DIGEST, "signature", b"two")

    assert cache.note(DIGEST, "signature") == b"two"
    assert cache.find(DIGEST) is not None
    store(cache, DIGEST, WEIGHTS)
    assert cache.note(DIGEST, "signature") is None


def test_a_note_that_cannot_be_kept_is_lost_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Cache(tmp_path).add_note(DIGEST, "signature", b"one")

    assert "the note signature of" in caplog.text
    assert Cache(tmp_path).note(DIGEST, "signature") is None


LEFT: dict[str, tuple[BaseException, bool]] = {
    "a dead source": (SourceUnreachable("x"), True),
    "credentials that ran out": (SourceForbidden("x"), True),
    "a clock that was set back": (NodeClockWrong("x"), True),
    "SIGTERM": (SystemExit(143), True),
    "other bytes": (DigestMismatch("x"), False),
    "a full disk": (OSError(28, "x"), True),
    "a disk that was filled by others": (DiskFull("x"), True),
    "a quota that is used up": (CacheFull("x"), True),
    "a broken disk": (OSError(5, "x"), False),
    "a defect": (KeyError("x"), False),
}


@pytest.mark.parametrize("why", LEFT)
def test_a_part_of_a_file_is_left_where_the_rest_may_still_come(tmp_path: Path, why: str) -> None:
    error, left = LEFT[why]
    cache = Cache(tmp_path)
    with contextlib.suppress(type(error)), cache.staging(DIGEST) as content:
        content.write_bytes(WEIGHTS[:100])
        raise error

    assert cache.part(DIGEST) == (100 if left else None)
    cache.sweep()
    with cache.staging(DIGEST) as content:
        assert content.exists() == left


def test_of_an_archive_nothing_is_left(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with contextlib.suppress(SystemExit), cache.staging(DIGEST) as content:
        content.mkdir()
        (content / "half").write_bytes(b"x")
        raise SystemExit

    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_killed_commit_left_beside_a_whole_file_is_made_anew(tmp_path: Path) -> None:
    staged = tmp_path / "tmp" / DIGEST
    staged.mkdir(parents=True)
    for name in ("content", "listing", "used", "verified.json", "reserved", ".verified.json.0011"):
        (staged / name).write_bytes(WEIGHTS)
    cache = Cache(tmp_path)

    with cache.locks.digest(DIGEST), cache.staging(DIGEST) as content:
        cache.commit(DIGEST, len(WEIGHTS), listing.of(content))

    assert cache.find(DIGEST) is not None
    assert sorted(path.name for path in (tmp_path / "sha256" / DIGEST).iterdir()) == [
        "content",
        "listing",
        "used",
        "verified.json",
    ]
