"""What holds of every mechanism in any order of requests, wherever an adversary in the kubelet's place puts them.

The ledger is the real one; the model knows beside it on which physical device each slice lies. Where a mechanism is
Blind, the adversary chooses among the devices that have a unit free. Devices are cut anew, and added, while slices lie
on them.
"""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.slicing.devices import device, profile
from tests.slicing.test_vnpu import ASCEND, TEMPLATES

from littoral.accelerators.device import Device
from littoral.accelerators.profile import Mechanism
from littoral.api.gpuslice import ISOLATION_ORDER, Allocation
from littoral.placement.ledger import Account, Slot, charge
from littoral.slicing.provider import Charge, DeviceState, Grant, Request
from littoral.slicing.registry import PROVIDERS

MEMORY = 4800
ORIN = profile(unified=True)
ROUNDS = 12

requests = st.builds(
    Request,
    memory=st.sampled_from([1, 300, 600, 1200, 1600, 2400, 3000, 4800, 6000]),
    compute=st.sampled_from([0, 0, 10, 25, 33, 50, 70, 100]),
    isolation=st.sampled_from(["None", "None", "None", "Soft", "Hard"]),
)


usual = st.builds(Request, memory=st.sampled_from([1, 1200, 2400, 3000]), compute=st.sampled_from([0, 0, 25, 50, 70]))
"""Those that are mostly granted."""


@dataclass(eq=False)
class Slice:
    """A slice and where it really lies."""

    charge: Charge
    allocation: Allocation
    at: int


@dataclass
class Site:
    """The devices of a node, each with a number of its own, and the slices on them."""

    device: Device
    slices: list[Slice] = field(default_factory=list)

    @property
    def state(self) -> DeviceState:
        """What the ledger knows."""
        slot = Slot(self.device, Account())
        for number, each in enumerate(self.slices):
            slot.hold(("ns", str(number)), charge(each.allocation, self.device))
        return slot.state()

    def free(self) -> list[int]:
        """The devices that have a unit free, as the kubelet counts: those who asked it for one."""
        taken = Counter(each.at for each in self.slices if self.device.resource in each.allocation.resources)
        return [at for at in range(self.device.count) if taken[at] < self.device.shares]

    def take(self, request: Request, choose: st.DataObject, *, fullest: bool) -> None:
        """Grant the request if it can be, and let the adversary put it where he likes."""
        provider = PROVIDERS[self.device.provider]
        found = provider.grant(self.state, request)
        if not isinstance(found, Grant):
            return
        assert found.memory >= request.memory
        assert found.compute >= request.compute
        assert ISOLATION_ORDER.index(found.isolation) >= ISOLATION_ORDER.index(request.isolation)
        at = 0
        if provider.picker(self.device) == "Blind":
            free = self.free()
            assert free, "granted a unit that no device has"
            worst = max(free, key=lambda each: sum(s.charge.memory for s in self.slices if s.at == each))
            at = worst if fullest else choose.draw(st.sampled_from(free))
        self.add(found, at)
        counted = [each for each in self.slices if self.device.resource in each.allocation.resources]
        assert not found.resources or len(counted) <= self.device.units

    def add(self, found: Grant, at: int) -> tuple[str, ...]:
        """Take note of a grant; the partition that it is, if it is one."""
        allocation = Allocation(
            node="n",
            device=self.device.id,
            profile=self.device.profile.name,
            provider=self.device.provider,
            memory=f"{found.memory}Mi",
            compute=found.compute,
            resources=found.resources,
        )
        held = charge(allocation, self.device)
        self.slices.append(Slice(held, allocation, at))
        return held.templates

    def check(self) -> None:
        """No device holds more than it has; the memory of unified devices is one account."""
        for at in range(self.device.count):
            here = [each.charge for each in self.slices if each.at == at]
            assert sum(each.compute for each in here) <= 100
            if not self.device.shares_node_memory:
                assert sum(each.memory for each in here) <= self.device.memory
        assert sum(each.charge.memory for each in self.slices) <= self.device.total_memory


MECHANISMS: tuple[Mechanism, ...] = ("whole", "counted", "time-slicing", "mps", "share-dev-count", "hami", "runtime")
ALONE: tuple[Mechanism, ...] = ("hami", "runtime")
"""Of which each is for one device."""


