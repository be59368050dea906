"""Kubernetes' own release binaries, where the internet allows and LITTORAL_DOWNLOAD=1 asks for them.

Building them takes most of the first bring-up, downloading them seconds. It is not the default, because what go.sum
pins is reproducible anywhere and a checksum that comes from the same server as the program proves its transfer only.
LITTORAL_DOWNLOAD_URL names a mirror. The other programs are built in any case: their projects publish archives of
their own kinds, and they take a minute or two together.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from rig.errors import RigError
from rig.progress import Progress

_RELEASES = "https://dl.k8s.io/release"
_CONNECT_SECONDS = 10
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def wanted(env: Mapping[str, str] = os.environ) -> bool:
    """True if the user asked for release binaries."""
    return env.get("LITTORAL_DOWNLOAD") == "1"


def url(name: str, version: str, env: Mapping[str, str] = os.environ) -> str:
    """Where the release binary `name` for this machine is."""
    base = env.get("LITTORAL_DOWNLOAD_URL", _RELEASES).rstrip("/")
    machine = platform.machine()
    return f"{base}/{version}/bin/{platform.system().lower()}/{_ARCHITECTURES.get(machine, machine)}/{name}"


def fetch(name: str, version: str, output: Path, progress: Progress) -> bool:
    """Download a program to `output`; False, after a line that says why, if the server is not to be had.

    Raises RigError if what came is not what the server's own checksum says: no build should paper over that.
    """
    source = url(name, version)
    progress(f"downloading {name} (50 to 100 MB)")
    partial = output.with_name(f".{name}.part")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(f"{source}.sha256", timeout=_CONNECT_SECONDS) as answer:
            expected = answer.read().decode().split()[0]
        with urllib.request.urlopen(source, timeout=_CONNECT_SECONDS) as answer, partial.open("wb") as sink:
            shutil.copyfileobj(answer, sink)
    except (OSError, urllib.error.URLError) as error:
        progress(f"{source} cannot be had ({error}); building {name} instead")
        return False
    with partial.open("rb") as read:
        actual = hashlib.file_digest(read, "sha256").hexdigest()
    if actual != expected:
        partial.unlink()
        raise RigError(f"{source}: the file has the digest {actual}, its .sha256 says {expected}")
    partial.chmod(0o755)
    partial.replace(output)
    return True
