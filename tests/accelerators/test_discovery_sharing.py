"""How devices are shared, as declared and as the Node shows it: mechanism, shares, and the sentence of each refusal."""

from typing import Any

import pytest
from tests.accelerators.nodes import GPU, PRODUCT, accelerator, declared, facts, found, reason

from littoral.api.workload import NodeFacts

STRATEGY = "nvidia.com/gpu.sharing-strategy"
REPLICAS = "nvidia.com/gpu.replicas"
SHARED = "nvidia.com/gpu.shared"
CONFIG = "nvidia.com/device-plugin.config"


def t4(units: int, strategy: str | None = None, replicas: int | None = None, **more: str) -> NodeFacts:
    labels = {**PRODUCT, **more}
    if strategy is not None:
        labels[STRATEGY] = strategy
    if replicas is not None:
        labels[REPLICAS] = str(replicas)
    return facts(labels, {GPU: units})


class TestWhatTheNodeShows:
    @pytest.mark.parametrize(
        ("node", "spec", "provider", "shares", "count"),
        [
            (t4(2), {}, "whole", 1, 2),
            (t4(1, "none", 1), {}, "whole", 1, 1),
            (t4(4, "time-slicing", 4), {}, "time-slicing", 4, 1),
            (t4(8, "mps", 4), {}, "mps", 4, 2),
            (t4(4, replicas=4), {}, "time-slicing", 4, 1),  # what no strategy says is no more than time-slicing
            (t4(2, "mps", 1), {}, "whole", 1, 2),  # the plugin's own reading: 1 replica is not shared
            (t4(4, "mps", 4), declared("t4"), "mps", 4, 1),  # declared without a mode: as the Node shows
            (t4(4, "mps", 4), declared("t4", mode="mps"), "mps", 4, 1),
            (t4(4, "mps", 4), declared("t4", mode="mps", replicas=4), "mps", 4, 1),
            (facts(units={GPU: 4}), declared("t4", mode="time-slicing", replicas=4), "time-slicing", 4, 1),
            (facts(units={GPU: 8}), declared("t4", 2, mode="time-slicing"), "time-slicing", 4, 2),
            (facts(units={SHARED: 4}), declared("t4", replicas=4), "time-slicing", 4, 1),
            (facts({"littoral.dev/profile": "t4-rack"}, {GPU: 2}), {}, "counted", 1, 2),
            (facts({"littoral.dev/profile": "t4-rack", STRATEGY: "mps", REPLICAS: "2"}, {GPU: 2}), {}, "counted", 2, 1),
            (facts({"littoral.dev/profile": "orin"}, {GPU: 1}), {}, "whole", 1, 1),
            (facts({"littoral.dev/profile": "orin"}, {GPU: 4}), {}, "time-slicing", 4, 1),  # a board has one
            (facts({"littoral.dev/profile": "a310b"}, {"huawei.com/Ascend310": 4}), {}, "share-dev-count", 4, 1),
            (
                facts(units={"huawei.com/Ascend310P": 8}),
                declared("a310p", 2, mode="share-dev-count", replicas=4),
                "share-dev-count",
                4,
                2,
            ),
        ],
    )
    def test_decides(self, node: NodeFacts, spec: dict[str, Any], provider: str, shares: int, count: int) -> None:
        device = accelerator(node, **spec)
        assert (device.provider, device.shares, device.count) == (provider, shares, count)
        assert device.units == shares * count
        assert reason(node, **spec)[0] == "True", reason(node, **spec)

    @pytest.mark.parametrize(
        ("node", "source"),
        [
            (
                t4(4, "mps", 4),
                ("Node label nvidia.com/gpu.product=Tesla-T4; Node label nvidia.com/gpu.sharing-strategy=mps"),
            ),
            (
                facts({"littoral.dev/profile": "orin"}, {GPU: 4}),
                ("Node label littoral.dev/profile=orin; one device, for its memory is the node's, and 4 units of it"),
            ),
            (
                facts({"littoral.dev/profile": "orin"}),
                (
                    "Node label littoral.dev/profile=orin; runtime, for the Node advertises no nvidia.com/gpu or "
                    "nvidia.com/gpu.shared"
                ),
            ),
        ],
    )
    def test_is_named(self, node: NodeFacts, source: str) -> None:
        assert accelerator(node).source == source
        assert source in reason(node)[2]


