"""Room for one more artifact: what goes, what stays, and what is said where nothing may go."""

import os
import time
from pathlib import Path

import pytest
from tests.modelstore.conftest import Namespace, Origin, Resource, onnx, sha256, tar
from tests.modelstore.test_cache import store

from littoral.modelstore.cache import Cache
from littoral.modelstore.collection import MOST, RESERVE, SHARE, Allowance, Collector
from littoral.modelstore.errors import REASONS, CacheFull
from littoral.modelstore.request import ModelRequest
from littoral.modelstore.tree import FOLDER

SIZE = 1000


def body(number: int) -> bytes:
    return number.to_bytes(2, "big") * (SIZE // 2)


def served(origin: Origin, number: int) -> ModelRequest:
    return onnx(origin.put(f"/{number}", Resource(body(number))), body(number))


def digests(*numbers: int) -> tuple[str, ...]:
    return tuple(sorted(sha256(body(number)) for number in numbers))


def used_long_ago(namespace: Namespace, number: int, order: int) -> None:
    os.utime(namespace.cache / "sha256" / sha256(body(number)) / "used", (order, order))


def test_the_least_recently_used_goes_first_and_only_as_much_as_must(namespace: Namespace, origin: Origin) -> None:
    for number, order in ((1, 30), (2, 10), (3, 20)):
        assert namespace.fetch(served(origin, number)).ok
        used_long_ago(namespace, number, order)

    report = namespace.fetch(served(origin, 4), quota=3 * SIZE)

    assert report.ok
    assert report.freed == digests(2)
    assert report.kept == digests(1, 3, 4)


def test_being_served_is_being_used(namespace: Namespace, origin: Origin) -> None:
    for number in (1, 2):
        assert namespace.fetch(served(origin, number)).ok
        used_long_ago(namespace, number, number)
    assert namespace.fetch(served(origin, 1)).models[0].source == "cache"

    assert namespace.fetch(served(origin, 3), quota=2 * SIZE).freed == digests(2)


def test_what_a_slice_serves_served_last_and_will_serve_stays(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(served(origin, 1), pinned_by="plate").ok
    assert namespace.fetch(served(origin, 2), pinned_by="plate").ok
    assert namespace.fetch(served(origin, 3), pinned_by="plate", prefetch=True).ok

    report = namespace.fetch(served(origin, 4), pinned_by="sign", quota=3 * SIZE)

    assert (report.reason, REASONS[report.reason]) == ("CacheFull", True)
    assert report.kept == digests(1, 2, 3)
    assert report.freed == ()
    other = namespace.fetch(served(origin, 4), pinned_by="plate", quota=3 * SIZE)
    assert other.freed == digests(3), "a slice that wants something else next has let go of what it wanted before"


def test_the_sentence_has_the_figures_and_the_way_out(namespace: Namespace, origin: Origin) -> None:
    for number in range(1, 7):
        assert namespace.fetch(served(origin, number), pinned_by=f"s{number}").ok

    message = namespace.fetch(served(origin, 7), pinned_by="plate", quota=6 * SIZE).message

    assert message == (
        "the models of this namespace may take 0.0 MiB of this node and take 0.0 MiB, 0.0 MiB of it for what slices "
        "serve, served last or will serve next (plate, s1, s2, s3 and 3 more); 0.0 MiB more are needed: raise the "
        "annotation littoral.dev/model-cache-quota of the namespace, or delete a model of it"
    )


def test_a_list_of_the_slices_that_are_here_lets_the_others_artifacts_go(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(served(origin, 1), pinned_by="gone").ok
    os.utime(namespace.cache / "pins" / "gone.json", (0, 0))
    wishes = {"quota": SIZE, "prefetch": True}
    assert namespace.fetch(served(origin, 2), pinned_by="here", **wishes).reason == "CacheFull"

    report = namespace.fetch(served(origin, 2), pinned_by="here", slices=("here",), listed=int(time.time()), **wishes)

    assert report.ok
    assert report.freed == digests(1)


def test_a_pin_that_cannot_be_read_holds_everything(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(served(origin, 1)).ok
    (namespace.cache / "pins").mkdir()
    (namespace.cache / "pins" / "plate.json").write_text("{")

    assert namespace.fetch(served(origin, 2), quota=SIZE).reason == "CacheFull"
    assert namespace.entries() == list(digests(1))


def test_what_a_fetch_brings_makes_no_room_for_what_else_it_brings(namespace: Namespace, origin: Origin) -> None:
    models = [onnx(served(origin, number).uri, body(number), name=f"m{number}") for number in (1, 2, 3)]

    report = namespace.fetch(*models, quota=2 * SIZE, partial=True)

    assert [model.name for model in report.models] == ["m1", "m2"]
    assert [(failure.name, failure.reason) for failure in report.failures] == [("m3", "CacheFull")]
    assert report.kept == digests(1, 2)


def test_nothing_goes_where_all_of_it_would_not_be_enough(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(served(origin, 1)).ok
    large = bytes(3 * SIZE)

    report = namespace.fetch(onnx(origin.put("/large", Resource(large)), large), quota=2 * SIZE)

    assert report.reason == "CacheFull"
    assert report.kept == digests(1)


def part(namespace: Namespace, number: int, size: int) -> Path:
    content = namespace.cache / "tmp" / sha256(body(number)) / "content"
    content.parent.mkdir(parents=True)
    content.write_bytes(body(number)[:size])
    return content


def test_parts_count_and_those_that_nobody_wants_go_before_anything_else(namespace: Namespace, origin: Origin) -> None:
    assert namespace.fetch(served(origin, 1)).ok
    stale = part(namespace, 8, 600)
    assert namespace.fetch(served(origin, 2)).ok
    assert stale.exists(), "there was room"

    report = namespace.fetch(served(origin, 3), quota=3 * SIZE + 500)

    assert report.ok
    assert not stale.exists()
    assert (report.freed, report.kept) == ((), digests(1, 2, 3))


def test_a_part_that_a_slice_waits_for_goes_last(namespace: Namespace, origin: Origin) -> None:
    uri = origin.put("/8", Resource(b"", statuses=[503] * 9))
    assert namespace.fetch(onnx(uri, body(8)), pinned_by="plate").reason == "SourceUnreachable"
    wanted = part(namespace, 8, 600)
    assert namespace.fetch(served(origin, 1)).ok

    assert namespace.fetch(served(origin, 2), quota=SIZE + 700).freed == digests(1)
    assert wanted.exists()
    assert namespace.fetch(served(origin, 3), quota=SIZE + 500).freed == digests(2)
    assert not wanted.exists()


def test_what_an_archive_expands_to_is_counted_as_it_comes(namespace: Namespace, origin: Origin) -> None:
    archive = tar({"1/model.py": bytes(40 * SIZE)}, "w:gz")
    model = onnx(origin.put("/m.tar.gz", Resource(archive)), archive)
    assert len(archive) < SIZE
    assert namespace.fetch(served(origin, 1)).ok

    assert namespace.fetch(model, quota=39 * SIZE + FOLDER).reason == "CacheFull"
    assert namespace.staged() == []
    assert namespace.fetch(model, quota=40 * SIZE + FOLDER).freed == digests(1)


def test_nothing_goes_for_what_an_archive_might_still_expand_to(namespace: Namespace, origin: Origin) -> None:
    archive = tar({"1/model.py": bytes(40 * SIZE)}, "w:gz")
    assert namespace.fetch(served(origin, 1)).ok

    report = namespace.fetch(onnx(origin.put("/m.tar.gz", Resource(archive)), archive), quota=42 * SIZE + FOLDER)

    assert (report.outcome, report.freed) == ("ok", ())


def test_fetches_at_a_time_share_the_quota(namespace: Namespace) -> None:
    cache = Cache(namespace.cache)
    collector = Collector(cache, quota=3 * SIZE)
    first, second = digests(1, 2)
    with cache.locks.digest(first), cache.staging(first), cache.locks.digest(second), cache.staging(second):
        Allowance(collector, first, 0).require(2 * SIZE)
        room = Allowance(collector, second, 0)

        with pytest.raises(CacheFull):
            room.require(2 * SIZE)
        room.require(SIZE)


def test_what_is_just_being_fetched_or_proved_is_left_alone(namespace: Namespace) -> None:
    cache = Cache(namespace.cache)
    (digest,) = digests(1)
    store(cache, digest, body(1))
    with cache.locks.digest(digest), cache.staging("f" * 64):
        with pytest.raises(CacheFull):
            Collector(cache, quota=SIZE).reserve("f" * 64, SIZE, 0)
        assert cache.find(digest)


def test_where_the_disk_is_short_what_nobody_holds_makes_room_as_well(
    namespace: Namespace, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert namespace.fetch(served(origin, 1)).ok
    assert namespace.fetch(served(origin, 2), pinned_by="plate").ok
    entries = namespace.cache / "sha256"
    monkeypatch.setattr(Collector, "free", lambda _: RESERVE + (2 - len(list(entries.iterdir()))) * SIZE)

    assert namespace.fetch(served(origin, 3)).freed == digests(1)

    report = namespace.fetch(served(origin, 4), pinned_by="sign")
    assert report.freed == digests(3)
    report = namespace.fetch(served(origin, 5), pinned_by="other")
    assert report.reason == "DiskFull"
    assert "64.0 MiB in reserve); free space on the node" in report.message


def test_the_default_is_a_tenth_of_the_disk_and_at_most_20_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector(Cache(tmp_path))
    disk = os.statvfs(tmp_path)
    assert collector.quota() == min(MOST, disk.f_blocks * disk.f_frsize // SHARE)

    for blocks, expected in ((1 << 24, (1 << 36) // 10), (1 << 30, 20 << 30)):
        size = os.statvfs_result((4096, 4096, blocks, blocks, blocks, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _, size=size: size)
        assert collector.quota() == expected


def test_what_people_put_into_import_is_theirs(namespace: Namespace, origin: Origin) -> None:
    namespace.import_file("large", bytes(5 * SIZE))

    assert namespace.fetch(served(origin, 1), quota=SIZE).ok
    assert (namespace.cache / "import" / "large").exists()
