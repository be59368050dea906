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
        "1 node: 1 without usable nvidia.com/gpu",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_sentence_a_user_reads_when_a_model_waits(case: str) -> None:
    nodes, wants, spec, reason, sentence = REFUSALS[case]
    snapshot = world(nodes, [model("m", **wants)], edges=[edge(each.name, **spec) for each in nodes if spec])
    found = the(snapshot)
    assert found.waiting == 1
    assert (found.reason, found.message) == (reason, f"1 of {found.wanted} waiting: {sentence}")
    assert {refusal.reason for _, refusal in why_not(snapshot, KEY)} >= ({reason} if nodes else set())
