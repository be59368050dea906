"""The main job where nothing goes wrong: each node serves its variant, and whoever may call it gets an answer."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tests.node.edge import JETSON, T4, Edge, at, condition
from tests.node.models import manifest, multiplier, variant

from littoral.api import group
from rig import demo
from rig.errors import RigError
from rig.waiting import until

pytestmark = pytest.mark.node

FACTORS = {T4: 2, JETSON: 3}
WHY = {
    T4: "first variant for emulated-t4 (family t4)",
    JETSON: "second variant for emulated-jetson-orin (family jetson-orin)",
}


@pytest.fixture(scope="module")
def served(edge: Edge, namespace: str) -> str:
    """A model with a variant for each node, Ready; the name of it and of its Service."""
    double, triple = multiplier(FACTORS[T4]), multiplier(FACTORS[JETSON])
    variants = [
        variant("double", ["t4"], edge.models.add(double), double.sha256),
        variant("triple", ["jetson-orin"], edge.models.add(triple), triple.sha256),
    ]
    edge.apply(namespace, manifest("served", variants))
    edge.await_ready(namespace, "served")
    return "served"


@pytest.mark.parametrize("node", [T4, JETSON])
def test_each_node_serves_its_variant_over_http_and_grpc(edge: Edge, namespace: str, served: str, node: str) -> None:
    address = edge.pod(namespace, served, node).status.pod_ip
    values = np.array([1, 20], dtype=np.int32)
    answers = []
    for triton, port in ((triton_http, group.HTTP_PORT), (triton_grpc, group.GRPC_PORT)):
        tensor = triton.InferInput("X", [2], "INT32")
        tensor.set_data_from_numpy(values)
        with triton.InferenceServerClient(f"{address}:{port}") as client:
            answers.append(client.infer(served, [tensor]).as_numpy("Y").tolist())
    assert answers == [[FACTORS[node], 20 * FACTORS[node]]] * 2


@pytest.mark.parametrize("node", [T4, JETSON])
def test_the_service_answers_on_each_node_from_its_own_zone(edge: Edge, namespace: str, served: str, node: str) -> None:
    address = edge.core.read_namespaced_service(served, namespace).spec.cluster_ip
    url = f"http://{address}:{group.HTTP_PORT}"
    said: list[int | str] = []

    def answers() -> bool:
        try:
            said.extend(edge.infer_from(node, url, served, 7) for _ in range(4))
        except RigError as error:
            said.append(str(error))
        return said[-4:] == [7 * FACTORS[node]] * 4

    # kube-proxy learns of a new endpoint, and of whose zone it is, a moment after the model is Ready.
    until(answers, timeout=20, failure=lambda: AssertionError(said))


def test_the_status_says_which_variant_is_where_and_why(edge: Edge, namespace: str, served: str) -> None:
    found = edge.model(namespace, served)
    assert {node: at(found, node)["why"] for node in FACTORS} == WHY
    assert {node: at(found, node)["variant"] for node in FACTORS} == {T4: "double", JETSON: "triple"}
    types = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert types == dict.fromkeys(["Ready", "Placed", "Fetched", "Loaded", "NodesConnected"], "True")
    assert found["status"]["url"] == f"http://{served}.{namespace}.svc:{group.HTTP_PORT}"


@pytest.mark.parametrize("node", [T4, JETSON])
def test_the_pod_has_the_unit_that_the_device_plugin_allocated(
    edge: Edge, namespace: str, served: str, node: str
) -> None:
    pod = edge.pod(namespace, served, node)
    assert pod.spec.containers[0].resources.limits["nvidia.com/gpu"] == "1"
    (unit,) = edge.units(namespace)[pod.metadata.labels[group.LABEL_SLICE]]["nvidia.com/gpu"]
    assert unit.startswith("emulated-0::")
    assert edge.exec(pod, "printenv", "NVIDIA_VISIBLE_DEVICES").stdout.strip() == "emulated-0"


def test_the_pod_holds_no_token_and_its_containers_no_more_than_they_need(
    edge: Edge, namespace: str, served: str
) -> None:
    pod = edge.pod(namespace, served, T4)
    fetch, server = (edge.container_spec(pod, name) for name in (group.FETCH_CONTAINER, group.SERVER_CONTAINER))
    assert (fetch["process"]["user"]["uid"], server["process"]["user"]["uid"]) == (0, 1000)
    for spec in (fetch, server):
        assert not any(spec["process"].get("capabilities", {}).values())
        assert spec["process"]["noNewPrivileges"]
    assert edge.exec(pod, "test", "-e", "/var/run/secrets/kubernetes.io").returncode == 1
    assert edge.exec(pod, "id", "-u").stdout.strip() == "1000"


def test_triton_reads_the_cache_and_cannot_write_it(edge: Edge, namespace: str, served: str) -> None:
    pod = edge.pod(namespace, served, T4)
    assert "sha256" in edge.exec(pod, "ls", group.CACHE_MOUNT).stdout
    refused = edge.exec(pod, "touch", f"{group.CACHE_MOUNT}/sha256/mine")
    assert refused.returncode != 0
    assert "Read-only file system" in refused.stderr


def test_a_model_for_no_accelerator_is_served_by_the_node_itself(edge: Edge, namespace: str) -> None:
    edge.serve(namespace, "plain", multiplier(7), node=JETSON, slice={"memory": "128Mi", "compute": 10})
    found = edge.await_ready(namespace, "plain")
    pod = edge.pod(namespace, "plain")
    assert edge.infer(pod, "plain", 6) == 42
    assert at(found, JETSON)["why"] == "first variant for cpu"
    resources = pod.spec.containers[0].resources
    assert "nvidia.com/gpu" not in (resources.limits or {})
    assert resources.requests["memory"] == "192Mi"


def test_the_example_reads_the_plate_on_both_nodes(edge: Edge) -> None:
    address = demo.serve_archives(edge.cluster, demo.build_archives())
    demo.apply_example(edge.kubectl, address)
    edge.await_ready(demo.NAMESPACE, demo.MODEL)
    pods = demo.serving_pods(edge.kubectl)
    read = {pod["spec"]["nodeName"]: demo.ask(pod, demo.EXAMPLE / "plate.jpg") for pod in pods}
    assert set(read) == {T4, JETSON}
    for texts in read.values():
        assert "GM125" in [text["text"] for text in texts]
    url = f"{pods[0]['status']['podIP']}:{group.GRPC_PORT}"
    command = [sys.executable, str(demo.EXAMPLE / "client.py"), "--grpc", "--json", f"--url={url}"]
    over_grpc = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "GM125" in [text["text"] for text in json.loads(over_grpc)]
    assert condition(edge.model(demo.NAMESPACE, demo.MODEL), "Stalled")["status"] == ""
    edge.core.delete_namespace(demo.NAMESPACE)
