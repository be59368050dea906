"""Nodes and a catalogue of their own for the tables of discovery: the shipped one may change without changing these."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from littoral.accelerators.catalogue import Catalogue, extend, load
from littoral.accelerators.device import Device, Discovery
from littoral.accelerators.discovery import discover
from littoral.api.edgenode import EdgeNodeSpec
from littoral.api.workload import NodeFacts

PROFILES = """
profiles:
  - name: t4
    family: t4
    computeCapability: "7.5"
    memory: 15360Mi
    labels: {nvidia.com/gpu.product: Tesla-T4}
    resources: [nvidia.com/gpu, nvidia.com/gpu.shared]
    sharing: [whole, time-slicing, mps, hami]
    unsupported: {vnpu: "a vNPU is a part of an Ascend NPU"}
    tops: [{value: 130, precision: int8, sparsity: dense, source: data sheet}]
    stacks:
      - {name: new, when: {driver: ">=580"}, image: new, runtimeClassName: nvidia}
      - {name: old, image: old, runtimeClassName: nvidia}
  - {name: a10, family: a10, memory: 24Gi, resources: [nvidia.com/gpu], sharing: [whole], stacks: [{image: i}],
     labels: {nvidia.com/gpu.product: NVIDIA-A10}}
  - {name: l40, family: l40, memory: 48Gi, resources: [nvidia.com/gpu], sharing: [whole, hami], stacks: [{image: i}],
     labels: {nvidia.com/gpu.product: NVIDIA-L40}}
  - {name: v100, family: v100, memory: 16Gi, resources: [nvidia.com/gpu], sharing: [whole, mps, runtime],
     stacks: [{image: i}], labels: {nvidia.com/gpu.product: Tesla-V100}}
  - {name: t4-rack, family: t4, memory: 15Gi, resources: [nvidia.com/gpu], sharing: [counted], stacks: [{image: i}],
     labels: {nvidia.com/gpu.product: Tesla-T4, rack: mec}}
  - name: orin
    family: jetson-orin
    architecture: arm64
    unified: true
    resources: [nvidia.com/gpu, nvidia.com/gpu.shared]
    sharing: [runtime, time-slicing, whole]
    unsupported:
      mps: "Jetson devices have no MPS: the device plugin's daemon ends on a Tegra"
      hami: "Jetson devices have no HAMi: it finds no device on a Tegra"
    tops: [{value: 100, precision: int8, sparsity: sparse, source: data sheet}]
    powerModes:
      - {name: 15W, cpus: 4, tops: [{value: 50, precision: int8, sparsity: sparse, source: data sheet}]}
      - {name: MAXN}
    stacks:
      - {name: jetpack6, when: {jetpack: ">=6,<7"}, image: igpu, runtimeClassName: nvidia}
      - {name: jetpack5, when: {jetpack: ">=5,<6"}, imageReason: none is published for JetPack 5}
  - {name: bare, family: bare, unified: true, sharing: [runtime], stacks: [{image: i}]}
  - {name: npu, family: ascend, memory: 8Gi, resources: [huawei.com/npu], sharing: [whole], stacks: [{image: i}],
     labels: {accelerator: npu}}
  - {name: a310, family: ascend, memory: 8Gi, resources: [huawei.com/Ascend310], sharing: [whole], stacks: [{image: i}],
     labels: {accelerator: huawei-Ascend310}}
  - {name: a310b, family: ascend, unified: true, resources: [huawei.com/Ascend310], sharing: [whole, share-dev-count],
     stacks: [{image: i}], labels: {node.kubernetes.io/npu.chip.name: 310B}}
  - name: a310p
    family: ascend
    memory: 24Gi
    labels: {node.kubernetes.io/npu.chip.name: [310P, 310P3]}
    resources: [huawei.com/Ascend310P]
    sharing: [whole, vnpu, share-dev-count]
    stacks:
      - {name: cann8, when: {cann: ">=8.0"}, image: npu_ge, runtimeClassName: ascend}
      - {image: npu_ge, runtimeClassName: ascend}
    partitions:
      cores: 8
      cpus: 7
      templates:
        - {name: vir01, resource: huawei.com/Ascend310P-1c, memory: 3Gi, cores: 1, cpus: 1}
        - {name: vir02, resource: huawei.com/Ascend310P-2c, memory: 6Gi, cores: 2, cpus: 2}
        - {name: vir02_1c, resource: huawei.com/Ascend310P-2c.1cpu, memory: 6Gi, cores: 2, cpus: 1}
        - {name: vir04, resource: huawei.com/Ascend310P-4c, memory: 12Gi, cores: 4, cpus: 4}
        - {name: vir04_3c, resource: huawei.com/Ascend310P-4c.3cpu, memory: 12Gi, cores: 4, cpus: 3}
"""
PRODUCT = {"nvidia.com/gpu.product": "Tesla-T4"}
CHIP = "node.kubernetes.io/npu.chip.name"
GPU = "nvidia.com/gpu"


@cache
def catalogue() -> Catalogue:
    extended, problems = extend(Catalogue(MappingProxyType({"cpu": load().cpu})), "tests", PROFILES)
    assert not problems, problems
    return extended


def facts(
    labels: Mapping[str, str] | None = None,
    units: Mapping[str, int] | None = None,
    *,
    memory: int = 16384,
    annotations: Mapping[str, str] | None = None,
    **more: Any,
) -> NodeFacts:
    """A Node; `units` are its allocatable extended resources."""
    return NodeFacts(
        "n", labels=labels or {}, annotations=annotations or {}, memory=memory, cpu=4000, resources=units or {}, **more
    )


def found(node: NodeFacts, runtime_classes: frozenset[str] | None = None, /, **spec: Any) -> Discovery:
    return discover(node, EdgeNodeSpec.model_validate(spec), catalogue(), runtime_classes)


def accelerator(node: NodeFacts, **spec: Any) -> Device:
    """The node's one accelerator."""
    device, cpu = found(node, **spec).devices
    assert cpu.id == "cpu"
    return device


def declared(profile: str, count: int = 1, mode: str | None = None, replicas: int = 1, **more: Any) -> dict[str, Any]:
    """A spec that declares devices of one profile."""
    return {
        "accelerators": [{"profile": profile, "count": count, "sharing": {"mode": mode, "replicas": replicas}, **more}]
    }


def reason(node: NodeFacts, **spec: Any) -> tuple[str, str, str]:
    """CapacityKnown: status, reason, message."""
    (finding,) = found(node, **spec).findings
    assert finding.type == "CapacityKnown"
    return finding.status, finding.reason, finding.message
