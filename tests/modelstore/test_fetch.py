"""What one run of the fetch container makes of its request: repository, cache and report."""

import json
import os
import stat
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx, sha256, tar

from littoral.modelstore.cache import Artifact, Cache
from littoral.modelstore.errors import REASONS
from littoral.modelstore.fetch import main
from littoral.modelstore.layout import Repository
from littoral.modelstore.locks import Locks
from littoral.modelstore.pins import Pin
from littoral.modelstore.report import parse_report
from littoral.modelstore.request import ModelRequest

WEIGHTS = bytes(range(256)) * 40


def test_a_single_file_becomes_a_model_named_by_its_format(namespace: Namespace, origin: Origin) -> None:
    report = namespace.fetch(onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS))

    assert report.ok, report
    folder = namespace.repository / "plate"
    assert sorted(path.name for path in namespace.repository.iterdir()) == ["plate"]
    assert (folder / "config.pbtxt").read_text() == 'name: "plate"\n'
    assert (folder / "1" / "model.onnx").read_bytes() == WEIGHTS
    assert (folder / "1" / "model.onnx").resolve().is_relative_to(namespace.cache / "sha256" / sha256(WEIGHTS))
    [model] = report.models
    assert (model.name, model.digest, model.size, model.source) == ("plate", sha256(WEIGHTS), len(WEIGHTS), "fetched")
    assert report.kept == (sha256(WEIGHTS),)
    assert report.free


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_becomes_the_model_directory_and_its_own_config_wins(
    namespace: Namespace, origin: Origin, mode: str
) -> None:
    own = 'name: "plate"  # ours\nbackend: "python"\ninput [ { name: "image" } ]\n'
    body = tar({"./config.pbtxt": own.encode(), "1/model.py": b"pass", "labels.txt": b"a"}, mode)

    report = namespace.fetch(onnx(origin.put("/download", Resource(body)), body, format="python"))

    assert report.ok, report
    folder = namespace.repository / "plate"
    assert (folder / "config.pbtxt").read_text() == own
    assert not (folder / "config.pbtxt").is_symlink()
    assert (folder / "1" / "model.py").read_bytes() == b"pass"
    assert (folder / "labels.txt").read_bytes() == b"a"


def test_an_archive_without_config_gets_the_generated_one(namespace: Namespace, origin: Origin) -> None:
    body = tar({"1/model.py": b"pass"})

    assert namespace.fetch(onnx(origin.put("/m.tar", Resource(body)), body)).ok

    assert (namespace.repository / "plate" / "config.pbtxt").read_text() == 'name: "plate"\n'


def test_a_warm_start_needs_no_source_and_writes_nothing_but_when_it_was(namespace: Namespace, origin: Origin) -> None:
    model = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    assert namespace.fetch(model, pinned_by="plate-0").ok
    before = {path: path.stat().st_mtime_ns for path in namespace.cache.rglob("*")}
    origin.resources.clear()
    origin.seen.clear()

    report = namespace.fetch(model, pinned_by="plate-0")

    assert report.ok
    assert report.models[0].source == "cache"
    assert origin.seen == []
    after = {path: path.stat().st_mtime_ns for path in namespace.cache.rglob("*")}
    assert {path.name for path in after if after[path] != before.get(path)} == {"used", "plate-0.json"}
    assert after.keys() == before.keys()
    assert (namespace.repository / "plate" / "1" / "model.onnx").read_bytes() == WEIGHTS


def test_the_same_bytes_from_another_address_are_not_fetched_again(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)).ok

    report = namespace.fetch(onnx("https://nowhere.invalid/m", WEIGHTS, name="other", config=None))

    assert report.models[0].source == "cache"
    assert [path.name for path in namespace.repository.iterdir()] == ["other"], "and of the former run nothing is left"


def test_an_entry_without_a_valid_marker_is_no_entry(namespace: Namespace, origin: Origin) -> None:
    model = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    entry = namespace.cache / "sha256" / model.sha256
    entry.mkdir(parents=True)
    (entry / "content").write_bytes(b"left by somebody")
    (entry / "verified.json").write_text('{"digest": "other", "size": 1}')

    report = namespace.fetch(model)

    assert report.models[0].source == "fetched"
    assert (namespace.repository / "plate" / "1" / "model.onnx").read_bytes() == WEIGHTS
    assert namespace.staged() == []


def test_one_failure_is_the_outcome_and_the_others_are_in_place(namespace: Namespace, origin: Origin) -> None:
    good = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    gone = onnx(origin.put("/gone", Resource(b"", statuses=[404] * 9)), b"y", name="gone")
    wrong = onnx(origin.put("/wrong", Resource(b"xyz")), b"abc", name="wrong")

    report = namespace.fetch(gone, wrong, good)

    assert (report.outcome, report.reason) == ("failed", "DigestMismatch"), "what can't heal is named first"
    assert [model.name for model in report.models] == ["plate"]
    assert sorted(path.name for path in namespace.repository.iterdir()) == ["plate"]


