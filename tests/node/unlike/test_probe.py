"""`littoral node probe` on real nodes: one whose firmware says that it is an Orin, and one that is no Jetson."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.node.edge import Edge
from tests.node.unlike.nodes import NPU, ORIN

from littoral.api import group
from rig.operator import FETCH_IMAGE

pytestmark = pytest.mark.node

MODEL = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
COMPATIBLE = ("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234")


@pytest.fixture
def firmware(edge: Edge) -> Iterator[None]:
    """The device tree of a Jetson Orin NX 16GB, where the Orin's processes find their machine's."""
    node = edge.cluster.nodes[ORIN]
    tree = node.folder / "firmware" / "devicetree" / "base"
    tree.mkdir(parents=True)
    (tree / "model").write_text(f"{MODEL}\0", encoding="utf-8")
    (tree / "compatible").write_text("".join(f"{part}\0" for part in COMPATIBLE), encoding="utf-8")
    node.exec(["mount", "--bind", str(node.folder / "firmware"), "/sys/firmware"])
    yield
    node.exec(["umount", "/sys/firmware"])


def probe(edge: Edge, node: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "littoral", "node", "probe", node, f"--image={FETCH_IMAGE}", *options]
    kubeconfig = f"--kubeconfig={edge.cluster.kubeconfig}"
    return subprocess.run([*command, kubeconfig], capture_output=True, text=True, check=False, timeout=120)


def leftovers(edge: Edge) -> list[str]:
    """Jobs and pods of probes."""
    selector = f"{group.LABEL_COMPONENT}=node-probe"
    printed = edge.kubectl("get", "jobs,pods", "--namespace=kube-system", "--selector", selector, "-o", "name")
    return printed.split()


def test_a_jetson_is_told_by_its_device_tree(edge: Edge, firmware: None) -> None:
    done = probe(edge, ORIN, "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["module"]) == (MODEL, "p3767-0000")
    assert found["labels"] == {group.LABEL_PROFILE: "jetson-orin-nx-16gb"}
    assert leftovers(edge) == []


def test_what_is_no_jetson_says_so(edge: Edge) -> None:
    done = probe(edge, NPU)
    assert done.returncode == 1
    assert "it is no Jetson" in done.stdout
    assert leftovers(edge) == []