class TestRuntime:
    """A single device that no plugin counts: the ledger's figures are its only budget."""

    @pytest.mark.parametrize(
        ("node", "spec"),
        [
            (facts(), declared("orin")),
            (facts(), declared("orin", mode="runtime")),
            (facts({"littoral.dev/profile": "orin"}), {}),
            (facts(), declared("bare")),
        ],
    )
    def test_needs_no_resource(self, node: NodeFacts, spec: dict[str, Any]) -> None:
        device = accelerator(node, **spec)
        assert (device.provider, device.resource, device.count) == ("runtime", None, 1)
        assert (device.id, device.memory) == (f"{device.profile.name}-0", 16384)
        assert reason(node, **spec)[0] == "True"

    @pytest.mark.parametrize(
        ("node", "spec"),
        [
            (facts(units={GPU: 0}), declared("orin")),  # its plugin restarts
            (facts(), declared("orin", mode="whole")),
            (facts(), declared("orin", mode="time-slicing")),
            (facts(), declared("orin", replicas=4)),
            (facts(), declared("t4")),
            # feature discovery is there, and the device plugin that it comes with has not registered yet
            (facts({"nvidia.com/gpu.product": "Tesla-V100", "nvidia.com/gpu.count": "1"}), {}),
            (facts({"nvidia.com/gpu.product": "Tesla-V100", "nvidia.com/gpu.count": "1"}), declared("v100")),
        ],
    )
    def test_is_not_concluded_where_a_plugin_is_meant(self, node: NodeFacts, spec: dict[str, Any]) -> None:
        assert accelerator(node, **spec).units == 0
        assert accelerator(node, **spec).resource == GPU
        assert reason(node, **spec)[1] == "ResourceMissing"

    @pytest.mark.parametrize(
        ("node", "spec"),
        [
            (facts({"littoral.dev/profile": "v100"}), {}),
            (facts({"nvidia.com/gpu.product": "Tesla-V100"}), declared("v100", mode="runtime")),
            (facts({"nvidia.com/gpu.product": "Orin"}), declared("orin")),
        ],
    )
    def test_is_for_a_card_as_well_where_somebody_says_so(self, node: NodeFacts, spec: dict[str, Any]) -> None:
        assert (accelerator(node, **spec).provider, reason(node, **spec)[0]) == ("runtime", "True")

    def test_is_for_one_device(self) -> None:
        device = accelerator(facts(), **declared("orin", 2))
        assert (device.units, device.provider) == (0, "whole")
        assert reason(facts(), **declared("orin", 2)) == (
            "False",
            "SharingUnsupported",
            (
                "spec.accelerators says 2 x orin, but without a device plugin the runtime gives every pod all that "
                "there is: run a device plugin on the node, or correct the figure to 1"
            ),
        )

    def test_beside_a_plugin_is_a_contradiction(self) -> None:
        node = facts(units={GPU: 1})
        assert accelerator(node, **declared("orin", mode="runtime")).provider == "runtime"
        assert reason(node, **declared("orin", mode="runtime")) == (
            "False",
            "SharingNotConfigured",
            (
                "spec.accelerators declares orin shared by runtime, but the Node advertises 1 of nvidia.com/gpu: "
                "have no device plugin run there, or correct the declaration"
            ),
        )


