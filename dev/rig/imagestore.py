"""The images as containerd keeps them, unpacked once in the cache and given to each node as hard links.

Importing an image writes each layer twice, and a cluster has several nodes: minutes of a slow disk. So one store in the
cache takes each archive once. What a node gets shares its files: neither containerd nor an overlay ever changes a file
of a layer in place. Only containerd's own databases are copied. Where the state folder is on another file system than
the cache, `give` copies everything.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rig.errors import RigError, with_log
from rig.processes import ProcessTable
from rig.progress import Progress
from rig.waiting import until

_SOCKET = "/run/containerd/containerd.sock"
_PROCESS = "image-store"
_DATABASES = "*.db"


class ImageStore:
    """One store in the cache for each snapshotter; `state` is whose process table its containerd is recorded in."""

    def __init__(self, cache: Path, state: Path, binaries: Mapping[str, Path], snapshotter: str) -> None:
        self._folder = cache / f"store-{snapshotter}"
        self._state = state
        self._binaries = binaries
        self._snapshotter = snapshotter
        self._table = ProcessTable(state / "processes")
        self._log = state / "logs" / "image-store.log"

    def give(self, archives: Sequence[Path], targets: Sequence[Path], progress: Progress) -> None:
        """Have `archives` in the store and give a copy of it to each of `targets`, as containerd's root there."""
        with self._lock():
            known = self._known()
            missing = [archive for archive in archives if archive.name not in known]
            if missing:
                progress(f"unpacking {len(missing)} images (usually 5 to 20 s; kept for later runs)")
                self._import(missing)
                self._manifest.write_text(json.dumps(current([*known, *(path.name for path in missing)])), "utf-8")
            for target in targets:
                copy_linked(self._folder / "root", target)

    @property
    def _manifest(self) -> Path:
        return self._folder / "archives.json"

    def _known(self) -> list[str]:
        try:
            return [str(name) for name in json.loads(self._manifest.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            shutil.rmtree(self._folder / "root", ignore_errors=True)  # an import that was cut short
            return []

    def _import(self, archives: Sequence[Path]) -> None:
        config = self._state / "image-store.toml"
        config.write_text(configuration(self._folder / "root"), encoding="utf-8")
        self._manifest.unlink(missing_ok=True)
        script = 'mount --make-rprivate / && mount -t tmpfs tmpfs /run && exec "$@"'
        containerd = [str(self._binaries["containerd"]), "--config", str(config)]
        record = self._table.spawn(
            _PROCESS, ["unshare", "--mount", "sh", "-c", script, "sh", *containerd], log=self._log
        )
        ctr = ["nsenter", f"--target={record.pid}", "--mount", str(self._binaries["ctr"]), "--namespace=k8s.io"]
        try:
            until(
                lambda: self._answers(ctr),
                timeout=60,
                failure=lambda: with_log("containerd of the image store does not answer", self._log),
            )
            for archive in archives:
                done = subprocess.run(
                    [*ctr, "images", "import", "--local", f"--snapshotter={self._snapshotter}", str(archive)],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode != 0:
                    raise RigError(f"{archive} could not be unpacked: {done.stderr.strip()}")
        finally:
            self._table.stop([_PROCESS])

    def _answers(self, ctr: Sequence[str]) -> bool:
        if not self._table.alive(_PROCESS):
            raise with_log("containerd of the image store ended", self._log)
        return subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode == 0

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def current(archives: Sequence[str]) -> list[str]:
    """Of archives in the order of their import (NAME-KEY.tar) the last of each name: it has taken the image's tag."""
    return list({archive.rpartition("-")[0]: archive for archive in archives}.values())


def configuration(root: Path) -> str:
    """Containerd with nothing but what importing takes."""
    return f"""\
version = 3
root = {json.dumps(str(root))}
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]

[grpc]
address = {json.dumps(_SOCKET)}
"""


def copy_linked(source: Path, target: Path) -> None:
    """Copy a containerd root: databases by content, all else as hard links, or by content across file systems."""
    target.mkdir(parents=True, exist_ok=True)
    linked = subprocess.run(
        ["cp", "--archive", "--link", f"{source}/.", str(target)], capture_output=True, text=True, check=False
    )
    if linked.returncode != 0:
        shutil.rmtree(target)
        target.mkdir()
        subprocess.run(["cp", "--archive", f"{source}/.", str(target)], check=True)
        return
    for database in target.rglob(_DATABASES):
        original = source / database.relative_to(target)
        database.unlink()
        shutil.copy2(original, database)