def test_a_shared_server_starts_with_the_models_that_arrived(namespace: Namespace, origin: Origin) -> None:
    good = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    wrong = onnx(origin.put("/wrong", Resource(b"xyz")), b"abc", name="wrong")

    report = namespace.fetch(wrong, good, partial=True)

    assert (report.outcome, report.ok, report.reason) == ("partial", False, "DigestMismatch")
    assert [model.name for model in report.models] == ["plate"]
    assert [(each.name, each.reason, each.message) for each in report.failures] == [
        ("wrong", "DigestMismatch", report.message)
    ]
    assert sorted(path.name for path in namespace.repository.iterdir()) == ["plate"]


def test_a_shared_server_without_a_single_model_does_not_start(namespace: Namespace, origin: Origin) -> None:
    wrong = onnx(origin.put("/wrong", Resource(b"xyz")), b"abc", name="wrong")

    assert namespace.fetch(wrong, partial=True).outcome == "failed"


def test_everything_can_be_read_by_another_user(namespace: Namespace, origin: Origin) -> None:
    body = tar({"1/model.py": b"pass", "1/deep/tool": b"x"})
    assert namespace.fetch(onnx(origin.put("/m.tar", Resource(body)), body)).ok

    for root in (namespace.cache, namespace.repository):
        for path in root.rglob("*"):
            wanted = 0o755 if path.is_dir() else 0o644
            if namespace.cache / "locks" in {path, path.parent}:
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077, "who can open a lock may hold it for ever"
                continue
            assert stat.S_IMODE(path.stat().st_mode) & wanted == wanted, path