class TestUnsupported:
    @pytest.mark.parametrize(
        ("node", "spec", "message"),
        [
            (
                facts(units={GPU: 1}),
                declared("orin", mode="mps"),
                "Jetson devices have no MPS: the device plugin's daemon ends on a Tegra",
            ),
            (
                facts({"littoral.dev/profile": "orin", STRATEGY: "mps", REPLICAS: "2"}, {GPU: 2}),
                {},
                "Jetson devices have no MPS: the device plugin's daemon ends on a Tegra",
            ),
            (facts(units={GPU: 1}), declared("t4", mode="vnpu"), "a vNPU is a part of an Ascend NPU"),
            (
                facts(units={GPU: 1}),
                declared("a10", mode="mps"),
                "a10 cannot be shared by mps; the catalogue lists whole",
            ),
            (
                facts({"nvidia.com/gpu.product": "NVIDIA-A10", REPLICAS: "2"}, {GPU: 2}),
                {},
                "each a10 is cut into 2 shares, but such a device can only be given whole",
            ),
            (
                t4(64, "mps", 64),
                {},
                (
                    "each t4 is cut into 64 shares by mps, but 48 are the most: MPS has 48 clients on compute "
                    "capability 7.5"
                ),
            ),
            (
                facts(
                    {
                        "nvidia.com/gpu.product": "Tesla-V100",
                        "nvidia.com/gpu.compute.major": "7",
                        "nvidia.com/gpu.compute.minor": "0",
                        STRATEGY: "mps",
                        REPLICAS: "17",
                    },
                    {GPU: 17},
                ),
                {},
                (
                    "each v100 is cut into 17 shares by mps, but 16 are the most: MPS has 16 clients on compute "
                    "capability 7.0, before 7.5"
                ),
            ),
            (
                facts(units={GPU: 17}),
                declared("v100", mode="mps", replicas=17),
                (
                    "each v100 is cut into 17 shares by mps, but 16 are the most: MPS has 16 clients on compute "
                    "capability unknown, before 7.5"
                ),
            ),
            (
                facts(units={"huawei.com/Ascend310": 101}),
                declared("a310b", mode="share-dev-count", replicas=101),
                (
                    "each a310b is cut into 101 shares by share-dev-count, but 100 are the most: "
                    "ascend-device-plugin's -shareDevCount goes no further"
                ),
            ),
            (
                facts(units={"huawei.com/Ascend310P": 7}, annotations={"hami.io/node-register-Ascend310P": "..."}),
                {},
                (
                    "the Node annotation hami.io/node-register-Ascend310P says that HAMi shares its a310p, and no "
                    "provider hands out such shares: run ascend-device-plugin of MindCluster there"
                ),
            ),
        ],
    )
    def test_nothing_is_handed_out(self, node: NodeFacts, spec: dict[str, Any], message: str) -> None:
        assert accelerator(node, **spec).units == 0
        assert reason(node, **spec) == ("False", "SharingUnsupported", message)

    def test_as_many_as_there_can_be(self) -> None:
        assert accelerator(t4(48, "mps", 48)).units == 48

    def test_whole_in_shares(self) -> None:
        spec = declared("t4", mode="whole", replicas=4)
        assert accelerator(t4(4), **spec).units == 0
        assert reason(t4(4), **spec) == (
            "False",
            "DeclaredMismatch",
            (
                "spec.accelerators declares t4 to be given whole, and cut into 4 shares: leave out `replicas`, or "
                "name the mechanism in `mode`"
            ),
        )


