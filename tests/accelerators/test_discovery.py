"""Discovery: which devices are concluded from which facts, and what contradicts what. How they are shared, by HAMi, as
vNPUs, and on which machine: test_discovery_*.py beside this.
"""

from typing import Any

import pytest
from tests.accelerators.nodes import CHIP, GPU, PRODUCT, accelerator, catalogue, declared, facts, found, reason

from littoral.accelerators.discovery import selected
from littoral.api.workload import NodeFacts

SHARED = "nvidia.com/gpu.shared"
TELL = "set the Node label littoral.dev/profile, or spec.accelerators of the EdgeNode"
TEGRA = (
    "the Node label feature.node.kubernetes.io/cpu-model.vendor_id=NVIDIA says that it is a Jetson, but not which: "
    "TELL; `littoral node probe n` finds out"
)
CARD = (
    "the Node label feature.node.kubernetes.io/pci-10de.present=true says that it has a card of NVIDIA's, but not "
    "which: run NVIDIA's device plugin with gpu-feature-discovery there, or TELL"
)


class TestWithoutAContradiction:
    def test_every_node_has_its_cores_and_memory_less_what_is_reserved(self) -> None:
        (cpu,) = found(facts(), reserved={"memory": "2Gi"}).devices
        assert (cpu.id, cpu.memory, cpu.cpu, cpu.provider) == ("cpu", 14336, 4000, "cpu")
        assert reason(facts()) == ("True", "NoAccelerator", "No accelerator is declared or shown: cpu only")

    def test_a_t4_by_its_labels(self) -> None:
        device = accelerator(facts({**PRODUCT, "nvidia.com/gpu.count": "1"}, {GPU: 1}))
        assert (device.id, device.profile.name, device.memory, device.provider) == ("t4-0", "t4", 15360, "whole")
        assert (device.units, device.resource) == (1, GPU)
        assert device.source == "Node label nvidia.com/gpu.product=Tesla-T4"

    def test_time_slicing_that_keeps_the_name(self) -> None:
        labels = {"nvidia.com/gpu.product": "Tesla-T4-SHARED", "nvidia.com/gpu.replicas": "4"}
        device = accelerator(facts({**labels, "nvidia.com/gpu.count": "1"}, {GPU: 4}))
        assert (device.provider, device.shares, device.count, device.units) == ("time-slicing", 4, 1, 4)

    def test_time_slicing_that_renames(self) -> None:
        labels = {**PRODUCT, "nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "2"}
        device = accelerator(facts(labels, {GPU: 0, SHARED: 8}))
        assert (device.resource, device.units, device.count) == (SHARED, 8, 2)
        assert (device.id, device.memory, device.total_memory) == ("t4", 15360, 30720)

    def test_without_a_count_the_units_tell(self) -> None:
        assert accelerator(facts({**PRODUCT, "nvidia.com/gpu.replicas": "2"}, {GPU: 6})).count == 3

    @pytest.mark.parametrize("replicas", ["0", "1", "junk"])
    def test_no_or_one_replica_is_not_shared(self, replicas: str) -> None:
        device = accelerator(facts({**PRODUCT, "nvidia.com/gpu.replicas": replicas}, {GPU: 2}))
        assert (device.provider, device.shares, device.count) == ("whole", 1, 2)

    def test_a_card_that_reports_less_memory_has_less(self) -> None:
        assert accelerator(facts({**PRODUCT, "nvidia.com/gpu.memory": "15109"}, {GPU: 1})).memory == 15109
        assert accelerator(facts({**PRODUCT, "nvidia.com/gpu.memory": "junk"}, {GPU: 1})).memory == 15360

    def test_a_jetson_by_its_declaration(self) -> None:
        spec = {**declared("orin"), "reserved": {"memory": "2Gi"}}
        device = accelerator(facts(units={GPU: 1}, memory=15000), **spec)
        assert (device.memory, device.total_memory, device.shares_node_memory) == (12952, 12952, True)
        assert (device.provider, device.units) == ("whole", 0 + 1)
        assert reason(facts(units={GPU: 1}), **spec) == ("True", "Declared", "1 x orin (spec.accelerators)")

    def test_a_declaration_is_believed_before_labels_and_the_profile_label_before_others(self) -> None:
        labels = {**PRODUCT, "littoral.dev/profile": "a10"}
        assert accelerator(facts(labels, {GPU: 1})).profile.name == "a10"
        assert accelerator(facts(labels, {GPU: 1}), **declared("t4")).profile.name == "t4"

    def test_the_closest_match_of_labels(self) -> None:
        assert accelerator(facts({**PRODUCT, "rack": "mec"}, {GPU: 1})).profile.name == "t4-rack"

    def test_two_kinds_under_two_resources(self) -> None:
        node = facts({**PRODUCT, "accelerator": "npu"}, {GPU: 1, "huawei.com/npu": 2})
        gpu, npu, _ = sorted(found(node).devices, key=lambda device: device.id, reverse=True)
        assert (gpu.profile.name, npu.profile.name, npu.count) == ("t4", "npu", 2)

    def test_a_dead_card_leaves_the_others(self) -> None:
        node = facts({**PRODUCT, "nvidia.com/gpu.count": "2"}, {GPU: 1})
        assert (accelerator(node).units, reason(node)[0]) == (1, "True")

    def test_the_label_may_say_that_there_is_none(self) -> None:
        assert len(found(facts({**PRODUCT, "littoral.dev/profile": "cpu"}, {GPU: 1})).devices) == 1

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
        assert found(facts(labels, {GPU: 1} if labels else {}), **spec).pool == pool

    def test_the_site_is_the_zone(self) -> None:
        assert found(facts({"topology.kubernetes.io/zone": "plant-2"})).site == "plant-2"


class TestContradictions:
    """CapacityKnown=False, with both figures and what to do; never more capacity than is safe."""

    @pytest.mark.parametrize("says_it", ["EdgeNode", "Node"])
    def test_an_unknown_profile(self, says_it: str) -> None:
        node = facts({} if says_it == "EdgeNode" else {"littoral.dev/profile": "bm1684"}, {GPU: 1})
        spec = declared("bm1684") if says_it == "EdgeNode" else {}
        where = "spec.accelerators" if says_it == "EdgeNode" else "Node label littoral.dev/profile"
        assert len(found(node, **spec).devices) == 1
        assert reason(node, **spec) == (
            "False",
            "UnknownProfile",
            (
                f"{where} names the profile 'bm1684', which the catalogue does not have: correct it, or add the "
                "profile to the ConfigMap littoral-catalogue in the namespace littoral-system"
            ),
        )

    @pytest.mark.parametrize("units", [{}, {GPU: 0}])
    def test_a_resource_that_is_not_advertised(self, units: dict[str, int]) -> None:
        node = facts(PRODUCT, units)
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
            (1, 1, 4, 1),  # the plugin shares although nobody declared it: one slice, as declared
            (2, 4, 4, 4),  # one card is dead, or was never there
            (2, 1, 8, 0),  # two units may lie on one card: nothing is safe
        ],
    )
    def test_declared_against_advertised(self, count: int, replicas: int, advertised: int, usable: int) -> None:
        spec = declared("t4", count, replicas=replicas)
        node = facts(units={GPU: advertised})
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
        node = facts({"nvidia.com/gpu.product": "NVIDIA-A10"}, {GPU: 1})
        assert reason(node, **declared("t4")) == (
            "False",
            "DeclaredMismatch",
            (
                "spec.accelerators declares t4, but Node label nvidia.com/gpu.product=NVIDIA-A10 says a10: correct the "
                "one that is wrong; until then the declaration holds"
            ),
        )

    def test_declared_against_the_labels_count(self) -> None:
        node = facts({**PRODUCT, "nvidia.com/gpu.count": "2"}, {GPU: 1})
        assert reason(node, **declared("t4")) == (
            "False",
            "DeclaredMismatch",
            "spec.accelerators declares 1 x t4, but the Node label nvidia.com/gpu.count says 2: correct `count`",
        )

    @pytest.mark.parametrize(
        ("replicas", "units", "says"),
        [
            ("1", 2, "1 x t4, but the Node advertises 2"),  # a card of another kind: the labels tell of one alone
            ("1", 4, "1 x t4, but the Node advertises 4"),  # it is shared now, and the labels are behind
            ("4", 8, "1 x t4, in 4 shares each, but the Node advertises 8"),
        ],
    )
    def test_more_units_than_the_labels_explain(self, replicas: str, units: int, says: str) -> None:
        node = facts({**PRODUCT, "nvidia.com/gpu.count": "1", "nvidia.com/gpu.replicas": replicas}, {GPU: units})
        assert accelerator(node).units == 0
        assert reason(node) == (
            "False",
            "UnlikeDevices",
            (
                f"the Node label nvidia.com/gpu.count says {says} of nvidia.com/gpu, so a pod may get another device: "
                "see that the node's cards are of one kind, of which alone gpu-feature-discovery tells, and that its "
                "configuration is the device plugin's"
            ),
        )

    def test_unlike_devices_under_one_name(self) -> None:
        spec = {"accelerators": [{"profile": "t4"}, {"profile": "a10"}]}
        node = facts(units={GPU: 2})
        assert [device.units for device in found(node, **spec).devices[:2]] == [0, 0]
        assert reason(node, **spec)[1] == "DeclaredMismatch"
        assert reason(node, **spec)[2].endswith(
            "t4 and a10 are both advertised as nvidia.com/gpu, so a pod may get either: have the device plugins "
            "advertise them under names of their own"
        )


