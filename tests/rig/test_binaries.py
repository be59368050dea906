import shutil
from pathlib import Path

import pytest

from rig import binaries, paths
from rig.binaries import CATALOGUE, CONTROL_PLANE, NODE, Binaries


def test_every_program_is_a_tool_of_its_pinned_module() -> None:
    for binary in CATALOGUE.values():
        module = (paths.GOMODS / binary.family / "go.mod").read_text(encoding="utf-8")
        assert f"\t{binary.package}\n" in module or f"tool {binary.package}\n" in module, binary.name
        assert (paths.GOMODS / binary.family / "go.sum").is_file()


def test_the_control_plane_is_built_before_the_nodes() -> None:
    order = list(CATALOGUE)
    assert max(map(order.index, CONTROL_PLANE)) < min(map(order.index, NODE))


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_pin_that_changes_changes_the_key(tmp_path: Path, file: str) -> None:
    module = tmp_path / "etcd"
    shutil.copytree(paths.GOMODS / "etcd", module)
    before = binaries.family_key("etcd", module, "linux/x86_64")
    assert binaries.family_key("etcd", module, "linux/x86_64") == before
    assert binaries.family_key("etcd", module, "linux/aarch64") != before
    with (module / file).open("a", encoding="utf-8") as text:
        text.write("\n// changed\n")
    assert binaries.family_key("etcd", module, "linux/x86_64") != before


def test_programs_that_are_given_are_not_built(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "etcd").touch()
    found = Binaries(cache=tmp_path / "cache", assets=assets)
    assert found.path("etcd") == assets / "etcd"
    assert [binary.name for binary in found.missing(CONTROL_PLANE)] == list(CONTROL_PLANE[1:])


def test_runc_is_built_with_seccomp_and_c_and_nothing_else_is(tmp_path: Path) -> None:
    for binary in CATALOGUE.values():
        is_runc = binary.name == "runc"
        assert ("seccomp" in binaries.build_command("go", binary, tmp_path / "out")) is is_runc
        assert (binaries.build_environment(binary.family)["CGO_ENABLED"] == "1") is is_runc


@pytest.mark.parametrize(
    ("text", "recent"),
    [
        ("Client Version: v1.30.0\nKustomize Version: v5", True),
        ("Client Version: v1.32.4-dispatcher", True),
        ("Client Version: v1.29.9", False),
        ("Client Version: version.Info{Major:1}", False),
        ("", False),
    ],
)
def test_an_old_kubectl_is_not_taken(text: str, recent: bool) -> None:
    assert binaries.is_recent_kubectl(text) is recent
