"""What the layers of the local cluster's images hold, and how each is filled.

A layer's key covers its pins and this file, so an edit of a recipe is an edit of the key. Python code is compiled
when a layer is made, with pyc files that are valid without looking at times: containers run with a read-only root and
start in the time it takes to read, not to compile. The compiler is the base's own Python 3.11, in a chroot of the base
kept unpacked in the cache; the mount that shows it the layer lives in a mount namespace of its own and ends with it.
"""

import dataclasses
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from rig.errors import RigError

REPOSITORY: Final = Path(__file__).resolve().parents[2]
TRITON_REQUIREMENTS: Final = REPOSITORY / "dev/images/triton-cpu/requirements.txt"
LOCK: Final = REPOSITORY / "requirements.lock"
PROJECT: Final = REPOSITORY / "pyproject.toml"
PACKAGE: Final = REPOSITORY / "operator/littoral"

SUITE: Final = "bookworm"
DEBIAN_PACKAGES: Final = ("ca-certificates", "libpython3.11", "python3")
PYTHON: Final = "3.11"
"""Debian bookworm's Python; nvidia-pytriton ships a stub of the python backend for it."""
SITE: Final = f"usr/local/lib/python{PYTHON}/dist-packages"
"""On the default sys.path of Debian's Python, also of the one that Triton's stub embeds."""
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


def base() -> Layer:
    """Return Debian's minimal root filesystem with Python, below every image."""
    pins = [SUITE, *DEBIAN_PACKAGES, platform.machine()]
    return Layer(
        name="base",
        what=f"Debian {SUITE} and Python {PYTHON}, by debootstrap",
        usual="45 s",
        key=_key(*pins),
        fill=_fill_base,
        keep_modes=True,
    )


def tritonserver() -> Layer:
    """Return Triton's server, python backend and local cache, and the packages that its Python models import."""
    return Layer(
        name="triton",
        what="tritonserver, its python backend, numpy, onnxruntime and opencv, from PyPI",
        usual="30 s, 170 MB to download",
        key=_key(base().key, TRITON_REQUIREMENTS.read_text()),
        fill=_fill_tritonserver,
    )


def littoral_dependencies() -> Layer:
    """Return what the littoral package needs at run time, as the lock has it."""
    return Layer(
        name="littoral-dependencies",
        what="littoral's dependencies, from PyPI",
        usual="15 s",
        key=_key(base().key, LOCK.read_text(), PROJECT.read_text()),
        fill=_fill_littoral_dependencies,
    )


def littoral_package() -> Layer:
    """Return the littoral package as it stands in this tree, and its command."""
    sources = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    contents = (f"{path.relative_to(PACKAGE)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sources)
    return Layer(
        name="littoral-package",
        what="littoral itself",
        usual="2 s",
        key=_key(base().key, *contents),
        fill=_fill_littoral_package,
    )


def rootfs(folder: Path, layer: Layer) -> Path:
    """Return where the base of that key stands unpacked in the images' cache; it does once the layer was built."""
    return folder / f"rootfs-{layer.key}"


def _key(*pins: str) -> str:
    """Return the name of what these pins and this recipe give."""
    return hashlib.sha256("\0".join([Path(__file__).read_text(), *pins]).encode()).hexdigest()[:16]


def _fill_base(root: Path, folder: Path) -> None:
    kept = rootfs(folder, base())
    if not kept.exists():
        _run(["debootstrap", "--variant=minbase", f"--include={','.join(DEBIAN_PACKAGES)}", SUITE, str(root)])
        for name in CACHED:
            _empty(root / name)
        for name in OF_THE_HOST:
            (root / name).write_text("")
        for text in (root / "usr/share/doc").rglob("*"):
            if text.is_file() and text.name != "copyright":
                text.unlink()
        # Device nodes are the runtime's; those that debootstrap could make here are not the same on every machine.
        _empty(root / "dev")
        # Debian compiles with the sources' times, which a layer does not keep.
        _run(["chroot", str(root), *_compile("/usr/lib/python3", f"/usr/lib/python{PYTHON}")])
        for old in folder.glob("rootfs-*"):
            shutil.rmtree(old)
        shutil.copytree(root, kept.with_suffix(".partial"), symlinks=True)
        kept.with_suffix(".partial").rename(kept)
    else:
        shutil.copytree(kept, root, symlinks=True, dirs_exist_ok=True)


def _fill_tritonserver(root: Path, folder: Path) -> None:
    site = root / SITE
    _install(site, ["--no-deps", "--requirement", str(TRITON_REQUIREMENTS)])
    server = root / "opt/tritonserver"
    shutil.copytree(site / "pytriton/tritonserver", server)
    # One stub per Python version lies in the wheel; the backend starts the one beside its library.
    (server / f"python_backend_stubs/{PYTHON}/triton_python_backend_stub").rename(
        server / "backends/python/triton_python_backend_stub"
    )
    shutil.rmtree(server / "python_backend_stubs")
    (site / "nvidia_pytriton.libs").rename(server / "lib")
    for rest in [site / "pytriton", *site.glob("nvidia_pytriton-*")]:
        shutil.rmtree(rest)
    # The interpreter of the stub for another Python, as large as Triton itself.
    for unused in (server / "lib").glob("libpython3-*"):
        unused.unlink()
    _compile_layer(root, folder)


def _fill_littoral_dependencies(root: Path, folder: Path) -> None:
    _install(root / SITE, ["--requirement", str(PROJECT), "--constraint", str(LOCK)])
    _compile_layer(root, folder)


def _fill_littoral_package(root: Path, folder: Path) -> None:
    shutil.copytree(PACKAGE, root / SITE / "littoral", ignore=shutil.ignore_patterns("__pycache__"))
    command = root / "usr/local/bin/littoral"
    command.parent.mkdir(parents=True)
    command.write_text("#!/usr/bin/python3\nimport sys\n\nfrom littoral.cli.main import main\n\nsys.exit(main())\n")
    command.chmod(0o755)
    _compile_layer(root, folder)


def _install(site: Path, arguments: list[str]) -> None:
    """Install hashed wheels for the image's Python, whatever Python runs this; nothing is built from source."""
    platform_tag = f"{platform.machine()}-manylinux_2_35"
    target = ["--target", str(site), "--python-version", PYTHON, "--python-platform", platform_tag]
    wheels = ["--only-binary", ":all:", "--require-hashes"]
    _run([sys.executable, "-m", "uv", "pip", "install", "--quiet", *target, *wheels, *arguments])
    (site / ".lock").unlink(missing_ok=True)
    # Commands whose first line names the Python that runs this.
    shutil.rmtree(site / "bin", ignore_errors=True)


def _compile_layer(root: Path, folder: Path) -> None:
    script = 'mount --bind "$1" "$2/mnt" && root="$2" && shift 2 && exec chroot "$root" "$@"'
    compiler = _compile("-s", "/mnt", "-p", "/", f"/mnt/{SITE}")
    _run(["unshare", "--mount", "sh", "-c", script, "sh", str(root), str(rootfs(folder, base())), *compiler])


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


def _run(command: Iterable[str]) -> None:
    """Run a tool quietly; raise with the end of what it printed when it fails."""
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
