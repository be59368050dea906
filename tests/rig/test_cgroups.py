import subprocess
import sys
from pathlib import Path

import pytest

from rig import cgroups
from rig.errors import RigError


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    for name in ("cpu", "pids", "systemd", "unified"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpuacct").symlink_to("cpu")
    return tmp_path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset io memory pids", encoding="ascii")
    (tmp_path / "cgroup.subtree_control").write_text("cpu cpuset io memory pids", encoding="ascii")
    return tmp_path


def test_version_1_gets_a_tree_in_every_hierarchy_the_named_ones_too(version_1: Path) -> None:
    cgroups.create("node", version_1)
    assert sorted(
        path.parent.parent.name for path in version_1.glob("*/node/system") if not path.parents[1].is_symlink()
    ) == [
        "cpu",
        "pids",
        "systemd",
        "unified",
    ]
    assert cgroups.join_files("node", version_1) == [version_1 / "pids" / "node" / "system" / "cgroup.procs"]


def test_version_2_gets_one_tree_whose_children_have_the_controllers(version_2: Path) -> None:
    cgroups.create("node", version_2)
    assert (version_2 / "node" / "system").is_dir()
    assert (version_2 / "node" / "cgroup.subtree_control").read_text(
        encoding="ascii"
    ) == "+cpu +cpuset +memory +pids +io"
    assert cgroups.join_files("node", version_2) == [version_2 / "node" / "system" / "cgroup.procs"]


def test_controllers_that_are_off_are_named_and_not_turned_on(version_2: Path) -> None:
    (version_2 / "cgroup.subtree_control").write_text("memory pids", encoding="ascii")
    with pytest.raises(RigError, match=r"cpu, cpuset, io are not enabled"):
        cgroups.create("node", version_2)
    assert (version_2 / "cgroup.subtree_control").read_text(encoding="ascii") == "memory pids"


def test_destroy_ends_what_runs_in_a_tree_and_leaves_the_others(version_1: Path) -> None:
    for name in ("mine", "other"):
        cgroups.create(name, version_1)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as inside:
        procs = version_1 / "pids" / "mine" / "system" / "cgroup.procs"
        procs.write_text(f"{inside.pid}\n", encoding="ascii")
        assert cgroups.processes(version_1 / "pids" / "mine") == {inside.pid}
        procs.unlink()  # a real cgroup's files go with its folder
        assert cgroups.destroy("mine", version_1) == ["control group mine"]
        inside.kill()
    assert not list(version_1.glob("*/mine"))
    assert (version_1 / "pids" / "other" / "system").is_dir()
    assert cgroups.destroy("mine", version_1) == []
