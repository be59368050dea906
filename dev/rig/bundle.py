"""`make demo-cache`: one file with all that the local cluster is made of, for a machine without internet.

It holds the cache folder (programs, image layers, the example's archives) and the wheels of requirements.lock, so that
neither Go, nor a package registry, nor debootstrap is needed there: only Python, and the tools that `rig.preflight`
names. `make demo-cache-load` unpacks it with tar alone, because the Python environment is made from it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from rig import binaries, paths
from rig.binaries import Binaries
from rig.errors import RigError
from rig.progress import Progress

WHEELS = "wheels"
_LAYER = "layer-"


def pack(file: Path, cache: Path, progress: Progress) -> None:
    """Fill the cache with all programs, images and wheels, and write it to `file`."""
    from rig import images  # noqa: PLC0415  # builds need root on Linux; unpacking does not

    Binaries(cache).ensure(tuple(binaries.CATALOGUE), progress)
    for name in images.IMAGES:
        images.build(name, cache, progress)
    progress("building the example's archives (usually 10 s)")
    run([sys.executable, str(paths.REPOSITORY / "examples" / "plate-reader" / "build.py")], cache)
    progress("downloading the wheels of requirements.lock (usually 1 minute)")
    lock = ["--require-hashes", "--requirement", str(paths.REPOSITORY / "requirements.lock")]
    run([sys.executable, "-m", "pip", "download", "--quiet", *lock, "--dest", str(cache / WHEELS)], cache)
    wanted = [path for path in sorted(cache.rglob("*")) if path.is_file() and belongs(path.relative_to(cache))]
    size = sum(path.stat().st_size for path in wanted) // 2**20
    progress(f"writing {file}: {len(wanted)} files, {size} MiB before compression (usually 1 to 2 minutes)")
    temporary = file.with_name(f".{file.name}.part")
    with tarfile.open(temporary, "w:gz", compresslevel=1) as archive:
        for path in wanted:
            archive.add(path, str(path.relative_to(cache)))
    temporary.replace(file)
    progress(f"{file}: {file.stat().st_size // 2**20} MiB; there: make demo-cache-load FILE={file.name}")


def belongs(path: Path) -> bool:
    """True for what a bundle carries. Images are put together from their layers in seconds, and unpacked likewise."""
    if path.parts[0].startswith("store-"):
        return False
    if path.parts[0] == "images":
        return len(path.parts) == 2 and path.name.startswith(_LAYER)
    return not path.name.startswith(".")


def run(command: list[str], cache: Path) -> None:
    """Run a command that fills `cache`; raises RigError with its words if it fails."""
    env = {**os.environ, "LITTORAL_CACHE": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        raise RigError(f"{' '.join(command)}: {done.stderr.strip()}")
