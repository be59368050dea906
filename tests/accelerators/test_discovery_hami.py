"""HAMi's register: both encodings, a device for each card, and what keeps a card from taking anything new."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.accelerators.nodes import GPU, PRODUCT, declared, facts, found, reason

from littoral.accelerators.device import Device
from littoral.accelerators.discovery import annotations_read
from littoral.accelerators.hami import parse
from littoral.api.workload import NodeFacts

REGISTER = "hami.io/node-nvidia-register"
OLDEST = "GPU-a,10,15360,100,NVIDIA-Tesla T4,0,true:GPU-b,10,15360,100,NVIDIA-Tesla T4,0,false:"
OLDER = "GPU-b,10,15360,100,NVIDIA-Tesla T4,0,true,1,hami-core:GPU-a,10,15360,100,NVIDIA-Tesla T4,0,true,0,hami-core:"


def card(uuid: str, index: int = 0, **more: Any) -> dict[str, Any]:
    """As HAMi's encoder writes it: false, 0 and empty are left out."""
    fields = {
        "id": uuid,
        "index": index,
        "count": 10,
        "devmem": 15360,
        "devcore": 100,
        "type": "NVIDIA-Tesla T4",
        "mode": "hami-core",
        "health": True,
        **more,
    }
    return {key: value for key, value in fields.items() if value}


def node(
    register: str | list[dict[str, Any]], labels: dict[str, str] | None = None, more: dict[str, str] | None = None
) -> NodeFacts:
    text = register if isinstance(register, str) else json.dumps(register)
    return facts(labels, {GPU: 10}, annotations={REGISTER: text, **(more or {})})


def cards(shown: NodeFacts, **spec: Any) -> list[Device]:
    *devices, cpu = found(shown, **spec).devices
    assert cpu.id == "cpu"
    return devices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OLDEST, [("GPU-a", 0, True), ("GPU-b", 1, False)]),
        (OLDER, [("GPU-a", 0, True), ("GPU-b", 1, True)]),
        (json.dumps([card("GPU-b", 3), card("GPU-a", 1)]), [("GPU-a", 1, True), ("GPU-b", 3, True)]),
        (json.dumps([card("GPU-a", health=False)]), [("GPU-a", 0, False)]),  # absent, as HAMi writes false
        ("[]", []),
        ("", []),
    ],
)
def test_both_encodings(text: str, expected: list[tuple[str, int, bool]]) -> None:
    assert [(each.uuid, each.index, each.healthy) for each in parse(text)] == expected
    assert all((each.pods, each.memory, each.type) == (10, 15360, "NVIDIA-Tesla T4") for each in parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '[{"id": "GPU-a", "index": 1e999}]',
        '[{"id": "GPU-a", "count": -1}]',
        '[{"id": "GPU a"}]',
        '[{"count": 10}]',
        "GPU-a,x,15360,100,NVIDIA-Tesla T4,0,true:",
        OLDEST * 17,
        "x" * 100_000,
    ],
)
def test_what_is_no_register(text: str) -> None:
    assert reason(node(text))[:2] == ("False", "RegisterUnreadable")
    assert cards(node(text)) == []
    assert len(reason(node(text))[2]) < 400


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_a_node_writes_is_read_or_refused(text: str) -> None:
    """A register is somebody else's text: discovery says what it thinks of it and never fails."""
    discovery = found(node(text))
    assert discovery.devices[-1].id == "cpu"


