import json
from pathlib import Path

import pytest

from rig import bundle, imagestore, paths, proxies, states
from rig.waiting import until


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"LITTORAL_CACHE": "/c"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/littoral"),
        ({"HOME": "/h"}, "/h/.cache/littoral"),
        ({"LITTORAL_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c"),
    ],
)
def test_where_the_cache_is(env: dict[str, str], expected: str) -> None:
    assert paths.cache_root(env) == Path(expected)


def test_a_cluster_is_named_after_its_folder_and_fits_an_interface() -> None:
    first, second = paths.cluster_id(Path("/a/.state/cluster")), paths.cluster_id(Path("/b/.state/cluster"))
    assert first != second
    assert len(first) <= 15


def test_a_run_is_abandoned_once_its_process_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITTORAL_STATE", str(tmp_path))
    monkeypatch.setattr(paths, "state_root", lambda *_: tmp_path)
    folder = states.make()
    assert states.abandoned() == []
    owner = json.loads((folder / "owner.json").read_text(encoding="utf-8"))
    owner["started"] -= 1  # the same pid, of a later process
    (folder / "owner.json").write_text(json.dumps(owner), encoding="utf-8")
    assert states.abandoned() == [folder]


def test_of_an_image_only_the_last_archive_counts() -> None:
    assert imagestore.current(["a-1.tar", "b-b-1.tar", "a-2.tar"]) == ["a-2.tar", "b-b-1.tar"]


def test_a_linked_copy_shares_layers_and_owns_its_databases(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "snapshots").mkdir(parents=True)
    (source / "snapshots" / "layer").write_text("layer", encoding="utf-8")
    (source / "meta.db").write_text("database", encoding="utf-8")
    imagestore.copy_linked(source, target)
    assert (target / "snapshots" / "layer").samefile(source / "snapshots" / "layer")
    assert not (target / "meta.db").samefile(source / "meta.db")
    assert (target / "meta.db").read_text(encoding="utf-8") == "database"


@pytest.mark.parametrize(
    ("path", "carried"),
    [
        ("bin/etcd-1/etcd", True),
        ("wheels/kopf-1-py3-none-any.whl", True),
        ("images/layer-base-1.tar", True),
        ("images/pause-1.tar", False),
        ("images/rootfs-1/etc/layer-of-a-name", False),
        ("examples/plate-reader/archives/portable.tar.gz", True),
        ("bin/.lock", False),
        ("bin/etcd-1/.etcd.part", False),
        ("store-overlayfs/root/meta.db", False),
    ],
)
def test_a_bundle_carries_what_is_finished_and_current(path: str, carried: bool) -> None:
    assert bundle.belongs(Path(path)) is carried


def test_waiting_ends_with_the_failure_as_it_is_by_then() -> None:
    tries = iter(["", "", "value"])
    assert until(lambda: next(tries), timeout=5, interval=0, failure=AssertionError) == "value"
    with pytest.raises(TimeoutError, match="late"):
        until(lambda: False, timeout=0, failure=lambda: TimeoutError("late"))


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, None),
        ({"NO_PROXY": "a"}, "a"),
        ({"HTTPS_PROXY": "http://p"}, "127.0.0.1,localhost,10.210.0.0/16"),
        ({"https_proxy": "http://p", "NO_PROXY": "a,localhost"}, "a,localhost,127.0.0.1,10.210.0.0/16"),
    ],
)
def test_a_proxy_is_not_taken_to_the_cluster(env: dict[str, str], expected: str | None) -> None:
    proxies.bypass(["10.210.0.0/16"], env)
    assert env.get("NO_PROXY") == expected
