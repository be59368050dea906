"""Each reason for which a model waits, in the sentence that its user reads."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import (
    edge,
    model,
    node,
    t4,
    the,
    world,
)

from littoral.api.workload import NodeFacts, Taint
from littoral.placement.plan import why_not

KEY = ("ns", "m")
SOURCE = {"uri": "https://models/x", "sha256": "0" * 64}


REFUSALS: dict[str, tuple[list[NodeFacts], dict[str, Any], dict[str, Any], str, str]] = {
    "no node": ([], {}, {}, "NoNodes", "there is no EdgeNode: label a Node with littoral.dev/pool to make it one"),
    "pool": ([t4("a")], {"pools": ["line3"]}, {}, "OtherPool", "1 node: 1 in other pools"),
    "selector": (
        [t4("a")],
        {"nodeSelector": {"rack": "7"}},
        {},
        "SelectorMismatch",
        "1 node: 1 without the labels of nodeSelector",
    ),
    "offline": ([t4("a", ready="Unknown")], {}, {}, "Offline", "1 node: 1 offline"),
    "cordoned": ([t4("a", unschedulable=True)], {}, {}, "Cordoned", "1 node: 1 cordoned"),
    "cordoned by its EdgeNode": ([t4("a")], {}, {"cordoned": True}, "Cordoned", "1 node: 1 cordoned"),
    "not ready": ([t4("a", ready="False")], {}, {}, "NotReady", "1 node: 1 not ready"),
    "tainted": (
        [t4("a", taints=(Taint("line", "NoSchedule", "3"),))],
        {},
        {},
        "Tainted",
        "1 node: 1 with the taint line=3:NoSchedule",
    ),
    "architecture": (
        [node("a", resources={"nvidia.com/gpu": 1}, labels={"littoral.dev/profile": "jetson-orin-nx-16gb"})],
        {},
        {},
        "OtherArchitecture",
        "1 node: 1 of amd64, not the arm64 of jetson-orin-nx-16gb",
    ),
    "variant": (
        [t4("a")],
        {"accelerators": ["ascend-310p"]},
        {},
        "NoVariant",
        "1 node: 1 without a variant for emulated-t4",
    ),
    "image": (
        [node("a", resources={"example.com/npu": 1}, labels={"littoral.dev/profile": "imageless"})],
        {},
        {},
        "NoImage",
        "1 node: 1 whose imageless has no Triton image: nobody builds one",
    ),
    "backend": (
        [t4("a")],
        {"variants": [{"name": "x", "accelerators": ["t4"], "format": "om"}]},
        {},
        "NoBackend",
        "1 node: 1 whose emulated-t4 has no Triton backend for om",
    ),
    "closed namespace": (
        [t4("a")],
        {},
        {"allowedNamespaces": {"selector": {"matchLabels": {"team": "vision"}}}},
        "NamespaceNotAllowed",
        "1 node: 1 closed to its namespace",
    ),
    "older jetpack": (
        [node("a", labels={"littoral.dev/profile": "emulated-nano", "littoral.dev/stack": "jetpack-5.1"})],
        {"variants": [{"name": "x", "accelerators": ["jetson-orin"], "requires": {"jetpack": "6.2"}}]},
        {},
        "VersionMismatch",
        "1 node: 1 with jetpack 5.1, 6.2 needed",
    ),
    "unknown jetpack": (
        [node("a", labels={"littoral.dev/profile": "emulated-nano"})],
        {"variants": [{"name": "x", "accelerators": ["jetson-orin"], "requires": {"jetpack": "6.2"}}]},
        {},
        "VersionUnknown",
        "1 node: 1 whose jetpack is not known, 6.2 needed: declare spec.stack",
    ),
    "unknown tensorrt": (
        [t4("a")],
        {"variants": [{"name": "x", "accelerators": ["t4"], "requires": {"tensorrt": "10.3"}}]},
        {},
        "VersionUnknown",
        "1 node: 1 whose tensorrt is not known, 10.3 needed: the catalogue's stack does not say it",
    ),
    "unreadable range": (
        [node("a", labels={"littoral.dev/profile": "emulated-nano", "littoral.dev/stack": "jetpack-6.2"})],
        {"variants": [{"name": "x", "accelerators": ["jetson-orin"], "requires": {"jetpack": "6..2"}}]},
        {},
        "VersionUnreadable",
        (
            "1 node: 1 on which requires.jetpack cannot be judged: '6..2' is no version and no range of versions "
            'such as ">=6,<7"'
        ),
    ),
    "image for a format": (
        [node("a", labels={"littoral.dev/profile": "emulated-npu"}, resources={"example.com/chip": 1})],
        {"variants": [{"name": "x", "accelerators": ["npu"], "format": "om"}]},
        {},
        "NoImage",
        "1 node: 1 whose emulated-npu has no Triton image for om: build it",
    ),
    "not for a vNPU": (
        [node("a", labels={"littoral.dev/profile": "emulated-npu"}, resources={"example.com/chip-2c": 4})],
        {"variants": [{"name": "x", "accelerators": ["npu"], "format": "om"}], "serving": {"image": "mine"}},
        {},
        "NotForVirtualNPU",
        (
            "1 node: 1 whose emulated-npu is cut into vNPUs, for which variant x was not built with --virtual_type=1: "
            "build it so and set virtualNPU"
        ),
    ),
    "no latency": (
        [t4("a")],
        {"maxLatency": "30ms"},
        {},
        "LatencyUnknown",
        "1 node: 1 without a measured latency of variant any, 30ms needed",
    ),
    "latency": (
        [t4("a")],
        {
            "maxLatency": "30ms",
            "variants": [{"name": "x", "accelerators": ["t4"], "latency": {"p99": "45.5ms", "atCompute": 1}}],
        },
        {},
        "TooSlow",
        "1 node: 1 with 45.5ms measured of variant x, 30ms needed",
    ),
    "latency at more compute": (
        [t4("a")],
        {
            "maxLatency": "30ms",
            "compute": 25,
            "variants": [{"name": "x", "accelerators": ["t4"], "latency": {"p99": "12ms", "atCompute": 40}}],
        },
        {},
        "LatencyUnproven",
        "1 node: 1 without a fitting latency of variant x: measured at 40%, 25% asked",
    ),
    "ports": (
        [t4("a")],
        {"replicas": 2, "serving": {"network": "HostPort"}},
        {},
        "PortInUse",
        "1 node: 1 with port 8000 in use",
    ),
    "cores": (
        [t4("a")],
        {"replicas": 2, "serving": {"resources": {"cpu": "5500m"}}},
        {},
        "InsufficientCpu",
        "1 node: 1 with 2.5 cores free of 5.5 needed",
    ),
    "node memory": (
        [t4("a")],
        {"replicas": 2, "serving": {"resources": {"memory": "9Gi"}}},
        {},
        "InsufficientNodeMemory",
        "1 node: 1 with 7Gi of node memory free of 9Gi needed",
    ),
    "pods": ([replace(t4("a"), pods=2)], {"replicas": 3}, {}, "NoPodLeft", "1 node: 1 with all 2 pods in use"),
    "disk": (
        [replace(t4("a"), disk=6000)],
        {"variants": [{"name": "x", "accelerators": ["t4"], "source": {**SOURCE, "size": "2Gi"}}]},
        {},
        "InsufficientDisk",
        "1 node: 1 with 1.5Gi free of 2Gi needed in the quarter of its disk that models may take",
    ),
    "many nodes": (
        [
            node("a", ready="Unknown"),
            *(replace(node(name, memory=4292), labels={"x": name}) for name in ("b", "c")),
            t4("d", taints=(Taint("line", "NoSchedule"),)),
        ],
        {"accelerators": ["cpu"], "memory": "3008Mi", "replicas": 3},
        {},
        "InsufficientMemory",
        "4 nodes: 1 offline, 1 with the taint line:NoSchedule, 2 with 1.2Gi free of 3Gi needed",
    ),
    "isolation": (
        [t4("a")],
        {"isolation": "Hard"},
        {},
        "InsufficientIsolation",
        "1 node: 1 whose emulated-t4 (counted) has isolation None, not Hard",
    ),
    "share": (
        [t4("a")],
        {"memory": "3Gi"},
        {},
        "ShareTooSmall",
        "1 node: 1 whose emulated-t4 is cut into 4 shares of 1Gi, 3.1Gi needed",
    ),
    "memory": (
        [node("a", memory=1024), node("b", memory=2048), node("c", ready="Unknown")],
        {"accelerators": ["cpu"], "memory": "3Gi"},
        {},
        "InsufficientMemory",
        "3 nodes: 1 offline, 2 with 2Gi free of 3.1Gi needed at best",
    ),
    "compute": (
        [node("a")],
        {"accelerators": ["cpu"], "compute": 60, "replicas": 2},
        {},
        "InsufficientCompute",
        "1 node: 1 with 40% compute free of 60% needed",
    ),
    "capacity": (
        [replace(t4("a"), resources={"nvidia.com/gpu": 0})],
        {},
        {},
        "NoCapacity",
        "1 node: 1 without usable nvidia.com/gpu (its EdgeNode says why)",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_sentence_a_user_reads_when_a_model_waits(case: str) -> None:
    nodes, wants, spec, reason, sentence = REFUSALS[case]
    snapshot = world(nodes, [model("m", **wants)], edges=[edge(each.name, **spec) for each in nodes if spec])
    found = the(snapshot)
    assert found.waiting >= 1
    assert (found.reason, found.message) == (reason, f"{found.waiting} of {found.wanted} waiting: {sentence}")
    assert {refusal.reason for _, refusal in why_not(snapshot, KEY)} >= ({reason} if nodes else set())
