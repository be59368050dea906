"""Three machines whose accelerators are shared by three mechanisms, all emulated: what is on them and what they say.

Real are the kubelets, the device plugin API and the accounts that they keep; the RuntimeClass is real too, and its
handler is the node's ordinary runtime. The profiles take the shape of the shipped ones, but for the Triton image, which
runs on the CPU, and the formats: every model is python.
"""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from littoral.api import group
from rig.images import IMAGES
from rig.nodefiles import NodeSpec
from rig.operator import NAMESPACE

Object = dict[str, Any]

PAIR, NPU, ORIN = "edge-t4-pair", "edge-310p", "edge-orin"
GPU = "nvidia.com/gpu"
VIR04, VIR02, VIR02_1C = "huawei.com/Ascend310P-4c", "huawei.com/Ascend310P-2c", "huawei.com/Ascend310P-2c.1cpu"
RUNTIME_CLASS = "nvidia"

NODES = (
    # Two T4s under time-slicing, with the labels that gpu-feature-discovery writes.
    NodeSpec(
        PAIR,
        labels={
            "nvidia.com/gpu.product": "Emulated-T4-SHARED",
            "nvidia.com/gpu.memory": "15360",
            "nvidia.com/gpu.count": "2",
            "nvidia.com/gpu.replicas": "4",
            "nvidia.com/gpu.sharing-strategy": "time-slicing",
        },
        devices={GPU: 2},
        replicas={GPU: 4},
    ),
    # One 310P, partitioned beforehand into all that its 8 AI cores and 7 AICPUs allow.
    NodeSpec(
        NPU,
        labels={"node.kubernetes.io/npu.chip.name": "Emulated-310P3"},
        devices={VIR04: 1, VIR02: 1, VIR02_1C: 1},
    ),
    # An Orin as most Jetsons are: no device plugin, no labels.
    NodeSpec(ORIN),
)


def manifests() -> list[str]:
    """What the site's engineer applies: the profiles, the RuntimeClass, and what the Orin is."""
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": group.CATALOGUE_CONFIGMAP, "namespace": NAMESPACE},
            "data": {"emulated.yaml": yaml.safe_dump({"profiles": _profiles()})},
        },
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": RUNTIME_CLASS},
            "handler": "runc",
        },
        {
            "apiVersion": group.API_VERSION,
            "kind": "EdgeNode",
            "metadata": {"name": ORIN},
            "spec": {"accelerators": [{"profile": "emulated-orin"}], "reserved": {"memory": "1Gi"}},
        },
    ]
    return [json.dumps(body) for body in objects]


def _profiles() -> list[Object]:
    templates = [
        {"name": "vir04", "resource": VIR04, "memory": "12Gi", "cores": 4, "cpus": 4},
        {"name": "vir02", "resource": VIR02, "memory": "6Gi", "cores": 2, "cpus": 2},
        {"name": "vir02_1c", "resource": VIR02_1C, "memory": "6Gi", "cores": 2, "cpus": 1},
    ]
    return [
        _profile(
            "emulated-t4",
            "t4",
            memory="15360Mi",
            labels={"nvidia.com/gpu.product": "Emulated-T4"},
            resources=[GPU],
            sharing=["whole", "time-slicing", "mps"],
        ),
        _profile(
            "emulated-310p",
            "ascend-310p",
            memory="24Gi",
            labels={"node.kubernetes.io/npu.chip.name": "Emulated-310P3"},
            resources=["huawei.com/Ascend310P"],
            sharing=["whole", "vnpu"],
            partitions={"cores": 8, "cpus": 7, "templates": templates},
        ),
        _profile(
            "emulated-orin",
            "jetson-orin",
            unified=True,
            resources=[GPU],
            sharing=["runtime", "whole", "time-slicing"],
            stack={"runtimeClassName": RUNTIME_CLASS},
        ),
    ]


def _profile(name: str, family: str, *, stack: Mapping[str, Any] | None = None, **fields: Any) -> Object:
    """A profile of NVIDIA's or Huawei's that runs on the CPU all the same."""
    on_cpu = {
        "image": IMAGES["triton-cpu"].tag,
        "arguments": ["--backend-directory=/opt/tritonserver/backends", "--allow-gpu-metrics=false"],
        "backends": {"python": "python"},
        "instanceKind": "KIND_CPU",
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
    }
    vendor = "huawei" if family.startswith("ascend") else "nvidia"
    return {
        "name": name,
        "family": family,
        "vendor": vendor,
        "overhead": "64Mi",
        "stacks": [{**on_cpu, **(stack or {})}],
        **fields,
    }
