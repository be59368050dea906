"""What works without a cluster needs neither its client nor anything that only one operating system has."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None  # as on Windows
from littoral.cli.main import main
try:
    main({arguments!r})
except SystemExit:
    pass
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"aiohttp", "kopf", "kubernetes"}}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [["plan", "-f", "examples/fleet"], ["explain", "im/vlm", "-n", "plant", "-f", "examples/fleet"], ["--help"]],
    ids=lambda words: words[0],
)
def test_no_client_and_no_unix_is_needed(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8",
        env={"PYTHONUTF8": "1", "PYTHONPATH": str(ROOT / "operator")},
    )  # fmt: skip
    assert done.stdout
    assert done.stderr.splitlines() == ["[]"]


def test_an_output_without_blocks_gets_bars_of_signs() -> None:
    """A pipe on Windows."""
    done = subprocess.run(
        [sys.executable, "-m", "littoral", "plan", "-f", "examples/fleet"],
        cwd=ROOT, capture_output=True, check=False,
        env={"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT / "operator")},
    )  # fmt: skip
    assert done.stderr == b""
    lines = done.stdout.decode("cp1252").splitlines()
    assert "##########  15Gi/15Gi" in next(line for line in lines if line.startswith("  t4-3 "))
