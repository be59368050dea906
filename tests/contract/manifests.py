"""What users and machines write: models, slices, Nodes, the catalogue's extension."""

from collections.abc import Mapping, Sequence
from typing import Any

from littoral.api import group

Json = dict[str, Any]

T4 = "test-t4"
JETSON = "test-jetson"
RUNTIME = "test-runtime"
"""A device that its container runtime gives to pods of the RuntimeClass of the same name."""
SHARES = 4
"""Units in which each accelerator is advertised: four slices a node."""

CATALOGUE = """
profiles:
  - name: test-t4
    family: t4
    vendor: emulated
    memory: 15360Mi
    labels: {nvidia.com/gpu.product: Test-T4}
    resources: [nvidia.com/gpu]
    sharing: [counted, whole]
    overhead: 64Mi
    stacks: &stacks
    - image: triton.test/t4:1
      arguments: [--allow-gpu-metrics=false]
      backends: {python: python, onnx: onnxruntime}
      instanceKind: KIND_CPU
  - name: test-jetson
    family: jetson-orin
    vendor: emulated
    unified: true
    resources: [nvidia.com/gpu]
    sharing: [counted, whole]
    overhead: 64Mi
    stacks: *stacks
  - name: test-runtime
    family: jetson-nano
    vendor: nvidia
    unified: true
    sharing: [runtime]
    overhead: 64Mi
    stacks:
    - image: triton.test/nano:1
      backends: {python: python}
      instanceKind: KIND_CPU
      runtimeClassName: test-runtime
"""

T4_LABELS: Mapping[str, str] = {
    "nvidia.com/gpu.product": "Test-T4",
    "nvidia.com/gpu.memory": "15360",
    "nvidia.com/gpu.count": "1",
    "nvidia.com/gpu.replicas": str(SHARES),
}


def catalogue(**keys: str) -> Json:
    """The ConfigMap that extends the catalogue; by default with the profiles of the test nodes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": group.CATALOGUE_CONFIGMAP, "namespace": group.OPERATOR_NAMESPACE},
        "data": {"test.yaml": CATALOGUE, **{name.replace("_", "."): text for name, text in keys.items()}},
    }


def node(name: str, labels: Mapping[str, str], *, units: int = SHARES) -> Json:
    """A Node as its kubelet registers it; `units` of nvidia.com/gpu, 0 for a machine without an accelerator."""
    resources = {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "256Gi"}
    if units:
        resources["nvidia.com/gpu"] = str(units)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "conditions": [node_ready("True")],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "test", "machineID": name,
                "bootID": name, "systemUUID": name, "osImage": "test", "kernelVersion": "test",
                "containerRuntimeVersion": "test://", "kubeProxyVersion": "test",
            },
        },
    }  # fmt: skip


def node_ready(status: str, since: str = "2026-01-01T00:00:00Z", heartbeat: str = "") -> Json:
    """A Node's Ready condition."""
    return {
        "type": "Ready",
        "status": status,
        "reason": "Test",
        "message": "",
        "lastTransitionTime": since,
        "lastHeartbeatTime": heartbeat or since,
    }


def variant(name: str = "any", accelerators: Sequence[str] = ("*",), digest: str = "a") -> Json:
    """A variant in python format; `digest` is one hex digit."""
    source = {"uri": f"https://models.test/{name}.tar", "sha256": digest * 64, "size": "1Mi"}
    return {"name": name, "accelerators": list(accelerators), "format": "python", "source": source}


def model(name: str, namespace: str, pool: str, **spec: Any) -> Json:
    """A model of 1 GiB for any accelerator of one pool; `spec` overrides."""
    return {
        "apiVersion": group.API_VERSION,
        "kind": "InferenceModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "variants": [variant()],
            "slice": {"memory": "1Gi"},
            "placement": {"pools": [pool]},
            "serving": {"startupTimeout": "5m"},
            **spec,
        },
    }


def gpu_slice(name: str, namespace: str, **spec: Any) -> Json:
    """A slice as a user writes it to reserve capacity."""
    return {
        "apiVersion": group.API_VERSION,
        "kind": "GPUSlice",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"memory": "1Gi", **spec},
    }


def edge_node(name: str, **spec: Any) -> Json:
    """An EdgeNode as a user writes it."""
    return {"apiVersion": group.API_VERSION, "kind": "EdgeNode", "metadata": {"name": name}, "spec": spec}
