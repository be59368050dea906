"""Control groups of the nodes: one tree a node, in every hierarchy this machine has.

A kubelet's cgroupRoot must exist in each hierarchy, on version 1 in the named ones too. The node's own processes join
the tree as well, in a leaf called `system`: so `destroy` finds everything that ever ran on the node (containers, their
shims, what they left behind) however it was started, and ends it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from rig.errors import RigError
from rig.waiting import until

ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io")
_LEAF = "system"


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The top of each hierarchy: `root` itself on version 2, its folders on version 1 (links are other names)."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())


def create(name: str, root: Path = ROOT) -> None:
    """Make the tree `name` in each hierarchy, with the leaf for the node's own processes."""
    for top in hierarchies(root):
        if top == root:
            _check_delegated(root)
        (top / name / _LEAF).mkdir(parents=True, exist_ok=True)
        if top == root:
            _delegate(root / name)


def join_files(name: str, root: Path = ROOT) -> list[Path]:
    """The files to write a pid into for it to join node `name`: one hierarchy is enough to find it again."""
    tops = hierarchies(root)
    tracked = next((top for top in tops if top.name in {"pids", "systemd"}), tops[0])
    return [tracked / name / _LEAF / "cgroup.procs"]


def destroy(name: str, root: Path = ROOT) -> list[str]:
    """End every process in the trees called `name` and remove them; returns what was removed.

    Raises RigError if one of them is still in use after 20 s.
    """
    trees = [top / name for top in hierarchies(root) if (top / name).is_dir()]

    def gone() -> bool:
        for pid in {pid for tree in trees for pid in processes(tree)}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        busy = [tree for tree in trees if not _remove(tree)]
        return not busy

    until(gone, timeout=20, failure=lambda: RigError(f"control groups still in use: {', '.join(map(str, trees))}"))
    return [f"control group {name}"] if trees else []


def processes(tree: Path) -> set[int]:
    """The pids in a tree, at any depth."""
    found: set[int] = set()
    for folder, _, _ in os.walk(tree):  # which passes over what vanishes meanwhile
        try:
            found.update(int(line) for line in Path(folder, "cgroup.procs").read_text(encoding="ascii").split())
        except OSError:  # removed under our eyes, or (version 2) a threaded one whose parent lists its processes
            continue
    return found


def _remove(tree: Path) -> bool:
    """Remove a tree from its leaves up; False if something in it is still in use."""
    folders = sorted(
        (path for path in tree.rglob("*") if path.is_dir()), key=lambda path: len(path.parts), reverse=True
    )
    for path in [*folders, tree]:
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _check_delegated(root: Path) -> None:
    """Version 2: the controllers must reach the first level already; turning them on there would change the machine."""
    on = (root / "cgroup.subtree_control").read_text(encoding="ascii").split()
    lacking = [name for name in _CONTROLLERS if name not in on]
    if lacking:
        wanted = " ".join(f"+{name}" for name in lacking)
        raise RigError(
            f"the cgroup controllers {', '.join(lacking)} are not enabled below {root}, which the kubelet needs. Under"
            f' systemd they are; elsewhere: echo "{wanted}" > {root}/cgroup.subtree_control (in a container, first move'
            " its processes into a child group)"
        )


def _delegate(tree: Path) -> None:
    wanted = " ".join(f"+{name}" for name in _CONTROLLERS)
    (tree / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