@st.composite
def cuts(draw: st.DrawFn, at_least: int = 1, at_most: int = 3, *, unified: bool = False) -> Device:
    """A node's devices, shared in one of the ways."""
    mechanism = draw(st.sampled_from([each for each in MECHANISMS if at_least == 1 or each not in ALONE]))
    count = at_least if mechanism in ALONE else draw(st.integers(at_least, at_most))
    shares = 1 if mechanism == "whole" else draw(st.integers(1, 4))
    units = shares * count - draw(st.sampled_from([0, 0, 0, 1]))
    its = ORIN if unified and count == 1 and mechanism not in {"mps", "hami"} else profile()
    more = {"resource": None, "units": 0} if mechanism == "runtime" else {"units": units}
    return device(mechanism, memory=MEMORY, shares=shares, count=count, its=its, uuid="GPU-0", **more)


@settings(max_examples=400)
@given(cuts() | cuts(unified=True), st.lists(requests, max_size=ROUNDS), st.booleans(), st.data())
def test_no_device_ever_holds_more_than_it_has(
    its: Device, asked: list[Request], fullest: bool, data: st.DataObject
) -> None:
    site = Site(its)
    for request in asked:
        if site.slices and data.draw(st.integers(0, 3)) == 0:
            site.slices.remove(data.draw(st.sampled_from(site.slices)))
        site.take(request, data, fullest=fullest)
        site.check()


@settings(max_examples=400)
@given(st.data(), st.booleans())
def test_nor_when_devices_are_cut_anew_and_added_under_running_slices(data: st.DataObject, fullest: bool) -> None:
    """What was granted under an earlier cut stays; nothing is granted beside it that could be too much."""
    site = Site(data.draw(cuts(at_most=1)))
    for at_most in (1, 2, 3):
        site.device = data.draw(cuts(site.device.count, at_most))
        for request in data.draw(st.lists(usual, min_size=1, max_size=4)):
            site.take(request, data, fullest=fullest)
            site.check()


@given(st.lists(requests, max_size=ROUNDS), st.data())
def test_nor_do_the_cores_and_memory_of_a_node(asked: list[Request], data: st.DataObject) -> None:
    site = Site(device("cpu", memory=MEMORY))
    for request in asked:
        site.take(request, data, fullest=True)
        site.check()


sizes = st.sampled_from([str(each["name"]) for each in TEMPLATES])
partitions = {each.name: each for each in ASCEND.partitions.templates} if ASCEND.partitions else {}
CHIP_MEMORY = 24 * 1024


def too_much(names: list[str]) -> bool:
    its = [partitions[name] for name in names]
    return (
        sum(each.cores for each in its) > 8
        or sum(each.cpus for each in its) > 7
        or sum(each.memory_mib for each in its) > CHIP_MEMORY
    )


@st.composite
def splits(draw: st.DrawFn) -> list[str]:
    """The partitions that an administrator made of one chip."""
    made: list[str] = []
    for name in draw(st.lists(sizes, max_size=7)):
        if not too_much([*made, name]):
            made.append(name)
    return made


npu_requests = st.builds(
    Request,
    memory=st.sampled_from([1, 3072, 3073, 6144, 9000, 12288, 13000]),
    compute=st.sampled_from([0, 0, 12, 13, 25, 50, 51]),
    isolation=st.sampled_from(["None", "Hard"]),
)


@settings(max_examples=300)
@given(st.lists(splits(), min_size=1, max_size=3), st.lists(npu_requests, max_size=15), st.data())
def test_every_partition_granted_exists_on_whichever_chip_it_is_taken(
    chips: list[list[str]], asked: list[Request], data: st.DataObject
) -> None:
    left = [Counter(names) for names in chips]
    advertised = dict.fromkeys(partitions, 0) | sum(left, Counter[str]())
    its = device("vnpu", its=ASCEND, memory=CHIP_MEMORY, count=len(chips), resource=None, units=0, templates=advertised)
    site = Site(its)
    for request in asked:
        found = PROVIDERS["vnpu"].grant(site.state, request)
        if not isinstance(found, Grant):
            continue
        (name,) = site.add(found, 0)
        having = [at for at, each in enumerate(left) if each[name]]
        assert having, f"granted a {name} that no chip has"
        left[data.draw(st.sampled_from(having))][name] -= 1
        assert found.memory >= request.memory
        assert found.compute >= request.compute
        assert found.isolation == "Hard"


@given(st.lists(npu_requests, max_size=15))
def test_what_is_not_advertised_yet_is_granted_only_as_far_as_a_chip_holds_it(asked: list[Request]) -> None:
    its = device("vnpu", its=ASCEND, memory=CHIP_MEMORY, resource=None, units=0)
    site = Site(its)
    for request in asked:
        found = PROVIDERS["vnpu"].grant(site.state, request)
        if isinstance(found, Grant):
            site.add(found, 0)
        assert not too_much([name for each in site.slices for name in each.charge.templates])
