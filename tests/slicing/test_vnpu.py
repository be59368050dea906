"""Ascend static vNPU: the templates of a 310P, and which of them one chip, or several, can hold together."""

from typing import Any

import pytest
from tests.slicing.devices import Table, answer, device, profile, state, taking

from littoral.accelerators.catalogue import load
from littoral.accelerators.device import Device
from littoral.api.quantity import to_mib
from littoral.slicing.provider import Grant, Refusal, Request
from littoral.slicing.registry import PROVIDERS

TEMPLATES = [
    {"name": "vir01", "resource": "huawei.com/Ascend310P-1c", "memory": "3Gi", "cores": 1, "cpus": 1},
    {"name": "vir02", "resource": "huawei.com/Ascend310P-2c", "memory": "6Gi", "cores": 2, "cpus": 2},
    {"name": "vir02_1c", "resource": "huawei.com/Ascend310P-2c.1cpu", "memory": "6Gi", "cores": 2, "cpus": 1},
    {"name": "vir04", "resource": "huawei.com/Ascend310P-4c", "memory": "12Gi", "cores": 4, "cpus": 4},
    {"name": "vir04_3c", "resource": "huawei.com/Ascend310P-4c.3cpu", "memory": "12Gi", "cores": 4, "cpus": 3},
]
GIB = 1024
ASCEND = profile(
    name="ascend-310p",
    family="ascend-310p",
    vendor="huawei",
    computeCapability="",
    sharing=["vnpu"],
    partitions={"cores": 8, "cpus": 7, "templates": TEMPLATES},
)
RESOURCES = {str(each["name"]): str(each["resource"]) for each in TEMPLATES}
SIZES: dict[str, tuple[int, int]] = {
    "vir01": (3 * GIB, 12),
    "vir02": (6 * GIB, 25),
    "vir02_1c": (6 * GIB, 25),
    "vir04": (12 * GIB, 50),
    "vir04_3c": (12 * GIB, 50),
}


def chips(count: int = 1, its: Any = ASCEND, **templates: int) -> Device:
    return device("vnpu", its=its, memory=24 * GIB, count=count, resource=None, units=0, templates=templates)


def given(name: str) -> Grant:
    memory, compute = SIZES[name]
    return Grant(memory, compute, "Hard", {RESOURCES[name]: "1"})


def holding(its: Device, *names: str) -> Any:
    memory = sum(SIZES[name][0] for name in names)
    compute = sum(SIZES[name][1] for name in names)
    return state(its, memory, compute, slices=len(names), templates=tuple(sorted(names)))


CHIP = chips()