class TestACardIsADevice:
    @pytest.mark.parametrize(
        ("labels", "spec", "source"),
        [
            ({}, {}, "Node annotation hami.io/node-nvidia-register"),
            (PRODUCT, {}, "Node label nvidia.com/gpu.product=Tesla-T4; Node annotation hami.io/node-nvidia-register"),
            ({}, declared("t4", 2), "spec.accelerators; Node annotation hami.io/node-nvidia-register"),
            ({}, declared("t4", 2, mode="hami"), "spec.accelerators; Node annotation hami.io/node-nvidia-register"),
        ],
    )
    def test_of_its_own(self, labels: dict[str, str], spec: dict[str, Any], source: str) -> None:
        first, second = cards(node([card("GPU-a"), card("GPU-b", 1)], labels), **spec)
        assert (first.id, first.uuid, first.provider, first.resource) == ("t4-0", "GPU-a", "hami", GPU)
        assert (first.count, first.units, first.memory, first.source) == (1, 10, 15360, source)
        assert (second.id, second.uuid) == ("t4-1", "GPU-b")
        assert reason(node([card("GPU-a"), card("GPU-b", 1)], labels), **spec)[0] == "True"

    def test_keeps_its_name_when_another_is_gone(self) -> None:
        (left,) = cards(node([card("GPU-b", 1)]))
        assert (left.id, left.uuid) == ("t4-1", "GPU-b")

    def test_of_its_own_kind(self) -> None:
        """HAMi takes a card by its id, so that unlike cards under one resource are no matter."""
        mixed = node([card("GPU-a"), card("GPU-b", 1, type="NVIDIA L40")])
        assert [(device.id, device.profile.name) for device in cards(mixed)] == [("t4-0", "t4"), ("l40-1", "l40")]
        assert reason(mixed)[0] == "True"

    def test_has_no_more_memory_than_the_profile(self) -> None:
        """deviceMemoryScaling above 1 promises the host's memory as the card's."""
        (scaled,) = cards(node([card("GPU-a", devmem=30720)]))
        (reserved,) = cards(node([card("GPU-a", devmem=15109)]), reserved={"memory": "1Gi"})
        assert (scaled.memory, reserved.memory) == (15360, 14085)

    def test_takes_as_many_pods_as_declared(self) -> None:
        shown = node([card("GPU-a")])
        (device,) = cards(shown, **declared("t4", mode="hami", replicas=4))
        assert device.units == 4
        assert reason(shown, **declared("t4", mode="hami", replicas=4)) == (
            "False",
            "SharingNotConfigured",
            (
                "spec.accelerators declares t4 shared by hami in 4 shares each, but HAMi lets 10 pods on each card: "
                "have HAMi's device plugin run there in place of NVIDIA's (Node label gpu=on; deviceSplitCount in the "
                "ConfigMap hami-scheduler-device), or correct the declaration"
            ),
        )


class TestNothingNew:
    @pytest.mark.parametrize(
        ("shown", "expected", "message"),
        [
            (
                node([card("GPU-a", health=False), card("GPU-b", 1)]),
                "DeviceUnhealthy",
                (
                    "HAMi's card t4-0 (GPU-a) gets nothing new: HAMi registers it as unhealthy; see the card, its "
                    "driver and HAMi's device plugin"
                ),
            ),
            (
                node([card("GPU-a", mode="mig"), card("GPU-b", 1)]),
                "MIGUnsupported",
                (
                    "HAMi's card t4-0 (GPU-a) gets nothing new: HAMi partitions it by MIG, which no provider hands "
                    "out; set its operatingmode to hami-core"
                ),
            ),
            (
                node([card("GPU-a", mode="mps"), card("GPU-b", 1)]),
                "SharingUnsupported",
                (
                    "HAMi's card t4-0 (GPU-a) gets nothing new: HAMi shares it in the mode mps, which no provider "
                    "hands out; set its operatingmode to hami-core"
                ),
            ),
        ],
    )
    def test_on_a_card_in_trouble(self, shown: NodeFacts, expected: str, message: str) -> None:
        assert [device.units for device in cards(shown)] == [0, 10]
        assert reason(shown) == ("False", expected, message)
        assert message.partition(": ")[2] in cards(shown)[0].source

    def test_where_the_plugin_was_given_up(self) -> None:
        shown = node([card("GPU-a")], more={"hami.io/node-handshake": "Deleted_2026-11-22 06:00:00"})
        assert cards(shown)[0].units == 0
        assert reason(shown)[1:] == (
            "DeviceUnhealthy",
            (
                "HAMi's card t4-0 (GPU-a) gets nothing new: the Node annotation hami.io/node-handshake says that "
                "HAMi's scheduler has given the node's device plugin up; see that the plugin runs"
            ),
        )

    def test_where_the_resource_is_not_advertised(self) -> None:
        shown = facts(units={GPU: 0}, annotations={REGISTER: json.dumps([card("GPU-a")])})
        assert cards(shown)[0].units == 0
        assert reason(shown)[1:] == (
            "ResourceMissing",
            (
                "the Node does not advertise nvidia.com/gpu, so nothing new is placed on its t4: see that HAMi's "
                "device plugin runs; what is bound stays"
            ),
        )

    def test_on_a_cordoned_card_which_is_no_contradiction(self) -> None:
        shown = node([card("GPU-a"), card("GPU-b", 1)], more={"hami.io/device-cordon": "GPU-x,GPU-b"})
        assert [device.units for device in cards(shown)] == [10, 0]
        assert cards(shown)[1].source.endswith("; cordoned by the Node annotation hami.io/device-cordon")
        assert reason(shown)[0] == "True"


