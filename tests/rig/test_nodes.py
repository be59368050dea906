import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from rig import binaries, cluster, kube, nodefiles
from rig.binaries import Binaries
from rig.cluster import Cluster
from rig.images import IMAGES
from rig.node import DEVICE_PLUGIN
from rig.podresources import Allocated
from rig.progress import silent
from rig.waiting import until

pytestmark = pytest.mark.node

SETTINGS = [Path("/proc/sys", setting) for setting in nodefiles.KERNEL_SETTINGS]
ANSWER = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8080)"


@pytest.fixture
def core(real_cluster: Cluster) -> Iterator[Any]:
    with kube.client(real_cluster.kubeconfig) as api:
        yield kubernetes.client.CoreV1Api(api)


def start_pod(core: Any, name: str, node: str, command: list[str], resources: dict[str, Any] | None = None) -> Any:
    """A pod of the littoral image under the strictest profile; returned once it is Ready."""
    container = {
        "name": "main",
        "image": IMAGES["littoral"].tag,
        "command": command,
        "workingDir": "/tmp",
        "resources": resources or {},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    metadata = {"name": name, "labels": {"app": name}}
    core.create_namespaced_pod("default", {"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}})
    return until(
        lambda: [
            p
            for p in core.list_namespaced_pod("default", label_selector=f"app={name}").items
            if kube.is_ready(p.status)
        ],
        timeout=60,
        interval=0.3,
        failure=lambda: AssertionError(core.read_namespaced_pod(name, "default").status),
    )[0]


def fetch(url: str) -> list[str]:
    return ["python3", "-c", f"import urllib.request as u; print(u.urlopen('{url}', timeout=5).status)"]


def test_a_pod_is_reached_from_the_host_and_through_its_service_from_another_node(
    real_cluster: Cluster, core: Any
) -> None:
    pod = start_pod(core, "web", "edge-a", ["python3", "-c", ANSWER])
    core.create_namespaced_service(
        "default",
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    address = core.read_namespaced_service("web", "default").spec.cluster_ip
    assert (
        subprocess.run(fetch(f"http://{pod.status.pod_ip}:8080/"), capture_output=True, check=True).stdout == b"200\n"
    )
    until(
        lambda: real_cluster.nodes["edge-b"].exec(fetch(f"http://{address}/"), check=False).returncode == 0,
        timeout=20,
        failure=lambda: AssertionError("the Service does not answer on edge-b"),
    )


def test_a_pod_fetches_from_the_host_and_gets_its_device(real_cluster: Cluster, core: Any) -> None:
    address = real_cluster.host_address
    with http.server.HTTPServer((address, 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = f"""
import os, urllib.request
assert urllib.request.urlopen("http://{address}:{server.server_port}/", timeout=5).status == 200
assert os.environ["NVIDIA_VISIBLE_DEVICES"] == "emulated-0"
{ANSWER}
"""
        start_pod(core, "fetcher", "edge-b", ["python3", "-c", script], {"limits": {"nvidia.com/gpu": "1"}})
        server.shutdown()
    held = real_cluster.nodes["edge-b"].allocated()
    assert held == [Allocated("default", "fetcher", "main", "nvidia.com/gpu", ("emulated-0",))]


def test_a_node_that_is_cut_off_goes_on_serving_itself(real_cluster: Cluster, core: Any) -> None:
    node = real_cluster.nodes["edge-a"]
    pod = start_pod(core, "alone", "edge-a", ["python3", "-c", ANSWER])
    url = f"http://{pod.status.pod_ip}:8080/"
    node.cut()
    try:
        assert subprocess.run(fetch(url), capture_output=True, check=False).returncode != 0
        assert node.exec(fetch(url)).stdout == "200\n"
    finally:
        node.restore()
    until(
        lambda: subprocess.run(fetch(url), capture_output=True, check=False).returncode == 0,
        timeout=20,
        failure=lambda: AssertionError("edge-a did not come back"),
    )


def test_devices_come_back_after_the_kubelet_restarts(real_cluster: Cluster, core: Any) -> None:
    node = real_cluster.nodes["edge-b"]
    log = node.log(DEVICE_PLUGIN)
    before = log.read_text(encoding="utf-8").count("registered 1 x nvidia.com/gpu")
    node.stop_component("kubelet")
    assert not node.healthy()
    node.start_kubelet(Binaries().ensure(binaries.NODE, silent))
    until(
        lambda: log.read_text(encoding="utf-8").count("registered 1 x nvidia.com/gpu") > before,
        timeout=30,
        failure=lambda: AssertionError(log.read_text(encoding="utf-8")),
    )
    until(
        lambda: kube.offers(core.read_node("edge-b").status.allocatable, {"nvidia.com/gpu": 1}),
        timeout=30,
        failure=lambda: AssertionError("the device is not allocatable again"),
    )
    assert node.healthy()


def test_a_node_that_lost_power_comes_back_with_its_pods_and_what_its_disk_held(
    real_cluster: Cluster, core: Any
) -> None:
    node = real_cluster.nodes["edge-a"]
    pod = start_pod(core, "powered", "edge-a", ["python3", "-c", ANSWER])
    node.exec(["touch", "/var/lib/littoral/on-disk", "/run/in-memory"])
    node.power_off()
    assert not node.healthy()
    real_cluster.power_on("edge-a")

    def anew() -> bool:
        (status,) = core.read_namespaced_pod("powered", "default").status.container_statuses
        return bool(status.ready and status.container_id != pod.status.container_statuses[0].container_id)

    until(anew, timeout=60, failure=lambda: AssertionError(core.read_namespaced_pod("powered", "default").status))
    address = core.read_namespaced_pod("powered", "default").status.pod_ip
    assert subprocess.run(fetch(f"http://{address}:8080/"), capture_output=True, check=True).stdout == b"200\n"
    assert node.exec(["ls", "/var/lib/littoral", "/run"]).stdout.count("on-disk") == 1
    assert node.exec(["test", "-e", "/run/in-memory"], check=False).returncode == 1
    node.exec(["rm", "/var/lib/littoral/on-disk"])


def test_a_second_up_takes_the_running_cluster(real_cluster: Cluster) -> None:
    said: list[str] = []
    specs = [node.spec for node in real_cluster.nodes.values()]
    again = cluster.up(real_cluster.state, specs, progress=said.append)
    assert again.control_plane.url == real_cluster.control_plane.url
    assert "runs already and is healthy" in said[0]


def test_nodes_share_no_files_and_the_machine_keeps_its_settings(real_cluster: Cluster) -> None:
    first, second = real_cluster.nodes.values()
    first.exec(["touch", "/var/lib/littoral/of-the-first"])
    assert (first.host_folder / "of-the-first").exists()
    assert second.exec(["ls", "/var/lib/littoral"]).stdout == ""
    assert not Path("/var/lib/littoral/of-the-first").exists()
    seen = [first.exec(["cat", str(path)]).stdout.strip() for path in SETTINGS if path.exists()]
    wanted = [nodefiles.KERNEL_SETTINGS[str(path.relative_to("/proc/sys"))] for path in SETTINGS if path.exists()]
    assert seen == wanted