CASES: Table = {
    "the smallest that covers memory": (state(CHIP), Request(2048), given("vir01")),
    "and compute": (state(CHIP), Request(2048, 20), given("vir02_1c")),
    "exactly one's": (state(CHIP), Request(6 * GIB, 25), given("vir02_1c")),
    "a partition is a wall": (state(CHIP), Request(12 * GIB, 50, "Hard"), given("vir04_3c")),
    "what is advertised": (state(chips(vir04=1)), Request(2048), given("vir04")),
    "the next larger where the smallest is in use": (
        holding(chips(vir01=1, vir02=1), "vir01"),
        Request(2048),
        given("vir02"),
    ),
    "on another chip": (holding(chips(2), "vir04", "vir04_3c"), Request(12 * GIB), given("vir04_3c")),
    "two of four and three AICPU on one chip": (holding(CHIP, "vir04"), Request(12 * GIB), given("vir04_3c")),
    "beside three of two": (holding(CHIP, "vir02", "vir02", "vir02"), Request(6 * GIB), given("vir02_1c")),
    "after six of one": (holding(CHIP, *["vir01"] * 6), Request(3 * GIB), given("vir01")),
    "and of two": (holding(CHIP, *["vir01"] * 6), Request(6 * GIB), given("vir02_1c")),
    "no AICPU left though a core is": (
        holding(CHIP, *["vir01"] * 7),
        Request(2048),
        ("InsufficientPartition", "with 0 of 7 AICPU free of 1 that vir01 needs"),
    ),
    "two of four AICPU on one chip": (
        holding(chips(vir04=2), "vir04"),
        Request(12 * GIB),
        ("InsufficientPartition", "with 3 of 7 AICPU free of 4 that vir04 needs"),
    ),
    "no AI cores left": (
        holding(CHIP, "vir04_3c", "vir02_1c", "vir02_1c"),
        Request(2048),
        ("InsufficientPartition", "with 0 of 8 AI cores free of 1 that vir01 needs"),
    ),
    "no memory left, where some is reserved": (
        holding(device("vnpu", its=ASCEND, memory=13 * GIB, resource=None, units=0), "vir04"),
        Request(2048),
        ("InsufficientPartition", "with 1Gi of 13Gi memory free of 3Gi that vir01 needs"),
    ),
    "room in all, but on no chip": (
        holding(chips(2, vir04=4), "vir04", "vir04"),
        Request(12 * GIB),
        ("InsufficientPartition", "with room for vir04 on none of its 2 ascend-310p alone"),
    ),
    "all of that size in use": (
        holding(chips(vir02=2), "vir02", "vir02"),
        Request(6 * GIB),
        ("NoUnitLeft", "with all 2 huawei.com/Ascend310P-2c in use"),
    ),
    "none of that size": (
        state(chips(vir01=3, vir02=2)),
        Request(12 * GIB),
        ("NoSuchPartition", "without a partition of vir04_3c (it has 3 vir01, 2 vir02)"),
    ),
    "the plugin advertises none at all": (
        state(chips(vir01=0, vir02=0)),
        Request(1),
        ("NoCapacity", "without usable partitions of its ascend-310p (its EdgeNode says why)"),
    ),
    "more memory than any": (
        state(CHIP),
        Request(13 * GIB),
        ("PartitionTooSmall", "whose ascend-310p has no partition above 12Gi, 13Gi needed"),
    ),
    "more compute than any": (
        state(CHIP),
        Request(1, 60),
        ("PartitionTooSmall", "whose ascend-310p has no partition above 50% compute, 60% needed"),
    ),
    "a chip that was whole before": (
        state(CHIP, 24 * GIB, 100, slices=1),
        Request(1),
        ("DeviceInUse", "with its ascend-310p in use as a whole, from before the split"),
    ),
    "both chips": (
        state(chips(2), 48 * GIB, 200, slices=2),
        Request(1),
        ("DeviceInUse", "with all 2 ascend-310p in use as a whole, from before the split"),
    ),
    "one of two chips whole from before, the other full": (
        state(chips(2), 48 * GIB, 200, slices=3, templates=("vir04", "vir04_3c")),
        Request(1),
        ("InsufficientPartition", "with 0 of 8 AI cores free of 1 that vir01 needs"),
    ),
    "each slice of before may lie on a chip of its own, however small": (
        state(chips(2), 10 * GIB, 50, slices=2),
        Request(1),
        ("DeviceInUse", "with all 2 ascend-310p in use as a whole, from before the split"),
    ),
    "a slice that moved holds two partitions, and hides no chip that is whole": (
        state(chips(2), 36 * GIB, 150, slices=2, templates=("vir02_1c", "vir04")),
        Request(12 * GIB),
        ("InsufficientPartition", "with 2 of 8 AI cores free of 4 that vir04_3c needs"),
    ),
    "a catalogue without templates": (
        state(chips(its=profile())),
        Request(1),
        ("NoCapacity", "whose t4 has no partition templates in the catalogue"),
    ),
    "a chip that cannot be split": (
        state(chips(its=profile(name="ascend-310b", unsupported={"vnpu": "a 310B has one AI core"}))),
        Request(1),
        ("SharingUnsupported", "whose ascend-310b cannot be shared by vnpu: a 310B has one AI core"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_or_says_why_not(case: str) -> None:
    its, request, expected = CASES[case]
    assert answer(its, request) == expected


@pytest.mark.parametrize(
    ("names", "together"),
    [
        (("vir04", "vir04"), False),
        (("vir04", "vir04_3c"), True),
        (("vir02", "vir02", "vir02", "vir02_1c"), True),
        (("vir02", "vir02", "vir02", "vir02"), False),
        (("vir01",) * 7, True),
        (("vir01",) * 8, False),
        ((*("vir01",) * 6, "vir02_1c"), True),
        ((*("vir01",) * 6, "vir02"), False),
        ((*("vir01",) * 6, "vir02_1c", "vir01"), False),
    ],
)
def test_what_huawei_lists_for_one_chip(names: tuple[str, ...], together: bool) -> None:
    """The combinations of the vendor's tables, in the order in which a user makes them, each advertised."""
    its = chips(**{name: names.count(name) for name in names})
    answers = [answer(holding(its, *names[:i]), Request(*SIZES[name])) for i, name in enumerate(names)]

    assert all(isinstance(each, Grant) for each in answers) is together


@pytest.mark.parametrize("name", ["ascend-310p", "ascend-310p-48gb", "ascend-310p-duo"])
@pytest.mark.parametrize(("names", "together"), [(("vir04", "vir04_3c"), True), (("vir04", "vir04"), False)])
def test_the_shipped_catalogue_has_the_figures_for_it(name: str, names: tuple[str, ...], together: bool) -> None:
    its = load().profiles[name]
    assert its.partitions is not None
    sizes = {each.name: each for each in its.partitions.templates}
    asked = [Request(sizes[each].memory_mib) for each in names]
    chip = device(
        "vnpu",
        its=its,
        memory=to_mib(its.memory or "0"),
        resource=None,
        units=0,
        templates={each: names.count(each) for each in names},
    )

    assert all(isinstance(each, Grant) for each in taking(chip, asked)) is together


def test_says_how_near_it_came() -> None:
    refusal = PROVIDERS["vnpu"].grant(holding(chips(vir04=2), "vir04"), Request(12 * GIB))

    assert isinstance(refusal, Refusal)
    assert refusal.near == pytest.approx(0.75)


def test_fills_eight_chips() -> None:
    requests = [Request(12 * GIB)] * 16 + [Request(2048)]
    *given_, last = taking(chips(8), requests)

    assert all(isinstance(each, Grant) for each in given_)
    assert last == ("InsufficientPartition", "with 0 of 64 AI cores free of 1 that vir01 needs")
