"""Whatever dies, at whatever byte: no unverified byte is reachable, and the next run succeeds.

A crash is simulated at the n-th call that changes the disk: that call and every later one, those of clean-up code
included, do not happen, which is what kill -9 leaves. One test does it with a real kill of a real process.
"""

import contextlib
import functools
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.modelstore.conftest import Namespace, Origin, Resource, make_namespace, onnx, sha256, tar

from littoral.modelstore.report import parse_report
from littoral.modelstore.sources import CHUNK
from rig.waiting import until

FILE = bytes(range(251)) * 5_000
FILES = {"config.pbtxt": b'name: "plate"\n', "1/model.py": FILE, "1/weights/a": FILE[:70_000], "labels.txt": b"x"}
ARCHIVE = tar(FILES, "w:gz")
CHANGING = ("mkdir", "rename", "replace", "unlink", "rmdir", "symlink", "link", "fsync", "open", "remove")

in_memory = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Killed(BaseException):
    """The process is no more."""


@contextlib.contextmanager
def killed_at(call: int) -> Iterator[None]:
    """Let the disk be changed by `call` calls and by none after them."""
    left = [call]
    genuine: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CHANGING}

    def mortal(name: str, *args: Any, **kwargs: Any) -> Any:
        reading = name == "open" and not args[1] & (os.O_CREAT | os.O_WRONLY)
        if not reading:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
        return genuine[name](*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGING:
            patch.setattr(os, name, functools.partial(mortal, name))
        yield


def assert_only_verified_is_reachable(namespace: Namespace, body: bytes) -> None:
    for entry in (namespace.cache / "sha256").glob("*"):
        assert entry.name == sha256(body)
        assert_complete(entry / "content", body)
    for model in namespace.repository.glob("[!.]*"):
        content = model / "1" / "model.onnx" if body is FILE else model
        assert_complete(content, body)


def assert_complete(content: Path, body: bytes) -> None:
    if body is FILE:
        assert content.read_bytes() == FILE
    else:
        assert {name: (content / name).read_bytes() for name in FILES} == FILES


@pytest.fixture
def fresh() -> Callable[[], contextlib.AbstractContextManager[Namespace]]:
    """One namespace for each example of a property."""

    @contextlib.contextmanager
    def make() -> Iterator[Namespace]:
        with tempfile.TemporaryDirectory() as folder:
            yield make_namespace(Path(folder))

    return make


Fresh = Callable[[], contextlib.AbstractContextManager[Namespace]]


@pytest.mark.parametrize("body", [FILE, ARCHIVE], ids=["file", "archive"])
@given(call=st.integers(0, 60))
@in_memory
def test_a_crash_at_any_write_leaves_nothing_unverified(fresh: Fresh, body: bytes, call: int) -> None:
    with fresh() as namespace:
        namespace.import_file("m", body)
        model = onnx("file:///import/m", body)
        with contextlib.suppress(Killed), killed_at(call):
            namespace.fetch(model)
        assert_only_verified_is_reachable(namespace, body)

        assert namespace.fetch(model).ok
        assert_only_verified_is_reachable(namespace, body)
        assert namespace.entries() == [sha256(body)]
        assert namespace.staged() == []


def test_the_crash_points_reach_to_the_end(fresh: Fresh) -> None:
    with fresh() as namespace:
        namespace.import_file("m", ARCHIVE)
        with killed_at(60):
            assert namespace.fetch(onnx("file:///import/m", ARCHIVE)).ok


@pytest.mark.parametrize("body", [FILE, ARCHIVE], ids=["file", "archive"])
@given(data=st.data())
@in_memory
def test_cuts_at_any_byte_end_in_success_or_a_named_reason(
    fresh: Fresh, origin: Origin, body: bytes, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    ranges, etag = data.draw(st.booleans()), data.draw(st.sampled_from(['"1"', None]))
    uri = origin.put("/m", Resource(body, cuts=cuts, ranges=ranges, etag=etag))
    with fresh() as namespace:
        report = namespace.fetch(onnx(uri, body))

        assert report.ok or report.reason == "SourceUnreachable"
        assert_only_verified_is_reachable(namespace, body)
        if not report.ok:
            # Of a file a part may be left, and is gone on with.
            origin.put("/m", Resource(body))
            assert namespace.fetch(onnx(uri, body)).ok
        assert namespace.staged() == []


@pytest.mark.parametrize("body", [FILE, ARCHIVE], ids=["file", "archive"])
@given(data=st.data())
@in_memory
def test_a_flipped_byte_is_a_digest_mismatch_wherever_it_is(
    fresh: Fresh, origin: Origin, body: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    with fresh() as namespace:
        report = namespace.fetch(onnx(origin.put("/m", Resource(damaged)), body))

        assert report.reason == "DigestMismatch"
        assert sha256(damaged) in report.message
        assert sha256(body) in report.message
        assert namespace.entries() == []
        assert namespace.staged() == []
        assert list(namespace.repository.iterdir()) == []


def test_everything_is_on_the_disk_before_the_entry_appears(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut may take is what was not synced: nothing of an entry when it is renamed into place."""
    namespace.import_file("m", ARCHIVE)
    synced: dict[int, int] = {}
    genuine_sync, genuine_rename = os.fsync, os.rename
    renamed: list[Path] = []

    def sync(descriptor: int) -> None:
        genuine_sync(descriptor)
        synced[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_mtime_ns

    def rename(source: Path, target: Path) -> None:
        if target.parent.name == "sha256":
            renamed.append(target)
            for path in (source, *source.rglob("*")):
                status = path.stat()
                assert synced.get(status.st_ino) == status.st_mtime_ns, f"{path} is not synced as it is now"
        genuine_rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", rename)

    assert namespace.fetch(onnx("file:///import/m", ARCHIVE)).ok

    [entry] = renamed
    assert entry.parent.stat().st_ino in synced, "the rename itself is durable"


def start(namespace: Namespace, uri: str, body: bytes, log: Path) -> subprocess.Popen[bytes]:
    environ = {"LITTORAL_FETCH": namespace.request(onnx(uri, body)).dump(), "LITTORAL_TERMINATION_LOG": str(log)}
    command = [sys.executable, "-m", "littoral.modelstore.fetch"]
    return subprocess.Popen(command, env=os.environ | environ, stderr=subprocess.PIPE)


def wait_for_line(process: subprocess.Popen[bytes], words: bytes) -> None:
    assert process.stderr is not None
    assert any(words in line for line in process.stderr)


def ended(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("signal", ["kill", "terminate"])
def test_a_killed_process_leaves_nothing_reachable(
    namespace: Namespace, origin: Origin, tmp_path: Path, signal: str
) -> None:
    resource = Resource(FILE, stall=len(FILE) - 1)
    uri = origin.put("/m", resource)
    process = start(namespace, uri, FILE, tmp_path / "log")
    part = namespace.cache / "tmp" / sha256(FILE) / "content"
    until(lambda: part.exists() and part.stat().st_size >= CHUNK, failure=lambda: AssertionError("no part"), timeout=60)

    getattr(process, signal)()
    ended(process)

    assert namespace.entries() == []
    came = part.stat().st_size
    assert CHUNK <= came < len(FILE)
    assert part.read_bytes() == FILE[:came]
    assert list(namespace.repository.iterdir()) == []
    resource.stall = None
    assert namespace.fetch(onnx(uri, FILE)).ok
    assert origin.seen[-1] == ("/m", f"bytes={came}-"), "a single file is gone on with"
    assert namespace.staged() == []


def test_what_a_dead_fetch_of_another_digest_left_is_removed_but_not_what_is_under_way(
    namespace: Namespace, origin: Origin, tmp_path: Path
) -> None:
    dead = namespace.cache / "tmp" / ("0" * 64)
    (dead / "content").mkdir(parents=True)
    (dead / "content" / "half").write_bytes(b"of an archive")
    running = start(namespace, origin.put("/slow", Resource(FILE, stall=1000)), FILE, tmp_path / "log")
    origin.stalled.wait(60)

    # Another pod of the node: the cache is theirs together, the repository its own.
    (tmp_path / "other").mkdir()
    other = Namespace(namespace.cache, tmp_path / "other")
    assert other.fetch(onnx(origin.put("/m", Resource(ARCHIVE)), ARCHIVE)).ok

    assert [path.name for path in namespace.staged()] == [sha256(FILE)]
    origin.resume.set()
    assert ended(running) == 0


def test_two_pods_of_a_node_fetch_once(namespace: Namespace, origin: Origin, tmp_path: Path) -> None:
    uri = origin.put("/m", Resource(FILE, stall=1000))
    logs = [tmp_path / "first", tmp_path / "second"]
    first = start(namespace, uri, FILE, logs[0])
    origin.stalled.wait(60)
    other = namespace.pod("other-pod")
    second = start(other, uri, FILE, logs[1])
    wait_for_line(second, b"waiting for it")

    origin.resume.set()

    assert [ended(first), ended(second)] == [0, 0]
    reports = [parse_report(log.read_text()) for log in logs]
    assert [report.models[0].source for report in reports if report] == ["fetched", "cache"]
    assert len(origin.seen) == 1
    assert_only_verified_is_reachable(namespace, FILE)
    assert_only_verified_is_reachable(other, FILE)


def test_the_second_pod_fetches_when_the_first_dies(namespace: Namespace, origin: Origin, tmp_path: Path) -> None:
    resource = Resource(FILE, stall=1000)
    uri = origin.put("/m", resource)
    first = start(namespace, uri, FILE, tmp_path / "first")
    origin.stalled.wait(60)
    resource.stall = None
    second = start(namespace.pod("other-pod"), uri, FILE, tmp_path / "second")
    wait_for_line(second, b"waiting for it")

    first.kill()

    assert [ended(first), ended(second)] == [-9, 0]
    assert namespace.staged() == []


def test_an_unsafe_archive_of_the_promised_bytes_is_unsafe_and_leaves_nothing(
    namespace: Namespace, origin: Origin, tmp_path: Path
) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    body = tar({"1/model.py": b"x", "out": link, "out/escaped": b"x"})

    report = namespace.fetch(onnx(origin.put("/m", Resource(body)), body))

    assert report.reason == "ArchiveUnsafe"
    assert "'out'" in report.message
    assert not (tmp_path / "escaped").exists()
    assert namespace.entries() == []
    assert namespace.staged() == []
