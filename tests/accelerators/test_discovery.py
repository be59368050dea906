"""Discovery: which devices are concluded from which facts, and what contradicts what."""

from collections.abc import Mapping
from typing import Any

import pytest

from littoral.accelerators.catalogue import Catalogue, extend, load
from littoral.accelerators.device import Device, Discovery
from littoral.accelerators.discovery import discover, selected
from littoral.api.edgenode import EdgeNodeSpec
from littoral.api.workload import NodeFacts

EXTENSION = """
profiles:
  - {name: a10, family: a10, memory: 24Gi, resources: [nvidia.com/gpu], sharing: [whole], stacks: [{image: i}],
     labels: {nvidia.com/gpu.product: NVIDIA-A10}}
  - {name: t4-rack, family: t4, memory: 15Gi, resources: [nvidia.com/gpu], sharing: [counted], stacks: [{image: i}],
     labels: {nvidia.com/gpu.product: Tesla-T4, rack: mec}}
  - {name: npu, family: ascend, memory: 8Gi, resources: [huawei.com/npu], sharing: [whole], stacks: [{image: i}],
     labels: {accelerator: npu}}
"""
PRODUCT = {"nvidia.com/gpu.product": "Tesla-T4"}
GPU = "nvidia.com/gpu"


def catalogue() -> Catalogue:
    extended, problems = extend(load(), "tests", EXTENSION)
    assert not problems
    return extended


def facts(labels: Mapping[str, str] | None = None, memory: int = 16384, **resources: int) -> NodeFacts:
    units = {name.replace("__", "/").replace("_", "."): count for name, count in resources.items()}
    return NodeFacts("n", labels=labels or {}, memory=memory, cpu=4000, resources=units)


def found(node: NodeFacts, **spec: Any) -> Discovery:
    return discover(node, EdgeNodeSpec.model_validate(spec), catalogue())


def accelerator(node: NodeFacts, **spec: Any) -> Device:
    device, cpu = found(node, **spec).devices
    assert cpu.id == "cpu"
    return device


def reason(node: NodeFacts, **spec: Any) -> tuple[str, str, str]:
    (finding,) = found(node, **spec).findings
    assert finding.type == "CapacityKnown"
    return finding.status, finding.reason, finding.message


