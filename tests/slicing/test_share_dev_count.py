"""Ascend's shareDevCount: the shares of tests/slicing/test_counted.py, on the chips that have no other fraction."""

from tests.slicing.devices import answer, device, profile, state, taking

from littoral.slicing.provider import Grant, Request

A2 = profile(name="ascend-310b", family="ascend-310b", vendor="huawei", computeCapability="", unified=True)
RESOURCE = "huawei.com/Ascend310"
SHARED = device("share-dev-count", shares=4, its=A2, memory=8192, resource=RESOURCE)


def test_gives_one_unit_and_of_its_nodes_memory_what_is_asked() -> None:
    assert answer(state(SHARED), Request(3000, 20)) == Grant(3000, 25, "None", {RESOURCE: "1"})


def test_takes_as_many_slices_as_the_plugin_advertises() -> None:
    *given, last = taking(SHARED, [Request(500)] * 5)

    assert all(isinstance(each, Grant) for each in given)
    assert last == ("NoUnitLeft", "with all 4 huawei.com/Ascend310 in use")


def test_walls_are_refused() -> None:
    assert answer(state(SHARED), Request(1, 0, "Hard")) == (
        "InsufficientIsolation",
        "whose ascend-310b (share-dev-count) has isolation None, not Hard",
    )


def test_a_chip_that_cannot_share_says_so() -> None:
    old = profile(
        name="ascend-310", family="ascend-310", unsupported={"share-dev-count": "the 310 has no device-share"}
    )
    its = device("share-dev-count", shares=2, its=old)

    assert answer(state(its), Request(1)) == (
        "SharingUnsupported",
        "whose ascend-310 cannot be shared by share-dev-count: the 310 has no device-share",
    )
