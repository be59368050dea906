"""The image builder on layers made by hand: no debootstrap, no registry, no root."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from rig import image_archive, images
from rig.errors import RigError
from rig.image_base import Layer
from rig.progress import silent


def layer(name: str, text: str, fills: list[str]) -> Layer:
    """A layer with one file; each time it is filled its name goes into `fills`."""

    def fill(root: Path, _folder: Path) -> None:
        fills.append(name)
        (root / "etc").mkdir()
        (root / f"etc/{name}").write_text(text)

    return Layer(name=name, what=name, usual="0 s", key=hashlib.sha256(text.encode()).hexdigest()[:16], fill=fill)


@pytest.fixture
def fills(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An image `test` of two layers, `base` and `app`; the names of layers as they are filled."""
    filled: list[str] = []
    use(monkeypatch, [layer("base", "debian", filled), layer("app", "one", filled)])
    return filled


def use(monkeypatch: pytest.MonkeyPatch, layers: list[Layer]) -> None:
    image = images.Image(tag="example/test:dev", layers=lambda: layers, user="1:1", command=["app"], env={"A": "b"})
    monkeypatch.setitem(images.IMAGES, "test", image)


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: content.read() for entry in tar if (content := tar.extractfile(entry)) is not None}


def test_an_archive_says_what_docker_and_containerd_read(fills: list[str], tmp_path: Path) -> None:
    found = members(images.build("test", tmp_path, silent))

    (manifest,) = json.loads(found["manifest.json"])
    config = json.loads(found[manifest["Config"]])
    assert manifest["RepoTags"] == ["example/test:dev"]
    assert config["os"] == "linux"
    assert config["architecture"] in {"amd64", "arm64"}
    assert config["config"]["User"] == "1:1"
    assert "A=b" in config["config"]["Env"]
    digests = [f"sha256:{hashlib.sha256(found[name]).hexdigest()}" for name in manifest["Layers"]]
    assert config["rootfs"] == {"type": "layers", "diff_ids": digests}
    assert fills == ["base", "app"]


def test_a_second_build_makes_nothing_and_a_changed_layer_only_itself(
    fills: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = images.build("test", tmp_path, silent)
    assert images.build("test", tmp_path, silent) == first
    assert fills == ["base", "app"]

    use(monkeypatch, [layer("base", "debian", fills), layer("app", "two", fills)])
    second = images.build("test", tmp_path, silent)

    assert fills == ["base", "app", "app"]
    assert second != first
    assert not first.exists(), "the archive under the older key is dropped"
    assert len(list(tmp_path.glob("images/layer-app-*.tar"))) == 1


@pytest.mark.usefixtures("fills")
def test_the_same_layers_are_the_same_bytes(tmp_path: Path) -> None:
    here, there = (images.build("test", tmp_path / name, silent) for name in ("here", "there"))

    assert here.name == there.name
    assert here.read_bytes() == there.read_bytes()


def test_keys_hold_from_one_process_to_the_next() -> None:
    script = (
        "from rig import images;"
        "print([images._key(i.tag, images._config(i), i.layers()) for i in images.IMAGES.values()])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [subprocess.check_output([sys.executable, "-c", script], env=environment) for _ in range(2)]

    assert runs[0] == runs[1]


def test_a_layer_that_fails_leaves_nothing_that_looks_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fill(root: Path, _folder: Path) -> None:
        (root / "half").write_text("done")
        raise RigError("the registry is down")

    use(monkeypatch, [Layer(name="broken", what="", usual="", key="0" * 16, fill=fill)])

    with pytest.raises(RigError, match="the registry is down"):
        images.build("test", tmp_path, silent)

    assert [path.name for path in (tmp_path / "images").iterdir()] == [".lock"]


def test_a_layer_carries_no_time_owner_or_private_mode(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o700)
    (root / "secret").write_text("readable by containers of any user")
    (root / "secret").chmod(0o600)
    (root / "link").symlink_to("bin/tool")

    image_archive.write_layer(tmp_path / "layer.tar", root, keep=False)

    with tarfile.open(tmp_path / "layer.tar") as tar:
        entries = {entry.name: entry for entry in tar}
    assert list(entries) == ["bin", "bin/tool", "link", "secret"]
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries.values()} == {(0, 0, 0, "")}
    assert (entries["bin/tool"].mode, entries["secret"].mode) == (0o755, 0o644)
    assert entries["link"].linkname == "bin/tool"