FAILURES: dict[str, tuple[dict[str, Any], Resource | None, str, str]] = {
    "wrong digest": ({"sha256": "0" * 64}, Resource(WEIGHTS), "DigestMismatch", sha256(WEIGHTS)),
    "larger than declared": ({"size": 100}, Resource(WEIGHTS), "TooLarge", "100 bytes"),
    "larger than declared, unannounced": ({"size": 100}, Resource(WEIGHTS, length=False), "TooLarge", "100 bytes"),
    "absent": ({}, Resource(b"", statuses=[404] * 9), "SourceUnreachable", "404"),
    "forbidden": ({}, Resource(b"", statuses=[403] * 9), "SourceForbidden", "403"),
    "broken server": ({}, Resource(b"", statuses=[503] * 9), "SourceUnreachable", "6 attempts"),
    "scheme": ({"uri": "gopher://x/y"}, None, "UnsupportedSource", "file, gs, http, https"),
    "zip by name": ({"uri": "https://x.invalid/m.zip"}, None, "UnsupportedSource", ".tar.gz"),
    "password in the URI": ({"uri": "https://me:hunter2@x.invalid/m"}, None, "UnsupportedSource", "readable"),
    "no such host": ({"uri": "http://host.invalid/m"}, None, "SourceUnreachable", "cannot be resolved"),
    "format without a file name": ({"format": "ensemble"}, Resource(WEIGHTS), "LayoutInvalid", "tar archive"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failures_are_named_and_leave_nothing(namespace: Namespace, origin: Origin, case: str) -> None:
    changes, resource, reason, words = FAILURES[case]
    uri = origin.put("/m.onnx", resource) if resource else ""

    report = namespace.fetch(replace(onnx(uri, WEIGHTS), **changes))

    assert (report.outcome, report.reason) == ("failed", reason)
    assert words in report.message
    assert "hunter2" not in report.message
    assert report.reason in REASONS
    assert report.models == ()
    assert namespace.staged() == []
    assert not (namespace.repository / "plate").exists()


def test_a_declared_size_is_checked_before_the_body(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m.onnx", Resource(WEIGHTS, cuts=[0]))  # would be retried if the body mattered

    assert namespace.fetch(onnx(uri, WEIGHTS, size=1)).reason == "TooLarge"
    assert namespace.waits == []


def test_a_refused_connection_is_tried_a_bounded_number_of_times(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/m.onnx", Resource(WEIGHTS))
    origin.server_close()

    report = namespace.fetch(onnx(uri, WEIGHTS))

    assert (report.reason, REASONS[report.reason]) == ("SourceUnreachable", True)
    assert "Connection refused" in report.message
    assert namespace.waits == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_full_disk_is_found_out_before_the_source_is_asked(
    namespace: Namespace, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = origin.put("/m.onnx", Resource(WEIGHTS))
    monkeypatch.setattr("littoral.modelstore.collection.Collector.free", lambda _: 1 << 20)

    report = namespace.fetch(onnx(uri, WEIGHTS))

    assert (report.reason, REASONS[report.reason]) == ("DiskFull", True)
    assert origin.seen == []


def test_a_disk_that_fills_up_meanwhile_is_disk_full(
    namespace: Namespace, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("littoral.modelstore.files.os.fsync", no_room)

    report = namespace.fetch(onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS))

    assert report.reason == "DiskFull"
    assert Cache(namespace.cache).part(sha256(WEIGHTS)) == len(WEIGHTS), "what came is not asked for again"


def test_a_cache_that_is_not_there_is_said(namespace: Namespace) -> None:
    namespace.cache.rmdir()

    report = namespace.fetch(onnx("https://x.invalid/m", WEIGHTS), pinned_by="plate-0")

    assert report.reason == "CacheUnusable"
    assert str(namespace.cache) in report.message
    assert not namespace.cache.exists()


def test_main_writes_the_termination_message_and_returns_the_status(
    namespace: Namespace, origin: Origin, tmp_path: Path
) -> None:
    model = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    log = tmp_path / "termination-log"
    environ = {"LITTORAL_FETCH": namespace.request(model).dump(), "LITTORAL_TERMINATION_LOG": str(log)}

    assert main(environ) == 0
    report = parse_report(log.read_text())
    assert report is not None
    assert report.ok

    assert main({**environ, "LITTORAL_FETCH": "{"}) == 1
    failed = json.loads(log.read_text())
    assert (failed["outcome"], failed["reason"]) == ("failed", "RequestInvalid")

    missing = replace(model, name="missing", uri="file:///import/missing", sha256="0" * 64)
    some = namespace.request(model, missing, partial=True).dump()
    assert main({**environ, "LITTORAL_FETCH": some}) == 0


def test_a_prefetch_brings_everything_into_the_cache_and_keeps_no_repository(
    namespace: Namespace, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    good = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    other = onnx(origin.put("/x", Resource(b"x")), b"x", name="other")

    report = namespace.fetch(good, other, prefetch=True, pinned_by="plate-x")

    assert report.ok
    assert report.kept == tuple(sorted([good.sha256, other.sha256]))
    assert list(namespace.repository.iterdir()) == []
    assert set(tmp_path.iterdir()) == before
    assert Cache(namespace.cache).pins.of("plate-x") == Pin(next=report.kept)


def test_a_prefetch_finds_out_what_is_no_model(namespace: Namespace, origin: Origin) -> None:
    """While the old server still serves."""
    body = tar({"no-version-folder": b"x"})
    report = namespace.fetch(onnx(origin.put("/m.tar", Resource(body)), body), prefetch=True, pinned_by="plate-x")
    assert (report.outcome, report.reason) == ("failed", "LayoutInvalid")
    assert "no version folder" in report.message


def test_a_prefetch_that_lacks_a_model_fails_unless_it_may(namespace: Namespace, origin: Origin) -> None:
    good = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    wrong = onnx(origin.put("/wrong", Resource(b"xyz")), b"abc", name="wrong")

    assert namespace.fetch(good, wrong, prefetch=True).outcome == "failed"
    assert namespace.fetch(good, wrong, prefetch=True, partial=True).outcome == "partial"


def test_what_is_served_is_pinned_and_what_failed_is_only_waited_for(namespace: Namespace, origin: Origin) -> None:
    pins = Cache(namespace.cache).pins
    first, second = (onnx(origin.put(f"/{body!r}", Resource(body)), body) for body in (b"one", b"two"))
    assert namespace.fetch(first, pinned_by="plate-x").ok
    origin.resources.clear()

    assert namespace.fetch(second, pinned_by="plate-x").reason == "SourceUnreachable"
    assert pins.of("plate-x") == Pin((first.sha256,), (), (second.sha256,))

    origin.put("/b'two'", Resource(b"two"))
    assert namespace.fetch(second, pinned_by="plate-x").ok
    assert pins.of("plate-x") == Pin((second.sha256,), (first.sha256,))


def test_a_restart_leaves_what_was_prefetched_and_a_prefetch_of_what_serves_lets_it_go(
    namespace: Namespace, origin: Origin
) -> None:
    pins = Cache(namespace.cache).pins
    first, second = (onnx(origin.put(f"/{body!r}", Resource(body)), body) for body in (b"one", b"two"))
    assert namespace.fetch(first, pinned_by="plate-x").ok
    assert namespace.fetch(second, pinned_by="plate-x", prefetch=True).ok

    assert namespace.fetch(first, pinned_by="plate-x").ok
    assert pins.of("plate-x") == Pin((first.sha256,), (), (second.sha256,))

    assert namespace.fetch(first, pinned_by="plate-x", prefetch=True).ok
    assert pins.of("plate-x") == Pin((first.sha256,))


@pytest.mark.parametrize("cached", [True, False])
def test_what_is_larger_than_declared_is_too_large_whether_it_is_here_or_not(
    namespace: Namespace, cached: bool
) -> None:
    namespace.import_file("m", WEIGHTS)
    model = onnx("file:///import/m", WEIGHTS)
    if cached:
        assert namespace.fetch(model).ok

    report = namespace.fetch(replace(model, size=100))

    assert report.reason == "TooLarge"
    assert report.message == (
        f"file:///import/m has more than the 100 bytes that its size declares (at least {len(WEIGHTS)})"
    )


def test_a_source_is_opened_with_what_the_model_names_and_with_nothing_else(
    namespace: Namespace, origin: Origin
) -> None:
    for name, token in (("models-reader", "hunter2"), ("other", "other")):
        folder = namespace.mounts.secrets / name
        folder.mkdir(parents=True)
        (folder / "token").write_text(f"{token}\n")
    uri = origin.put("/m.onnx", Resource(WEIGHTS))

    assert namespace.fetch(onnx(uri, WEIGHTS, secret="models-reader", settings="not-there")).ok
    assert namespace.fetch(onnx(origin.put("/x", Resource(b"x")), b"x", name="open")).ok

    assert origin.authorizations == ["Bearer hunter2", None]


def test_a_person_sees_in_the_log_what_is_fetched_from_where_and_what_went(
    namespace: Namespace, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    uri = origin.put("/m.onnx", Resource(WEIGHTS))
    assert namespace.fetch(onnx(uri + "?token=hunter2", WEIGHTS, size=3 << 20)).ok
    assert f"plate: fetching {uri}, at most 3.0 MiB" in caplog.messages
    assert "hunter2" not in caplog.text
    caplog.clear()

    assert namespace.fetch(onnx(origin.put("/x", Resource(b"x")), b"x"), quota=100).ok

    assert f"sha256:{sha256(WEIGHTS)} is removed to make room ({len(WEIGHTS)} bytes, last used 0.0 h ago)" in (
        caplog.messages
    )


@pytest.mark.parametrize("name", ["../x", "UPPER", "a/b", "."])
def test_a_slice_that_no_file_can_be_named_by_is_refused(namespace: Namespace, tmp_path: Path, name: str) -> None:
    request = namespace.request(onnx("file:///import/m", WEIGHTS)).dump()
    log = tmp_path / "log"

    assert main({"LITTORAL_FETCH": request, "LITTORAL_TERMINATION_LOG": str(log), "LITTORAL_SLICE": name}) == 1

    report = parse_report(log.read_text())
    assert report is not None
    assert (report.reason, report.message) == ("RequestInvalid", "LITTORAL_SLICE must be the name of a GPUSlice")


@pytest.mark.parametrize("pinned_by", ["plate", ""])
def test_what_cannot_be_pinned_is_held_until_it_is_laid_out(
    namespace: Namespace, origin: Origin, monkeypatch: pytest.MonkeyPatch, pinned_by: str
) -> None:
    """A full disk takes no pin. Whoever makes room meanwhile finds the artifact held, and afterwards free."""
    (namespace.cache / "pins").write_text("in the place of the folder")
    taken: list[bool] = []
    lay_out = Repository.lay_out

    def collected(repository: Repository, model: ModelRequest, artifact: Artifact) -> None:
        with Cache(namespace.cache).locks.attempt(artifact.digest) as free:
            taken.append(free)
        lay_out(repository, model, artifact)

    monkeypatch.setattr(Repository, "lay_out", collected)
    model = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS)
    for _ in range(2):
        assert namespace.fetch(model, pinned_by=pinned_by).ok

    assert taken == [not pinned_by] * 2
    with Cache(namespace.cache).locks.attempt(model.sha256) as free:
        assert free


def test_what_went_before_it_could_be_held_is_fetched_again(
    namespace: Namespace, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    (namespace.cache / "pins").write_text("in the place of the folder")
    model, times = onnx(origin.put("/m.onnx", Resource(WEIGHTS)), WEIGHTS), 0
    hold = Locks.hold

    def late(locks: Locks, digest: str) -> AbstractContextManager[None]:
        nonlocal times
        if times:
            times -= 1
            Cache(namespace.cache).discard(digest)
        return hold(locks, digest)

    monkeypatch.setattr(Locks, "hold", late)
    for times, requests in ((0, 1), (1, 2)):  # noqa: B007 (it is `late` that reads it)
        assert namespace.fetch(model, pinned_by="plate").ok
        assert (namespace.repository / "plate" / "1" / "model.onnx").read_bytes() == WEIGHTS
        assert len(origin.seen) == requests

    times = 3
    report = namespace.fetch(model, pinned_by="plate")
    assert report.reason == "CacheFull"
    assert report.message == (
        "model plate: other slices on the node made it go 3 times before it was laid out, and it cannot be pinned; "
        "free space on the node"
    )
