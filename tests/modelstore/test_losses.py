"""What a disk loses, what cannot be removed, what others hold up: one model's trouble is no other's."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.modelstore.conftest import Namespace, onnx, sha256
from tests.modelstore.test_cache import store

from littoral.modelstore import files, listing, locks, pins
from littoral.modelstore.cache import Cache
from littoral.modelstore.collection import RESERVE, Allowance, Collector
from littoral.modelstore.errors import CacheFull, DiskFull
from littoral.modelstore.pins import GRACE, Pin
from littoral.modelstore.request import FetchRequest, ModelRequest

SIZE = 1000
A, B = b"a" * SIZE, b"b" * SIZE
LOST = "/proc/self/mem"
"""A file that is there and cannot be read: EIO."""


def carried(namespace: Namespace, body: bytes) -> ModelRequest:
    namespace.import_file(sha256(body), body)
    return onnx(f"file:///import/{sha256(body)}", body)


def lose(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(LOST)
    with pytest.raises(OSError, match="Input/output error"):
        path.read_bytes()


def record(namespace: Namespace, model: ModelRequest) -> Path:
    """The record of a mismatch of `model`'s source, which holds what it should again."""
    right = (namespace.cache / "import" / model.sha256).read_bytes()
    namespace.import_file(model.sha256, b"wrong" * (SIZE // 5))
    assert namespace.fetch(model).reason == "DigestMismatch"
    namespace.import_file(model.sha256, right)
    return next((namespace.cache / "quarantine").glob("*.json"))


SMALL: dict[str, Callable[[Namespace, ModelRequest], Path]] = {
    "marker": lambda namespace, model: namespace.cache / "sha256" / model.sha256 / "verified.json",
    "listing": lambda namespace, model: namespace.cache / "sha256" / model.sha256 / "listing",
    "used": lambda namespace, model: namespace.cache / "sha256" / model.sha256 / "used",
    "pin": lambda namespace, _: namespace.cache / "pins" / "plate.json",
}


@pytest.mark.parametrize("lost", SMALL)
def test_a_small_file_that_the_disk_lost_stops_neither_its_model_nor_another(namespace: Namespace, lost: str) -> None:
    model, other = carried(namespace, A), carried(namespace, B)
    assert namespace.fetch(model, pinned_by="plate").ok
    lose(SMALL[lost](namespace, model))

    assert namespace.fetch(other, pinned_by="sign", quota=10 * SIZE).ok
    assert namespace.fetch(model, pinned_by="plate", quota=10 * SIZE).ok
    assert Cache(namespace.cache).pins.of("plate") == Pin((model.sha256,)), "written anew"
    assert Cache(namespace.cache).find(model.sha256)


def test_a_record_of_a_mismatch_that_the_disk_lost_refuses_nothing(namespace: Namespace) -> None:
    model = carried(namespace, A)
    lose(record(namespace, model))

    assert namespace.fetch(model).ok


def test_a_note_that_the_disk_lost_is_none(namespace: Namespace) -> None:
    cache = Cache(namespace.cache)
    entry = store(cache, sha256(A), A)
    cache.add_note(sha256(A), "signature", b"x")
    lose(entry / "notes" / "signature")

    assert cache.note(sha256(A), "signature") is None


REST: dict[str, Callable[[Path], object]] = {
    "a listing": lambda entry: (entry / "listing").write_text("x"),
    "its content": lambda entry: (entry / "content").unlink(),
    "its marker": lambda entry: (entry / "verified.json").write_text("x"),
}


@pytest.mark.parametrize("lost", REST)
def test_what_is_left_of_an_entry_makes_place_for_its_own_replacement(namespace: Namespace, lost: str) -> None:
    model = carried(namespace, A)
    assert namespace.fetch(model, pinned_by="plate", quota=SIZE * 3 // 2).ok
    REST[lost](namespace.cache / "sha256" / model.sha256)

    report = namespace.fetch(model, pinned_by="plate", quota=SIZE * 3 // 2)

    assert report.ok, report
    assert report.models[0].source == "fetched"


def test_what_a_pin_holds_is_not_swept_because_its_marker_is_lost(namespace: Namespace) -> None:
    """The server that serves it has it open, and may load it again."""
    model, other = carried(namespace, A), carried(namespace, B)
    assert namespace.fetch(model, pinned_by="plate").ok
    entry = namespace.cache / "sha256" / model.sha256
    (entry / "verified.json").unlink()

    assert namespace.fetch(other, pinned_by="sign", quota=SIZE * 3 // 2).reason == "CacheFull", "and it counts"
    assert (entry / "content").exists()
    Cache(namespace.cache).pins.change("plate", lambda _: Pin((other.sha256,)))
    assert namespace.fetch(other, pinned_by="sign", quota=SIZE * 3 // 2).ok
    assert not entry.exists()


def test_what_cannot_be_removed_is_said_and_left(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = carried(namespace, A)
    stuck = namespace.cache / "tmp" / ("e" * 64) / "folder"
    own = namespace.cache / "tmp" / model.sha256 / "folder"
    for folder in (stuck, own):
        folder.mkdir(parents=True)
    remove = os.rmdir

    def rmdir(path: str, **kwargs: int | None) -> None:
        if str(path).endswith("folder"):
            raise PermissionError(1, os.strerror(1), path)
        remove(path, **kwargs)

    monkeypatch.setattr(os, "rmdir", rmdir)

    assert namespace.fetch(model).ok
    assert stuck.exists()
    assert "cannot be removed: Operation not permitted" in caplog.text
    monkeypatch.undo()
    assert namespace.fetch(carried(namespace, B)).ok
    assert namespace.staged() == [], "the next fetch tries again"


def test_the_books_are_free_while_an_entry_is_removed(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(namespace.cache)
    store(cache, sha256(A), A)
    free: list[bool] = []
    remove = shutil.rmtree

    def rmtree(path: Path, **kwargs: Any) -> None:
        if ".discarded." in path.name:
            free.append(False)
            with contextlib.suppress(TimeoutError), Cache(namespace.cache).locks.books(0.0):
                free[-1] = True
        remove(path, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", rmtree)

    store(cache, sha256(A), A)
    cache.discard(sha256(A))
    store(cache, sha256(A), A)
    with cache.locks.digest(sha256(B)), cache.staging(sha256(B)):
        Collector(cache, quota=SIZE).reserve(sha256(B), SIZE, 0)

    assert free == [True] * 3, "of one that another takes the place of, of one thrown away, and of one collected"


@contextlib.contextmanager
def books_kept(namespace: Namespace) -> Iterator[None]:
    lock = os.open(namespace.cache / "locks" / "books", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def test_a_warm_start_waits_for_nobodys_books(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = carried(namespace, A)
    assert namespace.fetch(model, pinned_by="plate").ok
    monkeypatch.setattr(pins, "PATIENCE", 0.1)
    monkeypatch.setattr(locks, "_POLL", 0.01)

    with books_kept(namespace):
        assert namespace.fetch(model, pinned_by="plate").ok
        assert "cannot be pinned" not in caplog.text
        assert namespace.fetch(model, pinned_by="new").ok
    assert "what slice new needs cannot be pinned" in caplog.text
    assert "another container keeps the books" in caplog.text


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, namespace: Namespace) -> list[int]:
    """A disk with room for as many small files as the number in the list, and one for each that is removed."""
    room = [0]
    write, unlink = files.replace_file, Path.unlink

    def replace_file(path: Path, data: bytes) -> None:
        if room[0] < 1:
            raise OSError(28, os.strerror(28))
        write(path, data)

    def counted(path: Path, *, missing_ok: bool = False) -> None:
        room[0] += path.exists() and namespace.cache in path.parents
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(pins, "replace_file", replace_file)
    monkeypatch.setattr(Path, "unlink", counted)
    return room


def test_on_a_full_disk_ballast_goes_for_a_pin(namespace: Namespace, full: list[int]) -> None:
    full[0] = 9
    model = carried(namespace, A)
    assert namespace.fetch(model, pinned_by="plate").ok
    full[0] = 0

    assert namespace.fetch(model, pinned_by="other").ok

    assert Cache(namespace.cache).pins.of("other") == Pin((model.sha256,))


def test_without_ballast_what_nobody_holds_goes_for_a_pin(namespace: Namespace, full: list[int]) -> None:
    full[0] = 9
    model, other = carried(namespace, A), carried(namespace, B)
    assert namespace.fetch(model, pinned_by="plate").ok
    assert namespace.fetch(other).ok
    shutil.rmtree(namespace.cache / "pins" / "ballast")
    full[0] = 0
    discarded = shutil.rmtree

    def rmtree(path: Path, **kwargs: Any) -> None:
        discarded(path, **kwargs)
        full[0] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", rmtree)
        report = namespace.fetch(model, pinned_by="other")

    assert report.freed == (other.sha256,)
    assert Cache(namespace.cache).pins.of("other") == Pin((model.sha256,))


def test_what_serves_without_a_pin_stays_until_the_node_starts_anew(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    model, other = carried(namespace, A), carried(namespace, B)
    monkeypatch.setattr("littoral.modelstore.cache.boot_id", lambda: "first")
    assert namespace.fetch(model).ok
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pins, "replace_file", full)
        assert namespace.fetch(model, pinned_by="plate").ok

    assert namespace.pod("other").fetch(other, pinned_by="sign", quota=SIZE).reason == "CacheFull"
    assert (namespace.repository / "plate" / "1" / "model.onnx").read_bytes() == A
    monkeypatch.setattr("littoral.modelstore.cache.boot_id", lambda: "second")
    assert namespace.pod("other").fetch(other, pinned_by="sign", quota=SIZE).freed == (model.sha256,)


def test_pins_that_cannot_be_dropped_do_not_keep_the_own_from_being_written(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(pins.Pins, "drop_others", broken)
    model = carried(namespace, A)

    assert namespace.fetch(model, pinned_by="plate", prefetch=True, slices=("plate",), listed=1).ok
    assert Cache(namespace.cache).pins.of("plate") == Pin(next=(model.sha256,))


@pytest.mark.parametrize(("age", "dropped"), [(0, True), (GRACE + 60, False), (-GRACE - 60, False), (None, False)])
def test_an_old_list_of_slices_drops_no_pin(namespace: Namespace, age: float | None, dropped: bool) -> None:
    """The pod of a Job may come again hours after the Job, and the clock of a node may be wrong."""
    served, model = carried(namespace, A), carried(namespace, B)
    assert namespace.fetch(served, pinned_by="young").ok
    long_ago = time.time() - 4 * GRACE
    os.utime(namespace.cache / "pins" / "young.json", (long_ago, long_ago))
    listed = None if age is None else int(time.time() - age)

    report = namespace.fetch(model, pinned_by="old", prefetch=True, slices=("old",), listed=listed, quota=SIZE)

    assert (report.freed == (served.sha256,)) == dropped


def test_what_last_answered_is_held_through_all_that_do_not(namespace: Namespace) -> None:
    good, bad, worse, new = (carried(namespace, letter * SIZE) for letter in (b"g", b"b", b"w", b"n"))
    assert namespace.fetch(good, pinned_by="plate").ok
    for each in (bad, worse):
        wishes: dict[str, Any] = {"pinned_by": "plate", "quota": 4 * SIZE}
        assert namespace.fetch(each, prefetch=True, last=(good.sha256,), **wishes).ok
        assert namespace.fetch(each, **wishes).ok
    assert Cache(namespace.cache).pins.of("plate") == Pin((worse.sha256,), (good.sha256,))

    report = namespace.fetch(new, prefetch=True, last=(good.sha256,), pinned_by="plate", quota=3 * SIZE)

    assert report.freed == (bad.sha256,)


def test_a_list_of_sums_is_not_the_folder_that_it_is_of(namespace: Namespace) -> None:
    namespace.import_file("folder/1/model.onnx", A)
    namespace.import_file("folder/labels", b"x")
    folder = listing.of(namespace.cache / "import" / "folder")
    text = "".join(f"{each.sha256}  {each.path}\n" for each in folder.entries).encode()
    namespace.import_file("sums", text)
    assert namespace.fetch(onnx("file:///import/sums", text)).ok

    report = namespace.fetch(onnx("file:///import/folder/", text, size=None))

    assert report.ok
    assert report.models[0].source == "fetched"
    assert (namespace.repository / "plate" / "1" / "model.onnx").read_bytes() == A


KINDS = {"https://x/m": "File", "https://x/m/": "File", "s3://b/p/": "Folder", "s3://b/p": "File"} | {
    "file:///import/d/": "Folder",
    "oci://x/y@sha256:1": "Manifest",
}


@pytest.mark.parametrize("uri", KINDS)
def test_what_a_digest_is_of_is_told_by_the_uri(uri: str) -> None:
    assert onnx(uri, b"").kind == KINDS[uri]


def test_nothing_goes_where_what_could_go_is_in_others_hands(namespace: Namespace) -> None:
    cache = Cache(namespace.cache)
    first, second, new = sha256(A), sha256(B), "f" * 64
    for digest, body, at in ((first, A, 1), (second, B, 2)):
        os.utime(store(cache, digest, body) / "used", (at, at))
    collector = Collector(cache, quota=2 * SIZE)

    with cache.locks.digest(second), cache.locks.digest(new), cache.staging(new):
        with pytest.raises(CacheFull):
            collector.reserve(new, 2 * SIZE, 0)
        assert cache.kept() == tuple(sorted([first, second]))
        collector.reserve(new, SIZE, 0)
    assert collector.freed == [first]


def test_bytes_of_the_disk_are_promised_once(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(namespace.cache)
    monkeypatch.setattr(Collector, "free", lambda _: RESERVE + 50)
    one, two = "e" * 64, "f" * 64
    collector = Collector(cache, quota=1 << 40)
    with cache.locks.digest(one), cache.staging(one) as content, cache.locks.digest(two), cache.staging(two):
        collector.reserve(one, 30, 0)
        with pytest.raises(DiskFull, match="free space on the node"):
            collector.reserve(two, 30, 0)
        content.write_bytes(bytes(30))
        collector.reserve(two, 30, 0)  # what is written is in what the disk says


def test_where_others_fill_the_disk_meanwhile_what_nobody_holds_goes(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, new = Cache(namespace.cache), "f" * 64
    entry = store(cache, sha256(A), A)
    size = RESERVE // 2
    short = [0]
    monkeypatch.setattr(Collector, "free", lambda _: RESERVE + size - (short[0] if entry.exists() else 0))
    with cache.locks.digest(new), cache.staging(new):
        collector = Collector(cache, quota=1 << 40)
        room = Allowance(collector, new, 0)
        room.require(size)
        assert collector.freed == []
        short[0] = size + 1

        room.spend(size)

        assert collector.freed == [sha256(A)]


def test_what_is_used_now_was_used_last_whatever_the_clock_says(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (carried(namespace, letter * SIZE) for letter in (b"1", b"2", b"3"))
    assert namespace.fetch(first).ok
    assert namespace.fetch(second).ok
    monkeypatch.setattr("littoral.modelstore.cache.time.time", lambda: 100.0)  # a board after a power cut
    assert namespace.fetch(first).ok

    assert namespace.fetch(third, quota=2 * SIZE + SIZE // 2).freed == (second.sha256,)


def test_a_comparison_says_how_far_it_is_and_that_the_kernel_names_no_boot(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store(Cache(namespace.cache, boot="first"), sha256(A), A)
    seconds = iter(range(0, 1000, 10))
    monkeypatch.setattr("littoral.modelstore.transfer.time.monotonic", lambda: next(seconds))
    monkeypatch.setattr("littoral.modelstore.transfer.Progress.__init__.__defaults__", (5.0, lambda: next(seconds)))

    assert Cache(namespace.cache, boot="").verify(sha256(A))

    assert "is of a boot that the kernel does not name" in caplog.text
    assert f"comparing sha256:{sha256(A)}: 0.0 MiB of 0.0 MiB (100 %)" in caplog.text


def test_a_request_carries_what_a_prefetch_is_told() -> None:
    model = ModelRequest(name="a", uri="https://x/m", sha256="0" * 64)
    told = FetchRequest(models=(model,), prefetch=True, slices=("a",), listed=5, last=("1" * 64,))
    assert {"listed", "last"} <= json.loads(told.dump()).keys()
    assert not {"listed", "last"} & json.loads(FetchRequest(models=(model,)).dump()).keys()
