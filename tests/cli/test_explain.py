"""`littoral explain` on dumps: the counts first, then node by node; which fact a conclusion came from."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.cli.manifests import edge, model, reservation, run, t4, write


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    cordoned = {**t4("cordoned"), "spec": {"unschedulable": True}}
    return write(
        tmp_path / "m.yaml",
        t4("mine"), t4("full", shares=1), t4("elsewhere", pool="moon"), cordoned,
        model("filler", placement={"nodeSelector": {"littoral.dev/pool": "mec"}}, slice={"memory": "14Gi"}),
        model(replicas=2, placement={"pools": ["mec"], "mode": "PerNode"}),
        reservation("room", "1Gi", accelerators=["t4"]), reservation("huge", "99Gi"),
    )  # fmt: skip


def explained(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = run("explain", *arguments, "-o", "json")
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def section(document: dict[str, Any], title: str) -> dict[str, Any]:
    return next(each for each in document["sections"] if each["title"] == title)


def test_a_model_is_explained_node_by_node(fleet: Path) -> None:
    document = explained("im/plate", "-n", "vision", "-f", fleet)
    assert document["subject"] == "InferenceModel vision/plate"
    elsewhere = dict(section(document, "No other one goes to")["rows"])
    assert elsewhere["elsewhere"] == "in other pools"
    assert elsewhere["cordoned"] == "cordoned"
    placed = {row[0] for row in section(document, "It goes to")["rows"]}
    assert placed
    assert placed.isdisjoint(section(document, "Why these variants")["rows"][0])
    assert ["any", "first variant for t4"] in section(document, "Why these variants")["rows"]


def test_the_text_begins_with_the_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "m.yaml", t4("one"), t4("two", pool="moon"), model(placement={"pools": ["sea"]}))
    lines = run("explain", "im/plate", "-n", "vision", "-f", path).stdout.splitlines()
    assert lines == [
        "InferenceModel vision/plate",
        "  1 of 1 waiting: 2 nodes: 2 in other pools",
        "No other one goes to",
        "  one  in other pools",
        "  two  in other pools",
    ]


def test_a_reservation_and_what_uses_it(fleet: Path) -> None:
    assert explained("gs/room", "-n", "vision", "-f", fleet)["summary"].startswith("1Gi of t4-0 on ")
    assert "99Gi needed" in explained("gs/huge", "-n", "vision", "-f", fleet)["summary"]


def test_a_node_and_the_facts(fleet: Path) -> None:
    document = explained("en/mine", "-f", fleet)
    assert document["summary"].startswith(
        "connected, pool mec: 1 x t4 (Node label nvidia.com/gpu.product=Tesla-T4-SHARED; "
    )
    assert section(document, "Its devices")["rows"][0][:1] == ["t4-0"]


def test_a_node_whose_declaration_is_contradicted_says_what_to_do(tmp_path: Path) -> None:
    declared = edge("one", accelerators=[{"profile": "t4", "sharing": {"mode": "mps", "replicas": 4}}])
    path = write(tmp_path / "m.yaml", t4("one"), declared)
    assert "ConfigMap" in explained("en/one", "-f", path)["summary"]


@pytest.mark.parametrize("kind", ["im", "inferencemodel", "InferenceModel", "inferencemodels"])
def test_kinds_go_by_the_names_that_kubectl_takes(fleet: Path, kind: str) -> None:
    assert explained(f"{kind}/plate", "-n", "vision", "-f", fleet)["subject"] == "InferenceModel vision/plate"


def test_what_is_not_there_is_said_with_where_it_is(fleet: Path) -> None:
    result = run("explain", "im/plate", "-f", fleet)
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: there is no InferenceModel default/plate; there is vision/plate\n",
    )
    result = run("explain", "en/none", "-f", fleet)
    assert (result.exit_code, result.stderr) == (1, "Error: there is no EdgeNode none\n")


def test_what_cannot_be_read_or_explained_is_bad_input(fleet: Path, tmp_path: Path) -> None:
    result = run("explain", "deploy/x", "-f", fleet)
    assert (result.exit_code, "write im/NAME, gs/NAME or en/NAME" in result.stderr) == (2, True)
    result = run("explain", "im/x", "-f", tmp_path / "absent")
    assert (result.exit_code, "there is no such file or folder" in result.stderr) == (2, True)
    config = tmp_path / "kubeconfig"
    result = run("explain", "im/x", "--kubeconfig", config)
    assert result.exit_code == 2
    assert str(config) in result.stderr


def test_a_cluster_without_littoral_is_told_so(tmp_path: Path) -> None:
    """Its API server knows Nodes and none of our kinds."""

    class Bare(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.startswith("/api/v1/nodes")
            status = {"kind": "Status", "code": 404, "reason": "NotFound", "message": "the server could not find it"}
            body = json.dumps({"items": [], "metadata": {"resourceVersion": "1"}} if known else status).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Bare) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "x", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }  # fmt: skip
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        result = run("explain", "im/x", "--kubeconfig", tmp_path / "kubeconfig")
        server.shutdown()
    assert result.exit_code == 2
    assert "list edgenodes: " in result.stderr
    assert "are Littoral's CRDs installed in this cluster?" in result.stderr