class TestWhatNoLabelExplains:
    """A resource that only one profile goes by is a fact; one that several go by is a question, and says to whom."""

    def test_a_resource_that_names_the_chip(self) -> None:
        device = accelerator(facts(units={"huawei.com/Ascend310P": 2}))
        assert (device.profile.name, device.count, device.source) == ("a310p", 2, "allocatable huawei.com/Ascend310P")

    @pytest.mark.parametrize(
        ("node", "message"),
        [
            (
                facts(units={"huawei.com/Ascend310": 4}),
                "the Node advertises huawei.com/Ascend310, but no label tells whether it is a310 or a310b: TELL",
            ),
            (  # MindCluster's own label says 310 of both
                facts({"accelerator": "huawei-Ascend310"}, {"huawei.com/Ascend310": 4}),
                "the Node advertises huawei.com/Ascend310, but no label tells whether it is a310 or a310b: TELL",
            ),
            (
                facts(units={GPU: 1, SHARED: 0}),
                "the Node advertises nvidia.com/gpu, but no label tells which of 6 profiles it is: TELL",
            ),
            (
                facts({"nvidia.com/gpu.product": "NVIDIA-L4"}, {GPU: 1}, architecture="arm64"),
                "the Node advertises nvidia.com/gpu, but no label says that it is orin: TELL",
            ),
            (
                facts({"nvidia.com/gpu.product": "NVIDIA-L4"}, {GPU: 1}, architecture="amd64"),
                "the Node advertises nvidia.com/gpu, but no profile of the catalogue fits its labels: TELL",
            ),
            (facts({"feature.node.kubernetes.io/cpu-model.vendor_id": "NVIDIA"}), TEGRA),
            (facts({"feature.node.kubernetes.io/pci-10de.present": "true"}), CARD),
        ],
    )
    def test_what_several_profiles_go_by(self, node: NodeFacts, message: str) -> None:
        assert [device.id for device in found(node).devices] == ["cpu"]
        assert reason(node) == ("False", "AmbiguousDevice", message.replace("TELL", TELL))

    @pytest.mark.parametrize(
        ("node", "spec", "profile"),
        [
            (facts({CHIP: "310"}, {"huawei.com/Ascend310": 4}), {}, "a310"),
            (facts({CHIP: "310B4"}, {"huawei.com/Ascend310": 1}), {}, "a310b"),
            (facts({CHIP: "310B", "accelerator": "huawei-Ascend310"}, {"huawei.com/Ascend310": 1}), {}, "a310b"),
            (facts(units={"huawei.com/Ascend310": 1}), declared("a310b"), "a310b"),
            (facts({"littoral.dev/profile": "a310"}, {"huawei.com/Ascend310": 1}), {}, "a310"),
            (facts({CHIP: "310P3"}, {"huawei.com/Ascend310P": 1}), {}, "a310p"),
            (facts({"accelerator": "huawei-Ascend310P"}, {"huawei.com/Ascend310P": 1}), {}, "a310p"),
            (facts({"servertype": "Ascend310P-8"}, {"huawei.com/Ascend310P": 1}), {}, "a310p"),
        ],
    )
    def test_what_tells_one_ascend_from_another(self, node: NodeFacts, spec: dict[str, Any], profile: str) -> None:
        device = accelerator(node, **spec)
        assert device.profile.name == profile
        assert device.source.startswith("Node label" if node.labels else "spec.accelerators")
        assert reason(node, **spec)[0] == "True"


