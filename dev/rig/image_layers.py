"""What the layers of the local cluster's images hold above Debian's base, and how each is filled."""

import hashlib
import platform
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

from rig import image_base
from rig.image_base import PYTHON, Layer

REPOSITORY: Final = Path(__file__).resolve().parents[2]
TRITON_REQUIREMENTS: Final = REPOSITORY / "dev/images/triton-cpu/requirements.txt"
LOCK: Final = REPOSITORY / "requirements.lock"
PROJECT: Final = REPOSITORY / "pyproject.toml"
PACKAGE: Final = REPOSITORY / "operator/littoral"

SITE: Final = f"usr/local/lib/python{PYTHON}/dist-packages"
"""On the default sys.path of Debian's Python, also of the one that Triton's stub embeds."""


def tritonserver() -> Layer:
    """Return Triton's server, python backend and local cache, and the packages that its Python models import."""
    return Layer(
        name="triton",
        what="tritonserver, its python backend, numpy, onnxruntime and opencv, from PyPI",
        usual="30 s, 170 MB to download",
        key=_key(TRITON_REQUIREMENTS.read_text()),
        fill=_fill_tritonserver,
    )


def littoral_dependencies() -> Layer:
    """Return what the littoral package needs at run time, as the lock has it."""
    return Layer(
        name="littoral-dependencies",
        what="littoral's dependencies, from PyPI",
        usual="15 s",
        key=_key(LOCK.read_text(), *_dependencies()),
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
        key=_key(*contents),
        fill=_fill_littoral_package,
    )


def _key(*pins: str) -> str:
    """Return the key of a layer above the base: its code is compiled with the base's Python."""
    return image_base.key(Path(__file__), image_base.base().key, *pins)


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
    image_base.compile_layer(root, SITE, folder)


def _dependencies() -> list[str]:
    """Return what the littoral package asks for; the rest of pyproject.toml changes no layer."""
    declared: list[str] = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    return declared


def _fill_littoral_dependencies(root: Path, folder: Path) -> None:
    _install(root / SITE, ["--requirement", str(PROJECT), "--constraint", str(LOCK)])
    image_base.compile_layer(root, SITE, folder)


def _fill_littoral_package(root: Path, folder: Path) -> None:
    shutil.copytree(PACKAGE, root / SITE / "littoral", ignore=shutil.ignore_patterns("__pycache__"))
    command = root / "usr/local/bin/littoral"
    command.parent.mkdir(parents=True)
    command.write_text("#!/usr/bin/python3\nimport sys\n\nfrom littoral.cli.main import main\n\nsys.exit(main())\n")
    command.chmod(0o755)
    image_base.compile_layer(root, SITE, folder)


def _install(site: Path, arguments: list[str]) -> None:
    """Install hashed wheels for the image's Python, whatever Python runs this; nothing is built from source."""
    platform_tag = f"{platform.machine()}-manylinux_2_35"
    target = ["--target", str(site), "--python-version", PYTHON, "--python-platform", platform_tag]
    wheels = ["--only-binary", ":all:", "--require-hashes"]
    image_base.run([sys.executable, "-m", "uv", "pip", "install", "--quiet", *target, *wheels, *arguments])
    (site / ".lock").unlink(missing_ok=True)
    # Commands whose first line names the Python that runs this.
    shutil.rmtree(site / "bin", ignore_errors=True)