class TestNotConfigured:
    """What is declared is not what the device plugin does: where to put what, and meanwhile no more than is safe."""

    HOW = "in the NVIDIA device plugin's ConfigMap (its key is named by the Node label nvidia.com/device-plugin.config)"

    @pytest.mark.parametrize(
        ("node", "spec", "units", "message"),
        [
            (
                t4(1, "none", 1),
                declared("t4", mode="time-slicing", replicas=4),
                1,
                (
                    "spec.accelerators declares t4 shared by time-slicing in 4 shares each, but the Node label "
                    "nvidia.com/gpu.sharing-strategy says none: set sharing.timeSlicing.resources[].replicas of "
                    f"nvidia.com/gpu to 4 {HOW}, or correct the declaration"
                ),
            ),
            (  # nobody limits what MPS was to limit: nothing is promised
                t4(4, "time-slicing", 4, **{CONFIG: "t4-config"}),
                declared("t4", mode="mps", replicas=4),
                0,
                (
                    "spec.accelerators declares t4 shared by mps in 4 shares each, but the Node label "
                    "nvidia.com/gpu.sharing-strategy says time-slicing: set sharing.mps.resources[].replicas of "
                    "nvidia.com/gpu to 4 under the key t4-config of the NVIDIA device plugin's ConfigMap, or correct "
                    "the declaration"
                ),
            ),
            (
                t4(2, "time-slicing", 2),
                declared("t4", mode="time-slicing", replicas=4),
                2,
                (
                    "spec.accelerators declares t4 shared by time-slicing in 4 shares each, but the Node label "
                    "nvidia.com/gpu.replicas says 2: set sharing.timeSlicing.resources[].replicas of nvidia.com/gpu "
                    f"to 4 {HOW}, or correct the declaration"
                ),
            ),
            (  # without labels the units tell
                facts(units={GPU: 2}),
                declared("t4", 2, replicas=4),
                2,
                (
                    "spec.accelerators declares t4 shared by time-slicing in 4 shares each, but the Node advertises 2 "
                    "of nvidia.com/gpu, one for each device: set sharing.timeSlicing.resources[].replicas of "
                    f"nvidia.com/gpu to 4 {HOW}, or correct the declaration"
                ),
            ),
            (
                t4(4, "time-slicing", 4),
                declared("t4", mode="whole"),
                1,
                (
                    "spec.accelerators declares t4 shared by whole, but the Node label "
                    "nvidia.com/gpu.sharing-strategy says time-slicing: have the device plugin not share them, or "
                    "correct the declaration"
                ),
            ),
            (
                facts(units={"huawei.com/Ascend310": 1}),
                declared("a310b", mode="share-dev-count", replicas=4),
                1,
                (
                    "spec.accelerators declares a310b shared by share-dev-count in 4 shares each, but the Node "
                    "advertises 1 of huawei.com/Ascend310, one for each device: start ascend-device-plugin with "
                    "-shareDevCount=4, or correct the declaration"
                ),
            ),
            (
                facts(units={"huawei.com/Ascend310P": 1}),
                declared("a310p", mode="vnpu"),
                0,
                (
                    "spec.accelerators declares a310p shared by vnpu, but the Node advertises 1 of "
                    "huawei.com/Ascend310P, whole: create the vNPUs (npu-smi set -t create-vnpu) and start "
                    "ascend-device-plugin with -presetVirtualDevice=true, or correct the declaration"
                ),
            ),
            (
                facts(units={GPU: 1}),
                declared("t4", mode="hami"),
                0,
                (
                    "spec.accelerators declares t4 shared by hami, but the Node has no annotation "
                    "hami.io/node-nvidia-register, by which HAMi says so: have HAMi's device plugin run there in place "
                    "of NVIDIA's (Node label gpu=on; deviceSplitCount in the ConfigMap hami-scheduler-device), or "
                    "correct the declaration"
                ),
            ),
        ],
    )
    def test_says_where_to_put_what(self, node: NodeFacts, spec: dict[str, Any], units: int, message: str) -> None:
        assert accelerator(node, **spec).units == units
        assert reason(node, **spec) == ("False", "SharingNotConfigured", message)

    def test_one_sentence_for_one_cause(self) -> None:
        (finding,) = found(t4(2, "time-slicing", 2), **declared("t4", replicas=4)).findings
        assert finding.message.count("spec.accelerators") == 1