class TestWithoutAContradiction:
    def test_every_node_has_its_cores_and_memory_less_what_is_reserved(self) -> None:
        (cpu,) = found(facts(), reserved={"memory": "2Gi"}).devices
        assert (cpu.id, cpu.memory, cpu.cpu, cpu.provider) == ("cpu", 14336, 4000, "cpu")
        assert reason(facts()) == ("True", "NoAccelerator", "No accelerator is declared or shown: cpu only")

    def test_a_t4_by_its_labels(self) -> None:
        device = accelerator(facts({**PRODUCT, "nvidia.com/gpu.count": "1"}, nvidia_com__gpu=1))
        assert (device.id, device.profile.name, device.memory, device.provider) == ("t4-0", "t4", 15360, "whole")
        assert (device.units, device.resource) == (1, GPU)
        assert device.source == "Node label nvidia.com/gpu.product=Tesla-T4"

    def test_time_slicing_that_keeps_the_name(self) -> None:
        labels = {"nvidia.com/gpu.product": "Tesla-T4-SHARED", "nvidia.com/gpu.replicas": "4"}
        device = accelerator(facts({**labels, "nvidia.com/gpu.count": "1"}, nvidia_com__gpu=4))
        assert (device.provider, device.shares, device.count, device.units) == ("counted", 4, 1, 4)

    def test_time_slicing_that_renames(self) -> None:
        labels = {**PRODUCT, "nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "2"}
        device = accelerator(facts(labels, nvidia_com__gpu=0, nvidia_com__gpu_shared=8))
        assert (device.resource, device.units, device.count) == ("nvidia.com/gpu.shared", 8, 2)
        assert (device.id, device.memory, device.total_memory) == ("t4", 15360, 30720)

    def test_without_a_count_the_units_tell(self) -> None:
        assert accelerator(facts({**PRODUCT, "nvidia.com/gpu.replicas": "2"}, nvidia_com__gpu=6)).count == 3

    def test_a_card_that_reports_less_memory_has_less(self) -> None:
        assert accelerator(facts({**PRODUCT, "nvidia.com/gpu.memory": "15109"}, nvidia_com__gpu=1)).memory == 15109
        assert accelerator(facts({**PRODUCT, "nvidia.com/gpu.memory": "junk"}, nvidia_com__gpu=1)).memory == 15360

    def test_a_jetson_by_its_declaration(self) -> None:
        spec = {"accelerators": [{"profile": "jetson-orin-nx-16gb"}], "reserved": {"memory": "2Gi"}}
        device = accelerator(facts(nvidia_com__gpu=1, memory=15000), **spec)
        assert (device.memory, device.total_memory, device.shares_node_memory) == (12952, 12952, True)
        assert reason(facts(nvidia_com__gpu=1), **spec) == (
            "True",
            "Declared",
            "1 x jetson-orin-nx-16gb (spec.accelerators)",
        )

    def test_a_declaration_is_believed_before_labels_and_the_profile_label_before_others(self) -> None:
        labels = {**PRODUCT, "littoral.dev/profile": "a10"}
        assert accelerator(facts(labels, nvidia_com__gpu=1)).profile.name == "a10"
        declared = accelerator(facts(labels, nvidia_com__gpu=1), accelerators=[{"profile": "t4"}])
        assert declared.profile.name == "t4"

    def test_the_closest_match_of_labels(self) -> None:
        assert accelerator(facts({**PRODUCT, "rack": "mec"}, nvidia_com__gpu=1)).profile.name == "t4-rack"

    def test_two_kinds_under_two_resources(self) -> None:
        node = facts({**PRODUCT, "accelerator": "npu"}, nvidia_com__gpu=1, huawei_com__npu=2)
        gpu, npu, _ = sorted(found(node).devices, key=lambda device: device.id, reverse=True)
        assert (gpu.profile.name, npu.profile.name, npu.count) == ("t4", "npu", 2)

    def test_a_dead_card_leaves_the_others(self) -> None:
        node = facts({**PRODUCT, "nvidia.com/gpu.count": "2"}, nvidia_com__gpu=1)
        assert (accelerator(node).units, reason(node)[0]) == (1, "True")

    def test_the_label_may_say_that_there_is_none(self) -> None:
        assert len(found(facts({**PRODUCT, "littoral.dev/profile": "cpu"}, nvidia_com__gpu=1)).devices) == 1

    @pytest.mark.parametrize(
        ("labels", "spec", "pool"),
        [
            ({}, {}, "cpu"),
            (PRODUCT, {}, "t4"),
            ({**PRODUCT, "littoral.dev/pool": "rack"}, {}, "rack"),
            ({**PRODUCT, "littoral.dev/pool": "rack"}, {"pool": "line3"}, "line3"),
        ],
    )
    def test_the_pool(self, labels: dict[str, str], spec: dict[str, Any], pool: str) -> None:
        assert found(facts(labels, nvidia_com__gpu=1), **spec).pool == pool

    def test_the_site_is_the_zone(self) -> None:
        assert found(facts({"topology.kubernetes.io/zone": "plant-2"})).site == "plant-2"


class TestContradictions:
    """CapacityKnown=False, with both figures and what to do; never more capacity than is safe."""

    @pytest.mark.parametrize("declared", [True, False])
    def test_an_unknown_profile(self, declared: bool) -> None:
        node = facts({} if declared else {"littoral.dev/profile": "bm1684"}, nvidia_com__gpu=1)
        spec = {"accelerators": [{"profile": "bm1684"}]} if declared else {}
        where = "spec.accelerators" if declared else "Node label littoral.dev/profile"
        assert len(found(node, **spec).devices) == 1
        assert reason(node, **spec) == (
            "False",
            "UnknownProfile",
            (
                f"{where} names the profile 'bm1684', which the catalogue does not have: correct it, or add the "
                "profile to the ConfigMap littoral-catalogue in the namespace littoral-system"
            ),
        )

    @pytest.mark.parametrize("resources", [{}, {"nvidia_com__gpu": 0}])
    def test_a_resource_that_is_not_advertised(self, resources: dict[str, int]) -> None:
        node = facts(PRODUCT, **resources)
        assert accelerator(node).units == 0
        assert reason(node) == (
            "False",
            "ResourceMissing",
            (
                "the Node does not advertise nvidia.com/gpu, so nothing new is placed on its t4: see that the device "
                "plugin runs; what is bound stays"
            ),
        )

    @pytest.mark.parametrize(
        ("count", "replicas", "advertised", "usable"),
        [
            (1, 4, 1, 1),  # the plugin does not share yet: one share may be given
            (1, 1, 4, 1),  # the plugin shares although nobody declared it: one slice, as declared
            (2, 4, 4, 4),  # one card is dead, or was never there
            (2, 1, 8, 0),  # two units may lie on one card: nothing is safe
        ],
    )
    def test_declared_against_advertised(self, count: int, replicas: int, advertised: int, usable: int) -> None:
        spec = {"accelerators": [{"profile": "t4", "count": count, "sharing": {"replicas": replicas}}]}
        node = facts(nvidia_com__gpu=advertised)
        assert accelerator(node, **spec).units == usable
        assert reason(node, **spec) == (
            "False",
            "DeclaredMismatch",
            (
                f"spec.accelerators declares {count} x t4 in {replicas} shares each, {count * replicas} units of "
                f"nvidia.com/gpu, but the Node advertises {advertised}: correct `count` and `sharing.replicas`, or the "
                "device plugin's configuration"
            ),
        )

    def test_declared_against_the_labels_kind(self) -> None:
        node = facts({"nvidia.com/gpu.product": "NVIDIA-A10"}, nvidia_com__gpu=1)
        assert reason(node, accelerators=[{"profile": "t4"}]) == (
            "False",
            "DeclaredMismatch",
            (
                "spec.accelerators declares t4, but Node label nvidia.com/gpu.product=NVIDIA-A10 says a10: correct the "
                "one that is wrong; until then the declaration holds"
            ),
        )

    def test_declared_against_the_labels_count(self) -> None:
        node = facts({**PRODUCT, "nvidia.com/gpu.count": "2"}, nvidia_com__gpu=1)
        status, word, message = reason(node, accelerators=[{"profile": "t4"}])
        assert (status, word) == ("False", "DeclaredMismatch")
        assert message == (
            "spec.accelerators declares 1 x t4, but the Node label nvidia.com/gpu.count says 2: correct `count`"
        )

    def test_shares_of_a_device_that_cannot_be_shared(self) -> None:
        node = facts({"nvidia.com/gpu.product": "NVIDIA-A10", "nvidia.com/gpu.replicas": "2"}, nvidia_com__gpu=2)
        assert accelerator(node).units == 0
        assert reason(node)[1:] == (
            "SharingUnsupported",
            "each a10 is cut into 2 shares, but such a device can only be given whole",
        )

    def test_unlike_devices_under_one_name(self) -> None:
        spec = {"accelerators": [{"profile": "t4"}, {"profile": "a10"}]}
        assert [device.units for device in found(facts(nvidia_com__gpu=2), **spec).devices[:2]] == [0, 0]
        assert "t4 and a10 are both advertised as nvidia.com/gpu" in reason(facts(nvidia_com__gpu=2), **spec)[2]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (facts(nvidia_com__gpu=1), True),
        (facts(nvidia_com__gpu=0), True),
        (facts(huawei_com__npu=1), True),
        (facts({"littoral.dev/profile": "cpu"}), True),
        (facts({"littoral.dev/pool": "line3"}), True),
        (facts({"node-role.kubernetes.io/edge": ""}), True),
        (facts({"openyurt.io/is-edge-worker": "true"}), True),
        (facts({"openyurt.io/is-edge-worker": "false"}), False),
        (facts({"node-role.kubernetes.io/control-plane": ""}), False),
        (facts(example_com__fpga=1), False),
    ],
)
def test_which_nodes_become_edge_nodes(node: NodeFacts, expected: bool) -> None:
    assert selected(node, catalogue()) is expected
