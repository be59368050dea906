"""What the machine around a device decides: its power mode, the software installed, the RuntimeClass."""

from typing import Any

import pytest
from tests.accelerators.nodes import CHIP, GPU, PRODUCT, accelerator, catalogue, declared, facts, found, reason

from littoral.api.workload import NodeFacts

DRIVER = "nvidia.com/cuda.driver-version.full"
OLD_DRIVER = {f"nvidia.com/cuda.driver.{part}": n for part, n in {"major": "535", "minor": "161", "rev": "08"}.items()}
STACK = "littoral.dev/stack"
ORIN = facts({"littoral.dev/profile": "orin"})
NPU = {CHIP: "310P3", "huawei.com/driver.version": "25.5.0"}


class TestPowerMode:
    @pytest.mark.parametrize(("mode", "tops", "cpu"), [("", [100], 4000), ("15W", [50], 4000), ("MAXN", [], 4000)])
    def test_decides_the_tops_and_none_are_assumed_where_nobody_states_any(
        self, mode: str, tops: list[float], cpu: int
    ) -> None:
        assert [figure.value for figure in accelerator(facts(), **declared("orin", powerMode=mode)).tops] == tops
        assert found(facts(), **declared("orin", powerMode=mode)).devices[-1].cpu == cpu

    @pytest.mark.parametrize(("cpu", "left"), [(8000, 4000), (4000, 4000), (3800, 3800)])
    def test_leaves_so_many_cores_on(self, cpu: int, left: int) -> None:
        node = NodeFacts("n", memory=16384, cpu=cpu)
        assert found(node, **declared("orin", powerMode="15W")).devices[-1].cpu == left
        assert found(node, **declared("orin", powerMode="MAXN")).devices[-1].cpu == cpu

    def test_that_the_profile_does_not_have(self) -> None:
        spec = declared("orin", powerMode="15w")
        assert accelerator(facts(), **spec).tops[0].value == 100
        assert reason(facts(), **spec) == (
            "False",
            "UnknownPowerMode",
            (
                "spec.accelerators names the power mode '15w' of orin, which has 15W, MAXN: correct `powerMode`; until "
                "then the profile's own TOPS hold"
            ),
        )

    def test_of_a_device_that_has_none(self) -> None:
        node = facts(units={GPU: 1})
        assert "of t4, which has none in the catalogue" in reason(node, **declared("t4", powerMode="MAXN"))[2]

    def test_of_what_no_one_declares(self) -> None:
        assert accelerator(ORIN).tops == catalogue().profiles["orin"].tops


class TestInstalledSoftware:
    """The EdgeNode, the Node label littoral.dev/stack, the vendors' labels, in this order; it decides the stack."""

    @pytest.mark.parametrize(
        ("node", "spec", "stack", "versions"),
        [
            (facts(PRODUCT, {GPU: 1}), {}, "old", {}),
            (facts({**PRODUCT, DRIVER: "580.65.06"}, {GPU: 1}), {}, "new", {"driver": "580.65.06"}),
            (facts({**PRODUCT, **OLD_DRIVER}, {GPU: 1}), {}, "old", {"driver": "535.161.08"}),
            (facts({**PRODUCT, **OLD_DRIVER, DRIVER: "580.1"}, {GPU: 1}), {}, "new", {"driver": "580.1"}),
            (facts({**PRODUCT, DRIVER: "unknown"}, {GPU: 1}), {}, "old", {}),
            (
                facts({**PRODUCT, DRIVER: "580.1", STACK: "driver-550.54.15"}, {GPU: 1}),
                {},
                "old",
                {"driver": "550.54.15"},
            ),
            (
                facts({**PRODUCT, STACK: "driver-550.54.15"}, {GPU: 1}),
                {"stack": {"driver": "590.1"}},
                "new",
                {"driver": "590.1"},
            ),
            (facts({**ORIN.labels, STACK: "jetpack-6.2"}), {}, "jetpack6", {"jetpack": "6.2"}),
            (ORIN, {"stack": {"jetpack": "6.2.1"}}, "jetpack6", {"jetpack": "6.2.1"}),
            (
                facts({**ORIN.labels, STACK: "jetpack-6.2"}),
                {"stack": {"jetpack": "5.1.3"}},
                "jetpack5",
                {"jetpack": "5.1.3"},
            ),
            (facts(NPU, {"huawei.com/Ascend310P": 1}), {}, "", {"driver": "25.5.0"}),
            (
                facts({**NPU, STACK: "cann-8.3.rc1"}, {"huawei.com/Ascend310P": 1}),
                {},
                "cann8",
                {"driver": "25.5.0", "cann": "8.3.rc1"},
            ),
            (
                facts(NPU, {"huawei.com/Ascend310P": 1}),
                {"stack": {"cann": "8.3.rc1"}},
                "cann8",
                {"driver": "25.5.0", "cann": "8.3.rc1"},
            ),
        ],
    )
    def test_decides_the_stack(
        self, node: NodeFacts, spec: dict[str, Any], stack: str, versions: dict[str, str]
    ) -> None:
        device = accelerator(node, **spec)
        assert (device.stack.name, device.platform.versions) == (stack, versions)

    def test_of_another_vendor_says_nothing(self) -> None:
        node = facts({**PRODUCT, **NPU, DRIVER: "580.1"}, {GPU: 1, "huawei.com/Ascend310P": 1})
        versions = {device.profile.name: device.platform.versions for device in found(node).devices[:-1]}
        assert versions == {"t4": {"driver": "580.1"}, "a310p": {"driver": "25.5.0"}}

    def test_that_nobody_says_leaves_no_image(self) -> None:
        assert accelerator(ORIN).stack.image is None
        assert "declare spec.stack of the EdgeNode" in accelerator(ORIN).stack.image_reason

    @pytest.mark.parametrize("text", ["6.2", "jetpack6.2", "jetpack-", "cuda-12.4"])
    def test_that_cannot_be_read(self, text: str) -> None:
        node = facts({**ORIN.labels, STACK: text})
        assert reason(node) == (
            "False",
            "UnknownStack",
            (
                f"the Node label littoral.dev/stack={text} says no version: write jetpack-6.2, driver-550.54.15 or "
                "cann-8.3.rc1"
            ),
        )


@pytest.mark.parametrize(
    ("labels", "kubelet", "exist", "expected"),
    [
        ({}, "v1.34.1", frozenset({"nvidia", "other"}), "nvidia"),
        ({}, "v1.34.1", frozenset({"other"}), ""),
        ({}, "v1.34.1", None, "nvidia"),
        ({"node-role.kubernetes.io/edge": ""}, "v1.32.10-kubeedge-v1.22.0", frozenset({"nvidia"}), ""),
        ({"node-role.kubernetes.io/edge": ""}, "v1.32.10-kubeedge-v1.22.0", None, ""),
        ({"openyurt.io/is-edge-worker": "true"}, "v1.32.10", frozenset({"nvidia"}), "nvidia"),
    ],
)
def test_the_runtime_class(labels: dict[str, str], kubelet: str, exist: frozenset[str] | None, expected: str) -> None:
    node = facts({**PRODUCT, **labels}, {GPU: 1}, kubelet=kubelet)
    card, cpu = found(node, exist).devices
    assert (card.runtime_class, cpu.runtime_class) == (expected, "")
