"""The layer below every image: Debian's minimal root filesystem with Python, made by debootstrap.

It is also what the other layers' Python code is compiled with, in a chroot of it, so that the pyc files fit the Python
that reads them whatever Python runs this. They are valid without looking at times, which layers do not keep:
containers with a read-only root start in the time it takes to read, not to compile.

A layer's key covers its pins and the file with its recipe, so an edit of a recipe is an edit of the key. This one is a
file of its own, as it takes longest to make.
"""

import dataclasses
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from rig.errors import RigError

SUITE: Final = "bookworm"
DEBIAN_PACKAGES: Final = ("ca-certificates", "libpython3.11", "python3")
PYTHON: Final = "3.11"
"""Debian bookworm's Python; nvidia-pytriton ships a stub of the python backend for it."""
CACHED: Final = ("var/cache", "var/lib/apt/lists", "var/log", "usr/share/locale", "usr/share/man", "usr/share/info")
"""Emptied: caches, logs (which carry the time of the build) and texts for people."""
OF_THE_HOST: Final = ("etc/hostname", "etc/resolv.conf", "etc/machine-id")
"""Emptied: debootstrap copies them from this machine, the container runtime brings its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an image: `fill(root, folder)` puts its files below `root`; `folder` is the images' cache."""

    name: str
    what: str
    usual: str
    key: str
    fill: Callable[[Path, Path], None]
    keep_modes: bool = False

    def tar(self, folder: Path) -> Path:
        """Return where the layer lies in the images' cache once it was filled."""
        return folder / f"layer-{self.name}-{self.key}.tar"


def base() -> Layer:
    """Return Debian's minimal root filesystem with Python, below every image."""
    pins = [SUITE, *DEBIAN_PACKAGES, platform.machine()]
    return Layer(
        name="base",
        what=f"Debian {SUITE} and Python {PYTHON}, by debootstrap",
        usual="45 s",
        key=key(Path(__file__), *pins),
        fill=_fill,
        keep_modes=True,
    )


def key(recipe: Path, *pins: str) -> str:
    """Return the name of what the recipe in that file makes of these pins."""
    return hashlib.sha256("\0".join([recipe.read_text(), *pins]).encode()).hexdigest()[:16]


def compile_layer(root: Path, site: str, folder: Path) -> None:
    """Compile the Python code in the folder `site` of a layer, with the base that lies in the images' cache.

    The mount that shows the base's Python the layer is in a mount namespace of its own and ends with it.
    """
    script = 'mount --bind "$1" "$2/mnt" && root="$2" && shift 2 && exec chroot "$root" "$@"'
    compiler = _compile("-s", "/mnt", "-p", "/", f"/mnt/{site}")
    run(["unshare", "--mount", "sh", "-c", script, "sh", str(root), str(_unpacked(folder)), *compiler])


def run(command: Iterable[str]) -> None:
    """Run a tool quietly; raise RigError with the end of what it printed when it fails."""
    argv = list(command)
    # SOURCE_DATE_EPOCH: packages that write the day of their installation write the same one always.
    env = {**os.environ, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "0", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise RigError(f"{argv[0]} is not installed; an image cannot be built without it") from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise RigError(f"{argv[0]} ended with exit status {done.returncode}:\n{last}")


def _fill(root: Path, _folder: Path) -> None:
    run(["debootstrap", "--variant=minbase", f"--include={','.join(DEBIAN_PACKAGES)}", SUITE, str(root)])
    for name in CACHED:
        _empty(root / name)
    for name in OF_THE_HOST:
        (root / name).write_text("")
    for text in (root / "usr/share/doc").rglob("*"):
        if text.is_file() and text.name != "copyright":
            text.unlink()
    # Device nodes are the runtime's; those that debootstrap could make here are not the same on every machine.
    _empty(root / "dev")
    # Debian compiles with the sources' times.
    run(["chroot", str(root), *_compile("/usr/lib/python3", f"/usr/lib/python{PYTHON}")])


def _unpacked(folder: Path) -> Path:
    """Return where the base stands unpacked in the images' cache, unpacked from its tar where it does not yet."""
    layer = base()
    root = folder / f"rootfs-{layer.key}"
    if not root.exists():
        for old in folder.glob("rootfs-*"):
            shutil.rmtree(old)
        partial = root.with_suffix(".partial")
        partial.mkdir()
        run(["tar", "--extract", "--numeric-owner", "--file", str(layer.tar(folder)), "--directory", str(partial)])
        partial.rename(root)
    return root


def _compile(*arguments: str) -> list[str]:
    # Files that no Python 3.11 can compile are test data of their packages: reported, and not imported by anyone.
    invalidation = ["-f", "--invalidation-mode", "unchecked-hash"]
    return ["/bin/sh", "-c", '/usr/bin/python3 -m compileall -q "$@" || :', "sh", *invalidation, *arguments]


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