class TestMig:
    """No provider hands out MIG partitions: they are no whole GPUs."""

    MESSAGE = (
        " says that its GPUs are partitioned by MIG, and no provider hands out MIG partitions: set the Node label "
        "nvidia.com/mig.config=all-disabled to have whole GPUs"
    )

    @pytest.mark.parametrize(
        ("node", "spec", "fact"),
        [
            (
                facts({"nvidia.com/gpu.product": "NVIDIA-A10-MIG-1g.6gb"}, {GPU: 4}),
                {},
                "the Node label nvidia.com/gpu.product=NVIDIA-A10-MIG-1g.6gb",
            ),
            (
                facts({"nvidia.com/gpu.product": "NVIDIA-A10-MIG-1g.6gb"}, {GPU: 4}),
                declared("a10", 4),
                "the Node label nvidia.com/gpu.product=NVIDIA-A10-MIG-1g.6gb",
            ),
            (
                facts({"nvidia.com/gpu.product": "NVIDIA-A10"}, {GPU: 0, "nvidia.com/mig-1g.6gb": 4}),
                {},
                "the Node's resource nvidia.com/mig-1g.6gb",
            ),
        ],
    )
    def test_is_refused(self, node: NodeFacts, spec: dict[str, Any], fact: str) -> None:
        assert sum(device.units for device in found(node, **spec).devices) == 0
        assert reason(node, **spec) == ("False", "MIGUnsupported", fact + self.MESSAGE)

    def test_the_strategy_alone_says_nothing(self) -> None:
        """gpu-feature-discovery writes it on every node of a cluster that is so configured."""
        node = facts({**PRODUCT, "nvidia.com/mig.strategy": "single"}, {GPU: 1})
        assert (accelerator(node).units, reason(node)[0]) == (1, "True")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (facts(units={GPU: 1}), True),
        (facts(units={GPU: 0}), True),
        (facts(units={"huawei.com/npu": 1}), True),
        (facts(units={"huawei.com/Ascend310P-2c": 1}), True),
        (facts({"littoral.dev/profile": "cpu"}), True),
        (facts({"littoral.dev/pool": "line3"}), True),
        (facts({"node-role.kubernetes.io/edge": ""}), True),
        (facts({"openyurt.io/is-edge-worker": "true"}), True),
        (facts({"openyurt.io/is-edge-worker": "false"}), False),
        (facts({CHIP: "310P3"}), True),  # MindCluster, before its plugin advertises anything
        (facts(annotations={"hami.io/node-nvidia-register": "[]"}), True),
        (facts({"feature.node.kubernetes.io/pci-10de.present": "true"}), True),
        (facts({"feature.node.kubernetes.io/cpu-model.vendor_id": "NVIDIA"}), True),
        (facts({"feature.node.kubernetes.io/cpu-model.vendor_id": "Intel"}), False),
        (facts({"node-role.kubernetes.io/control-plane": ""}), False),
        (facts(units={"example.com/fpga": 1}), False),
    ],
)
def test_which_nodes_become_edge_nodes(node: NodeFacts, expected: bool) -> None:
    assert selected(node, catalogue()) is expected
