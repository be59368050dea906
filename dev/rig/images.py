"""The container images of the local cluster, built from package registries alone: no image registry, no Docker.

`build(name, cache, progress)` returns a docker-archive tar, which `ctr -n k8s.io images import` and `docker load` take:

- ``triton-cpu``: tritonserver out of the nvidia-pytriton wheel, its python backend, and the packages its models import;
- ``littoral``: the littoral package and its dependencies, as the fetch container of a served model runs it;
- ``pause``: the base alone, whose command sleeps, for containerd's ``sandbox_image``.

An image is a list of layers, the Debian base first and the same in all, so that containerd keeps it once. A layer is
known by a key over all that decides its content; layers and images lie in the cache under their keys, so a second
build is a look at the disk, and a change of littoral's own code rewrites one small layer. The same tree gives the
same bytes: entries are sorted and carry no time, owner name or host name. Needs root on Linux: debootstrap and chroot.
"""

import dataclasses
import fcntl
import hashlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rig import image_archive, image_base, image_layers
from rig.image_base import Layer

PATH: Final = "/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""What the machine calls itself, and what images call it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """A named list of layers, lowest first, and how containers of it start."""

    tag: str
    layers: Callable[[], list[Layer]]
    user: str
    command: list[str]
    env: dict[str, str] = dataclasses.field(default_factory=dict)


IMAGES: Final = {
    "triton-cpu": Image(
        tag="littoral.dev/local/triton-cpu:dev",
        layers=lambda: [image_base.base(), image_layers.tritonserver()],
        user="1000:1000",  # as triton-server in NVIDIA's own images
        command=["tritonserver", "--help"],
        # The wheel's libraries carry hashed names, so none can take the place of one of Debian's.
        env={"LD_LIBRARY_PATH": "/opt/tritonserver/lib"},
    ),
    "littoral": Image(
        tag="littoral.dev/local/littoral:dev",
        layers=lambda: [image_base.base(), image_layers.littoral_dependencies(), image_layers.littoral_package()],
        user="65532:65532",
        command=["littoral", "--help"],
    ),
    "pause": Image(
        tag="littoral.dev/local/pause:dev",
        layers=lambda: [image_base.base()],
        user="65535:65535",
        command=["/usr/bin/sleep", "infinity"],
    ),
}


def build(name: str, cache: Path, progress: Callable[[str], None]) -> Path:
    """Return the docker-archive of the named image, built if the cache lacks it as it stands now.

    `progress` is told, in one line each, what is being made, how long that usually takes and how long it took.

    Raises:
        KeyError: no image has that name.
        RigError: a tool is missing or failed; the message ends with its last lines.

    """
    image = IMAGES[name]
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder / ".lock"):
        layers = image.layers()
        config = _config(image)
        key = _key(image.tag, config, layers)
        archive = folder / f"{name}-{key}.tar"
        if not archive.exists():
            started = time.monotonic()
            tars = [_layer(layer, folder, progress) for layer in layers]
            _replace(archive, name, lambda target: image_archive.write_image(target, image.tag, config, tars))
            progress(f"image {name}: {archive.stat().st_size >> 20} MiB, written in {time.monotonic() - started:.0f} s")
        return archive


def _key(tag: str, config: dict[str, object], layers: list[Layer]) -> str:
    """Return the name of what this config over these layers gives."""
    pins = [tag, json.dumps(config, sort_keys=True), *(layer.key for layer in layers)]
    return hashlib.sha256("\n".join(pins).encode()).hexdigest()[:16]


def _layer(layer: Layer, folder: Path, progress: Callable[[str], None]) -> Path:
    """Return the tar of a layer, filled if the cache lacks it."""
    tar = layer.tar(folder)
    if tar.exists():
        return tar
    progress(f"image layer {layer.name}: {layer.what} (usually {layer.usual})")
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix=f".{layer.name}-", dir=folder))
    try:
        root = scratch / "root"
        root.mkdir(mode=0o755)
        layer.fill(root, folder)
        _replace(
            tar, f"layer-{layer.name}", lambda target: image_archive.write_layer(target, root, keep=layer.keep_modes)
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    progress(f"image layer {layer.name}: {tar.stat().st_size >> 20} MiB after {time.monotonic() - started:.0f} s")
    return tar


def _replace(target: Path, name: str, write: Callable[[Path], None]) -> None:
    """Write a file so that it appears whole or not at all, and drop those of the same name under older keys."""
    partial = target.with_suffix(".partial")
    write(partial)
    partial.rename(target)
    key_length = len(target.stem) - len(name) - 1
    for old in target.parent.glob(f"{name}-{'?' * key_length}.tar"):
        if old != target:
            old.unlink()


def _config(image: Image) -> dict[str, object]:
    """Return the image's config as the OCI image specification has it, less the layers."""
    return {
        # An archive whose config names no architecture and system is dropped by containerd's import without a word.
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": image.user,
            "Cmd": image.command,
            "Env": [f"PATH={PATH}", *(f"{name}={value}" for name, value in image.env.items())],
            "WorkingDir": "/",
        },
    }


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time build into a cache; a second one waits and finds the work done."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
