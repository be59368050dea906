"""The programs of clusters and tests: which they are, from which pinned Go module, and how they are built once.

Every program comes out of one of the modules in dev/gomods, whose go.sum pins every line of its source; containerd,
runc and the CNI plugins too, so that nothing is installed on the host that could displace its own container runtime.
A family's programs are kept in the cache under a key of everything that decides their bytes: go.mod, go.sum, flags
and platform. KUBEBUILDER_ASSETS, where it is set and holds a program, goes first; with LITTORAL_DOWNLOAD=1 Kubernetes'
own release binaries are tried before anything is built (see `rig.download`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig import download, paths
from rig.errors import RigError, with_log
from rig.progress import Progress

KUBERNETES_VERSION = "v1.36.3"
_STAMP = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = f"-s -w -X {_STAMP}.gitVersion={KUBERNETES_VERSION} -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor=36"
_PLAIN_FLAGS = "-s -w"


@dataclass(frozen=True)
class Binary:
    """One program: the Go package it is built from and how many seconds that takes on two cores, coming from nothing.

    The first program of a family that is built pays for the packages that the later ones share.
    """

    name: str
    family: str
    package: str
    seconds: int


_CNI = "github.com/containernetworking/plugins/plugins"
_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_KUBERNETES = "k8s.io/kubernetes/cmd"

# In the order in which they are built: the control plane first, so that it can start while the rest is being built.
CATALOGUE: Mapping[str, Binary] = {
    binary.name: binary
    for binary in (
        Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3", 45),
        Binary("kube-apiserver", "kubernetes", f"{_KUBERNETES}/kube-apiserver", 430),
        Binary("kube-controller-manager", "kubernetes", f"{_KUBERNETES}/kube-controller-manager", 130),
        Binary("kube-scheduler", "kubernetes", f"{_KUBERNETES}/kube-scheduler", 13),
        Binary("containerd", "containerd", f"{_CONTAINERD}/containerd", 60),
        Binary("containerd-shim-runc-v2", "containerd", f"{_CONTAINERD}/containerd-shim-runc-v2", 10),
        Binary("ctr", "containerd", f"{_CONTAINERD}/ctr", 20),
        Binary("runc", "runc", "github.com/opencontainers/runc", 13),
        Binary("bridge", "cni", f"{_CNI}/main/bridge", 18),
        Binary("loopback", "cni", f"{_CNI}/main/loopback", 1),
        Binary("host-local", "cni", f"{_CNI}/ipam/host-local", 1),
        Binary("portmap", "cni", f"{_CNI}/meta/portmap", 1),
        Binary("kubelet", "kubernetes", f"{_KUBERNETES}/kubelet", 90),
        Binary("kube-proxy", "kubernetes", f"{_KUBERNETES}/kube-proxy", 38),
        Binary("kubectl", "kubernetes", f"{_KUBERNETES}/kubectl", 75),
        Binary("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", 126),
        Binary("toxiproxy-server", "toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", 7),
        Binary("registry", "registry", "github.com/distribution/distribution/v3/cmd/registry", 58),
        Binary("versitygw", "versitygw", "github.com/versity/versitygw/cmd/versitygw", 49),
    )
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE = (
    "containerd", "containerd-shim-runc-v2", "ctr", "runc", "bridge", "loopback", "host-local", "portmap",
    "kubelet", "kube-proxy",
)  # fmt: skip
SERVERS = ("toxiproxy-server", "registry", "versitygw")
"""What models are fetched from, and through, in the contract tests of delivery (see `rig.servers`)."""


def build_flags(family: str) -> tuple[str, ...]:
    """The flags of `go build` for a family; part of its cache key.

    runc is built with seccomp, which needs libseccomp's headers: without it no pod with a profile starts, and the
    kubelet gives every pod sandbox one.
    """
    tags = ("-tags", "seccomp") if family == "runc" else ()
    return ("-trimpath", *tags, "-ldflags", _KUBERNETES_FLAGS if family == "kubernetes" else _PLAIN_FLAGS)


def build_environment(family: str) -> dict[str, str]:
    """The variables that decide a build: runc alone needs C (it joins namespaces before Go's runtime has threads)."""
    return {"CGO_ENABLED": "1" if family == "runc" else "0"}


def go_command() -> str | None:
    """The Go toolchain: the one installed into this Python environment (see `rig.preflight`), else that on PATH."""
    own = Path(sys.executable).with_name("go")
    return str(own) if own.is_file() else shutil.which("go")


def build_command(go: str, binary: Binary, output: Path) -> list[str]:
    """The command that builds `binary`, to be run in its module's folder."""
    return [go, "build", *build_flags(binary.family), "-o", str(output), binary.package]


def is_recent_kubectl(version: str) -> bool:
    """True for `kubectl version --client` output of v1.30 or newer, the oldest Kubernetes that littoral supports."""
    found = re.search(r"Client Version: v1\.(\d+)", version)
    return found is not None and int(found[1]) >= 30


def family_key(family: str, module: Path, target: str) -> str:
    """The cache key of a family: whatever changes its programs' bytes changes it."""
    digest = hashlib.sha256()
    for part in (
        (module / "go.mod").read_bytes(),
        (module / "go.sum").read_bytes(),
        repr((build_flags(family), sorted(build_environment(family).items()), target)).encode(),
    ):
        digest.update(hashlib.sha256(part).digest())
    return f"{family}-{digest.hexdigest()[:16]}"


class Binaries:
    """Finds programs and builds those that are nowhere yet."""

    def __init__(self, cache: Path | None = None, assets: Path | None = None) -> None:
        """`assets` is a folder of ready programs (default: KUBEBUILDER_ASSETS); `cache` where builds are kept."""
        self._cache = (cache or paths.cache_root()) / "bin"
        preset = os.environ.get("KUBEBUILDER_ASSETS")
        self._assets = assets or (Path(preset) if preset else None)

    def path(self, name: str) -> Path:
        """Where the program `name` is, or will be once `ensure` has built it."""
        if self._assets is not None and (self._assets / name).is_file():
            return self._assets / name
        binary = CATALOGUE[name]
        target = f"{platform.system()}/{platform.machine()}".lower()
        return self._cache / family_key(binary.family, paths.GOMODS / binary.family, target) / name

    def missing(self, names: Sequence[str]) -> list[Binary]:
        """Those of `names` that would have to be built, in build order."""
        return [
            binary for binary in CATALOGUE.values() if binary.name in names and not self.path(binary.name).is_file()
        ]

    def kubectl(self, progress: Progress) -> Path:
        """The kubectl on PATH if it is recent, else the one of this catalogue, built if need be."""
        present = shutil.which("kubectl")
        if present is not None:
            done = subprocess.run([present, "version", "--client"], capture_output=True, text=True, check=False)
            if is_recent_kubectl(done.stdout):
                return Path(present)
        return self.ensure(["kubectl"], progress)["kubectl"]

    def ensure(self, names: Sequence[str], progress: Progress) -> dict[str, Path]:
        """Download or build whichever of `names` are missing; returns the path of each."""
        if download.wanted():
            for binary in self.missing(names):
                if binary.family == "kubernetes" and not self._download(binary, progress):
                    break  # what one of them could not be had from has none of the others either
        if self.missing(names):
            go = go_command()
            if go is None:
                raise RigError("the programs of the cluster are not built yet, and Go is not on PATH: install Go 1.26")
            with self._lock(progress):
                missing = self.missing(names)  # again: whoever held the lock may have built them
                left = sum(binary.seconds for binary in missing)
                for number, binary in enumerate(missing, 1):
                    progress(
                        f"building {binary.name} ({number} of {len(missing)}; from nothing on two cores about "
                        f"{binary.seconds} s, about {left} s for all that is left; kept for later runs)"
                    )
                    self._build(go, binary)
                    left -= binary.seconds
        return {name: self.path(name) for name in names}

    def _download(self, binary: Binary, progress: Progress) -> bool:
        return download.fetch(binary.name, KUBERNETES_VERSION, self.path(binary.name), progress)

    def _build(self, go: str, binary: Binary) -> None:
        output = self.path(binary.name)
        output.parent.mkdir(parents=True, exist_ok=True)
        log = output.with_name(f"{binary.name}.build.log")
        temporary = output.with_name(f".{binary.name}.part")
        with log.open("wb") as sink:
            done = subprocess.run(
                build_command(go, binary, temporary),
                cwd=paths.GOMODS / binary.family,
                env={**os.environ, **build_environment(binary.family)},
                stdout=sink,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            raise with_log(f"{binary.name} could not be built from {binary.package} (go build: {done.returncode})", log)
        temporary.replace(output)
        log.unlink()

    @contextmanager
    def _lock(self, progress: Progress) -> Iterator[None]:
        self._cache.mkdir(parents=True, exist_ok=True)
        with (self._cache / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("another command builds programs into the same cache; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
