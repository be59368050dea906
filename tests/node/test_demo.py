"""`make demo` as a newcomer runs it, twice, and with a picture in which there is nothing to read."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rig import cluster, paths
from rig.fleet import DEMO_NODES

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def environment(nodes_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    state = tmp_path_factory.mktemp("demo")
    yield {**os.environ, "PYTHONPATH": str(paths.REPOSITORY / "dev"), "LITTORAL_STATE": str(state)}
    cluster.down(paths.cluster_state({"LITTORAL_STATE": str(state)}))


def rig(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rig", *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("_time", ["first", "again"])
def test_the_demo_reads_the_picture_on_both_nodes(environment: dict[str, str], _time: str) -> None:
    done = rig(environment, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Emulated here:")
    assert done.stdout.count("GM125") == len(DEMO_NODES)
    for words in ("edge-t4", "edge-jetson", "CPU (emulated", "export KUBECONFIG=", "make cluster-down"):
        assert words in done.stdout
    assert "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_a_picture_without_text_ends_1_and_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), "white").save(tmp_path / "white.png")
    done = rig(environment, "demo", f"--image={tmp_path / 'white.png'}")
    assert done.returncode == 1
    assert "No text was read off" in done.stderr


def test_what_is_no_picture_ends_1_with_the_servers_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("GM125")
    done = rig(environment, "demo", f"--image={tmp_path / 'notes.txt'}")
    assert done.returncode == 1
    assert "is no JPEG or PNG picture" in done.stderr
    assert "Traceback" not in done.stderr