class TestContradictions:
    @pytest.mark.parametrize(
        ("shown", "spec", "expected", "message"),
        [
            (
                node("GPU-a,10,15360"),
                declared("t4"),
                "RegisterUnreadable",
                (
                    "the Node annotation hami.io/node-nvidia-register cannot be read ('GPU-a,10,15360' has 3 fields, "
                    "not 7 or 9), so nothing new is placed on its cards: see that HAMi's device plugin is of a release "
                    "from 2.4 on"
                ),
            ),
            (
                node([card("GPU-a", type="NVIDIA-Tesla P4")]),
                {},
                "AmbiguousDevice",
                (
                    "the Node annotation hami.io/node-nvidia-register has a card of the type 'NVIDIA-Tesla P4', which "
                    "no profile of the catalogue has as nvidia.com/gpu.product: set the Node label "
                    "littoral.dev/profile, or spec.accelerators of the EdgeNode"
                ),
            ),
            (
                node([card("GPU-a")]),
                declared("t4", 2),
                "DeclaredMismatch",
                (
                    "spec.accelerators declares 2 x t4, but hami.io/node-nvidia-register has 1: correct `count`, or "
                    "see why HAMi's device plugin does not register them all"
                ),
            ),
            (
                node([card("GPU-a")]),
                declared("t4", mode="time-slicing", replicas=4),
                "SharingNotConfigured",
                (
                    "spec.accelerators declares t4 shared by time-slicing in 4 shares each, but the Node annotation "
                    "hami.io/node-nvidia-register says that HAMi shares them: set "
                    "sharing.timeSlicing.resources[].replicas of nvidia.com/gpu to 4 in the NVIDIA device plugin's "
                    "ConfigMap (its key is named by the Node label nvidia.com/device-plugin.config), or correct the "
                    "declaration"
                ),
            ),
            (
                node([card("GPU-a", type="NVIDIA-Tesla T4")], {"littoral.dev/profile": "orin"}),
                {},
                "SharingUnsupported",
                "Jetson devices have no HAMi: it finds no device on a Tegra",
            ),
        ],
    )
    def test_are_said(self, shown: NodeFacts, spec: dict[str, Any], expected: str, message: str) -> None:
        assert reason(shown, **spec) == ("False", expected, message)

    def test_a_type_that_is_another_profile(self) -> None:
        shown = node([card("GPU-a", type="NVIDIA A10")], PRODUCT)
        assert cards(shown)[0].profile.name == "t4"
        assert reason(shown)[1:] == (
            "DeclaredMismatch",
            (
                "Node label nvidia.com/gpu.product=Tesla-T4 says t4, but hami.io/node-nvidia-register has a card of "
                "the type 'NVIDIA A10', which is a a10: correct the one that is wrong; until then the former holds"
            ),
        )


def test_what_is_kept_of_a_nodes_annotations() -> None:
    """The handshake changes twice a minute; to keep it would be a change of the world each time."""
    annotations = {
        REGISTER: "[]",
        "hami.io/node-handshake": "Requesting_2026-11-22 06:00:00",
        "hami.io/device-cordon": "GPU-a",
        "hami.io/node-register-Ascend310P": "a long text",
        "csi.volume.kubernetes.io/nodeid": "{}",
    }
    kept = {REGISTER: "[]", "hami.io/device-cordon": "GPU-a", "hami.io/node-register-Ascend310P": ""}
    assert annotations_read(annotations) == kept
    assert annotations_read({"hami.io/node-handshake": "Deleted_2026-11-22 06:00:00"}) == {
        "hami.io/node-handshake": "Deleted"
    }
