import ipaddress
import json
import tomllib
from pathlib import Path

import pytest
import yaml

from rig import nodefiles
from rig.nodefiles import NodeSpec

FOLDER = Path("/state/nodes/edge-a")
PODS = ipaddress.IPv4Network("10.210.1.0/24")


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("littoral.dev/profile", True),
        ("nvidia.com/gpu.product", True),
        ("plain", True),
        ("topology.kubernetes.io/zone", True),
        ("node-role.kubernetes.io/edge", False),
        ("node.kubernetes.io/anything", False),
        ("x.k8s.io/y", False),
        ("notkubernetes.io/y", True),
    ],
)
def test_a_kubelet_gives_itself_only_the_labels_that_it_may(key: str, own: bool) -> None:
    assert nodefiles.split_labels({key: "v"}) == (({key: "v"}, {}) if own else ({}, {key: "v"}))


def test_the_kubelet_knows_its_callers_and_never_drops_an_image() -> None:
    spec = NodeSpec("edge-a", taints=["dedicated=edge:NoSchedule", "gpu:NoExecute"])
    config = yaml.safe_load(nodefiles.kubelet(FOLDER, "lit123456-edge-a", spec, FOLDER / "ca.crt"))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["cgroupRoot"] == "/lit123456-edge-a"
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["registerWithTaints"] == [
        {"key": "dedicated", "value": "edge", "effect": "NoSchedule"},
        {"key": "gpu", "effect": "NoExecute"},
    ]


def test_containerd_uses_the_programs_it_is_given_and_the_stated_sandbox() -> None:
    binaries = {name: Path(f"/bin/{name}") for name in ("containerd-shim-runc-v2", "runc", "bridge")}
    text = nodefiles.containerd(Path('/with "quote"'), binaries, "local/pause:dev", "native")
    config = tomllib.loads(text)
    plugins = config["plugins"]
    assert config["root"] == '/with "quote"/containerd'
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == "local/pause:dev"
    assert plugins["io.containerd.cri.v1.images"]["snapshotter"] == "native"
    runtime = plugins["io.containerd.cri.v1.runtime"]
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/bin/runc"
    assert runtime["cni"]["bin_dirs"] == ["/bin"]


def test_pods_get_addresses_of_their_node_and_host_ports() -> None:
    plugins = json.loads(nodefiles.cni(PODS))["plugins"]
    assert plugins[0]["ipam"]["ranges"] == [[{"subnet": "10.210.1.0/24"}]]
    assert plugins[0]["ipMasq"] is False
    assert plugins[1] == {"type": "portmap", "capabilities": {"portMappings": True}}


def test_the_machine_keeps_its_kernel_settings() -> None:
    script = nodefiles.setup_script(FOLDER)
    for setting in nodefiles.KERNEL_SETTINGS:
        assert f"mount --bind {FOLDER}/kernel/{setting.replace('/', '.')} /proc/sys/{setting}" in script
    proxy = nodefiles.kube_proxy_flags(FOLDER, NodeSpec("edge-a"), PODS)
    assert [flag for flag in proxy if flag.startswith("--conntrack")] == [
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]


def test_nothing_is_mounted_before_the_namespace_is_private() -> None:
    lines = nodefiles.setup_script(FOLDER).splitlines()
    assert lines[:2] == ["set -e", "mount --make-rprivate /"]
    assert lines[-1] == "exec sleep infinity"
