"""`littoral explain` on a cluster: with the rights that its help names and no others, it says what a dump says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.manifests import run

from rig import cluster, states
from rig.controlplane import ControlPlane
from rig.operator import Kubectl, install
from rig.progress import to_stderr

pytestmark = pytest.mark.contract

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
NEEDED = ("nodes", "pods", "deployments.apps", *(f"{kind}.littoral.dev" for kind in ("edgenodes", "gpuslices")))
MODELS = "inferencemodels.littoral.dev"
READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
ASKED = ("explain", "im/vlm", "-n", "plant", "-o", "json")


@pytest.fixture(scope="module")
def kubectl(reaped: None) -> Iterator[Kubectl]:
    """A cluster with the fleet in it, its machines Ready, and nothing that others left; without the operator."""
    plane = ControlPlane(states.make())
    try:
        plane.start(to_stderr, installed=lambda: install(Kubectl(plane.kubeconfig)))
        kubectl = Kubectl(plane.kubeconfig)
        kubectl("apply", "--server-side", "--validate=strict", "-f", str(FLEET))
        for node in kubectl("get", "nodes", "-o", "name").split():
            kubectl("patch", node, "--subresource=status", "--type=merge", "-p", json.dumps(READY))
        yield kubectl
    finally:
        cluster.down(plane.state)


@pytest.fixture
def reader(kubectl: Kubectl, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of somebody who may list what the command's help says that it needs."""
    kubectl("create", "serviceaccount", "reader", "-n", "plant")
    kubectl("create", "clusterrole", "reader", "--verb=list", f"--resource={','.join((*NEEDED, MODELS))}")
    kubectl("create", "clusterrolebinding", "reader", "--clusterrole=reader", "--serviceaccount=plant:reader")
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", "reader", "-n", "plant").strip()}
    config["contexts"][0]["context"]["user"] = config["users"][0]["name"]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    yield path
    kubectl("delete", "clusterrolebinding/reader", "clusterrole/reader")
    kubectl("delete", "serviceaccount/reader", "-n", "plant")


def refusals(document: dict[str, Any]) -> list[list[str]]:
    return next(each["rows"] for each in document["sections"] if each["title"] == "No other one goes to")


def test_a_live_model_is_explained_as_its_manifests_are(kubectl: Kubectl) -> None:
    live = run(*ASKED, "--kubeconfig", kubectl.kubeconfig)
    offline = json.loads(run(*ASKED, "-f", FLEET).stdout)
    assert json.loads(live.stdout)["summary"] == offline["summary"]
    assert refusals(json.loads(live.stdout)) == refusals(offline)
    assert len(refusals(offline)) == 12
    assert live.stderr == ""


def test_a_dump_is_what_the_cluster_is(kubectl: Kubectl, tmp_path: Path) -> None:
    kinds = "nodes,en,im,gs,pods,deploy,ns,priorityclasses,runtimeclasses"
    (tmp_path / "now.json").write_text(kubectl("get", kinds, "-A", "-o", "json"))
    (tmp_path / "now.yaml").write_text(kubectl("get", kinds, "-A", "-o", "yaml"))
    shown = run(*ASKED, "--kubeconfig", kubectl.kubeconfig).stdout
    assert run(*ASKED, "-f", tmp_path / "now.json").stdout == shown
    assert run(*ASKED, "-f", tmp_path / "now.yaml").stdout == shown
    assert run("plan", "-f", tmp_path / "now.json").stdout == run("plan", "-f", FLEET).stdout


def test_the_rights_to_list_are_enough_and_what_goes_without_is_named(reader: Path) -> None:
    result = run(*ASKED, "--kubeconfig", reader)
    assert result.exit_code == 0
    assert len(refusals(json.loads(result.stdout))) == 12
    named = [line.partition(":")[0] for line in result.stderr.splitlines()]
    assert named == [
        "without namespaces", "without priorityclasses", "without runtimeclasses",
        "without the ConfigMap littoral-catalogue",
    ]  # fmt: skip


def test_without_a_needed_right_the_sentence_says_which(kubectl: Kubectl, reader: Path) -> None:
    kubectl("patch", "clusterrole", "reader", "--type=json", "-p", '[{"op": "remove", "path": "/rules/0"}]')
    result = run(*ASKED, "--kubeconfig", reader)
    assert result.exit_code == 2
    assert "list nodes: nodes is forbidden" in result.stderr


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path, kubectl: Kubectl) -> None:
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    result = run(*ASKED, "--kubeconfig", path)
    assert (result.exit_code, "127.0.0.1:1" in result.stderr) == (2, True)
