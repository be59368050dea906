"""Ascend chips split into vNPUs beforehand: how many chips what is advertised takes, and whole ones beside them."""

from collections import Counter
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.accelerators.nodes import CHIP, accelerator, catalogue, declared, facts, found, reason

from littoral.accelerators.vnpu import chips

VIR02, VIR04, VIR04_3C = "huawei.com/Ascend310P-2c", "huawei.com/Ascend310P-4c", "huawei.com/Ascend310P-4c.3cpu"
WHOLE = "huawei.com/Ascend310P"
NODE = {CHIP: "310P3"}
PROFILE = catalogue().profiles["a310p"]
SIZES = {t.name: (t.cores, t.cpus, t.memory_mib) for t in PROFILE.partitions.templates} if PROFILE.partitions else {}
ROOM = (8, 7, 24576)


class TestDevices:
    @pytest.mark.parametrize("labels", [NODE, {"accelerator": "huawei-Ascend310P"}, {}])
    def test_split_chips(self, labels: dict[str, str]) -> None:
        device = accelerator(facts(labels, {VIR04: 1, VIR04_3C: 1, VIR02: 0}))
        assert (device.id, device.provider, device.resource) == ("a310p-vnpu", "vnpu", None)
        assert (device.templates, device.units) == ({"vir04": 1, "vir04_3c": 1}, 2)
        assert (device.count, device.memory) == (1, 24576)
        assert device.source.endswith("; split into 1 x vir04, 1 x vir04_3c")

    def test_split_beside_whole_ones(self) -> None:
        node = facts(NODE, {WHOLE: 2, VIR02: 3})
        split, whole, _ = found(node).devices
        assert (split.id, split.count, split.units) == ("a310p-vnpu", 1, 3)
        assert (whole.id, whole.provider, whole.count, whole.units) == ("a310p", "whole", 2, 2)
        assert reason(node)[0] == "True"

    def test_declared_one_by_one(self) -> None:
        one = {"profile": "a310p", "sharing": {"mode": "whole"}}
        spec = {"accelerators": [one, {"profile": "a310p", "count": 2, "sharing": {"mode": "vnpu"}}]}
        node = facts(NODE, {WHOLE: 1, VIR02: 3})
        whole, split, _ = found(node, **spec).devices
        assert (whole.id, whole.units, split.id, split.count, split.units) == ("a310p-0", 1, "a310p-vnpu", 2, 3)
        assert reason(node, **spec)[0] == "True"

    @pytest.mark.parametrize(("count", "chips"), [(3, 1), (4, 2)])
    def test_declared_together(self, count: int, chips: int) -> None:
        split, whole, _ = found(facts(NODE, {WHOLE: 2, VIR02: 3}), **declared("a310p", count)).devices
        assert (split.count, whole.count) == (chips, 2)

    @pytest.mark.parametrize(
        ("units", "usable"), [({VIR02: 0}, 0), ({VIR02: 0, VIR04: 0}, 0), ({WHOLE: 0, VIR02: 0}, 0)]
    )
    def test_in_a_restart_of_the_plugin(self, units: dict[str, int], usable: int) -> None:
        """What was split is still known as that, with none left: empty templates would say that nobody knows."""
        device = accelerator(facts(NODE, units))
        assert (device.provider, device.units, set(device.templates.values())) == ("vnpu", usable, {0})
        assert reason(facts(NODE, units))[1] == "ResourceMissing"

    def test_that_are_whole_again(self) -> None:
        device = accelerator(facts(NODE, {WHOLE: 2, VIR02: 0}))
        assert (device.provider, device.units) == ("whole", 2)


class TestContradictions:
    @pytest.mark.parametrize(
        ("units", "spec", "message"),
        [
            (
                {VIR04: 3},
                declared("a310p", 2),
                (
                    "spec.accelerators declares 2 x a310p, but the Node advertises 3 x vir04, for which 3 are needed: "
                    "correct `count`"
                ),
            ),
            (
                {VIR04: 2, WHOLE: 2},
                declared("a310p", 3),
                (
                    "spec.accelerators declares 3 x a310p, but the Node advertises 2 x vir04 beside 2 whole, for which "
                    "4 are needed: correct `count`"
                ),
            ),
        ],
    )
    def test_too_few_are_declared(self, units: dict[str, int], spec: dict[str, Any], message: str) -> None:
        assert reason(facts(NODE, units), **spec) == ("False", "DeclaredMismatch", message)


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        ({"vir04": 1, "vir04_3c": 1}, 1),
        ({"vir04": 2}, 2),  # 8 AI CPUs of 7
        ({"vir01": 7}, 1),
        ({"vir01": 8}, 2),
        ({"vir02": 3, "vir02_1c": 1}, 1),
        ({"vir04": 2, "vir04_3c": 2}, 2),
        ({}, 0),
    ],
)
def test_chips_that_are_needed(partitions: dict[str, int], expected: int) -> None:
    assert chips(PROFILE, partitions) == expected


@cache
def fillings() -> frozenset[tuple[int, ...]]:
    """Every choice of partitions that one chip holds."""
    return frozenset(
        counts
        for counts in product(range(9), repeat=len(SIZES))
        if all(
            sum(n * size[axis] for n, size in zip(counts, SIZES.values(), strict=True)) <= ROOM[axis]
            for axis in range(3)
        )
    )


@given(st.lists(st.sampled_from(sorted(fillings())), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_never_more_chips_than_were_split(split: list[tuple[int, ...]]) -> None:
    """Whatever was made on so many chips fits on so many chips."""
    total: Counter[str] = Counter()
    for counts in split:
        total.update(dict(zip(SIZES, counts, strict=True)))
    assert chips(PROFILE, total) <= len(split)
