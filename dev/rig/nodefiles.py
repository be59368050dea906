"""The configuration of a node's components, as values: kubelet, containerd, CNI, and the script that sets the node up.

Inside its mount namespace a node has the standard paths (/run/containerd/containerd.sock, /var/lib/kubelet, …), each
backed by a folder of its own, so that several nodes live on one file system and `ctr` or a device plugin finds what
it expects where it expects it.
"""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

# Folders that a node needs at these very paths: the device plugin folder is compiled into the kubelet, the CNI result
# cache into libcni, the container log links into the kubelet, and hostPath volumes name theirs.
BOUND = {
    "/var/lib/kubelet": "kubelet",
    "/var/lib/cni": "cni-state",
    "/var/lib/littoral": "littoral",
    "/var/log/containers": "container-links",
}

# The kubelet sets these for the whole machine, or refuses to start where it may not. Inside the node they are files
# that already hold what it wants to see, so the machine's own stay as they are.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}

# What a kubelet may say about itself; other labels of these domains are the administrator's to give.
_OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
    }
)  # fmt: skip


@dataclass(frozen=True)
class NodeSpec:
    """A node as a test or the demo wants it.

    `labels` and `taints` ("key=value:Effect") stand on the Node object. The emulated device plugin advertises
    `devices`, a number of them for each resource, and each of them `replicas` times where that names the resource, as
    NVIDIA's plugin does under time-slicing.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[str] = ()
    devices: Mapping[str, int] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, int]:
        """What the Node's allocatable comes to, by resource."""
        return {resource: count * self.replicas.get(resource, 1) for resource, count in self.devices.items()}


def split_labels(labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Labels that the kubelet registers with, and those it may not give itself (node roles): the rig patches them."""
    own: dict[str, str] = {}
    given: dict[str, str] = {}
    for key, value in labels.items():
        domain = key.rpartition("/")[0]
        reserved = any(domain == top or domain.endswith(f".{top}") for top in ("kubernetes.io", "k8s.io"))
        (given if reserved and key not in _OWN_LABELS else own)[key] = value
    return own, given


def kubelet(folder: Path, cgroup: str, spec: NodeSpec, client_ca: Path) -> str:
    """The kubelet's configuration for a node whose files are in `folder` and whose control group is `cgroup`."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(client_ca)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(folder / "pki" / "serving.crt"),
            "tlsPrivateKeyFile": str(folder / "pki" / "serving.key"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            # Needs a disk of the kubelet's own; here all nodes share one.
            "localStorageCapacityIsolation": False,
            # How soon a device shows up in the Node's allocatable; the default is ten seconds.
            "nodeStatusUpdateFrequency": "2s",
            "evictionHard": {"memory.available": "100Mi"},
            # Images come from no registry: one that is collected is gone until the cluster is made anew.
            "imageGCHighThresholdPercent": 100,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "podLogsDir": str(folder / "pod-logs"),
            "volumePluginDir": str(folder / "volume-plugins"),
            "resolvConf": str(folder / "resolv.conf"),
            # No DNS server runs here. A name then fails at once, where an address nobody answers at would time out.
            "clusterDNS": ["127.0.0.1"],
            "clusterDomain": "cluster.local",
            "registerWithTaints": [_taint(text) for text in spec.taints],
        }
    )


def kubelet_flags(folder: Path, spec: NodeSpec, address: str) -> list[str]:
    """What the kubelet takes on its command line only."""
    own, _ = split_labels(spec.labels)
    return [
        f"--config={folder / 'kubelet.yaml'}",
        f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
        f"--hostname-override={spec.name}",
        f"--node-ip={address}",
        f"--node-labels={','.join(f'{key}={value}' for key, value in sorted(own.items()))}",
    ]


def device_plugin_arguments(spec: NodeSpec) -> list[str]:
    """What the emulated device plugin is told to advertise."""
    replicas = {resource: spec.replicas.get(resource, 1) for resource in spec.devices}
    return [f"{resource}={count}x{replicas[resource]}" for resource, count in sorted(spec.devices.items())]


def kube_proxy_flags(folder: Path, spec: NodeSpec, pods: ipaddress.IPv4Network) -> list[str]:
    """kube-proxy on iptables; the conntrack settings are the machine's, so it is told to leave them alone."""
    return [
        f"--kubeconfig={folder / 'kube-proxy.kubeconfig'}",
        f"--hostname-override={spec.name}",
        f"--cluster-cidr={pods}",
        "--proxy-mode=iptables",
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]


def containerd(folder: Path, binaries: Mapping[str, Path], sandbox_image: str, snapshotter: str) -> str:
    """Containerd's configuration (TOML; JSON strings are TOML strings)."""
    text = json.dumps
    return f"""\
version = 3
root = {text(str(folder / "containerd"))}
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]

[grpc]
address = {text(CONTAINERD_SOCKET)}

[plugins."io.containerd.cri.v1.images"]
snapshotter = {text(snapshotter)}

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = {text(sandbox_image)}

[plugins."io.containerd.cri.v1.runtime"]
# A machine may keep CAP_SYS_RESOURCE from root: lowering a score is then refused, and runc dies of it.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = {text(str(binaries["containerd-shim-runc-v2"]))}

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = {text(str(binaries["runc"]))}
SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [{text(str(binaries["bridge"].parent))}]
conf_dir = {text(str(folder / "cni"))}
"""


def cni(pods: ipaddress.IPv4Network) -> str:
    """A bridge inside the node for its pods, and host ports. No masquerading: everybody has a route to the pods."""
    return json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": "edge",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": str(pods)}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        },
        indent=1,
    )


def setup_script(folder: Path) -> str:
    """What makes a mount namespace a node; ends as the process that keeps the namespace alive.

    /run is a file system of the node's own: the container runtime's network namespaces, sockets and mounts live
    there, and vanish with it.
    """
    quoted = shlex.quote
    lines = ["set -e", "mount --make-rprivate /", "mount -t tmpfs -o mode=755 tmpfs /run"]
    lines += [f"mount --bind {quoted(str(folder / name))} {path}" for path, name in BOUND.items()]
    lines.append("mount --make-shared /var/lib/kubelet")
    for setting in KERNEL_SETTINGS:
        own = folder / "kernel" / setting.replace("/", ".")
        lines.append(f"[ ! -e /proc/sys/{setting} ] || mount --bind {quoted(str(own))} /proc/sys/{setting}")
    lines += [f"touch {quoted(str(folder / 'set-up'))}", "exec sleep infinity"]
    return "\n".join(lines)


def _taint(text: str) -> dict[str, str]:
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}
