"""An operator that ends between any two of its writes, or misses the answer to any of them: the next one goes on."""

import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from tests.contract.inprocess import Fault, InProcess, expire_lease
from tests.contract.manifests import T4_LABELS, variant
from tests.contract.site import Site, condition, eventually, verdict

from littoral.api import group
from littoral.controller.kinds import DEPLOYMENTS, EDGENODES, JOBS, MODELS, PODS, SERVICES, SLICES

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("no_operator")]

NEVER: Final = 10**6
SEEDS: Final = (1, 2)
UNITS: Final = 2
LABELS: Final = {**T4_LABELS, "nvidia.com/gpu.replicas": str(UNITS)}
SHAPE: Final = {"everywhere": 3, "pair": 2, "single": 1}
"""Replicas of each model: as many as the three nodes have units."""


async def create(site: Site) -> None:
    for name in ("a", "b", "c"):
        await site.node(name, LABELS, units=UNITS)
    placement = {"pools": [site.pool], "mode": "PerNode"}
    await site.model("everywhere", placement=placement)
    await site.model("pair", replicas=2)
    await site.model("single")


async def update(site: Site) -> None:
    for name in SHAPE:
        await site.respec(name, variants=[variant(digest="b")])


async def scale_down(site: Site) -> None:
    await site.scale("pair", 1)
    await site.scale("single", 0)


PHASES: Final[tuple[tuple[Callable[[Site], Awaitable[None]], str, dict[str, int]], ...]] = (
    (create, "a", SHAPE),
    (update, "b", SHAPE),
    (scale_down, "b", {"everywhere": 3, "pair": 1, "single": 0}),
)


async def consistent(site: Site) -> None:
    """What holds at every moment: nothing is over-committed, and nothing runs that no slice pays for."""
    deployments = await site.all(DEPLOYMENTS)  # before the slices: a slice is bound before its Deployment is made
    slices = {item["metadata"]["name"]: item for item in await site.all(SLICES)}
    bound = {
        name: item["status"]["allocation"]["node"] for name, item in slices.items() if "allocation" in item["status"]
    }
    charged = Counter(bound.values())
    assert all(count <= UNITS for count in charged.values()), charged
    for deployment in deployments:
        name, labels = deployment["metadata"]["name"], deployment["metadata"]["labels"]
        if name in slices:
            assert bound.get(name) == labels[group.LABEL_NODE], f"{name} runs on what it was not granted"


async def arrived(site: Site, digest: str, shape: dict[str, int]) -> None:
    """The end that every disturbed run comes to: each replica once, on the revision wanted, and nothing left over."""
    await consistent(site)
    names: dict[str, set[str]] = {}
    for resource in (SLICES, DEPLOYMENTS, PODS):
        items = await site.all(resource)
        count = dict.fromkeys(shape, 0)
        for item in items:
            count[item["metadata"]["labels"][group.LABEL_MODEL]] += 1
        assert count == shape, f"{resource.plural}: {count}, not {shape}"
        names[resource.plural] = {
            item["metadata"]["labels"].get(group.LABEL_SLICE) or item["metadata"]["name"] for item in items
        }
    assert names["gpuslices"] == names["deployments"] == names["pods"]
    assert await site.all(JOBS) == [], "a prefetch outlived its update"
    for item in await site.all(SLICES):
        assert item["status"]["allocation"].get("startedAt"), f"{item['metadata']['name']} was never seen to start"
    assert {item["metadata"]["name"] for item in await site.all(SERVICES)} == set(shape)
    for deployment in await site.all(DEPLOYMENTS):
        (fetch,) = deployment["spec"]["template"]["spec"]["initContainers"]
        assert digest * 64 in fetch["env"][0]["value"]
    for name, replicas in shape.items():
        body = await site.get(MODELS, name)
        assert verdict(body)[0] == "True", condition(body, "Ready")
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
        assert body["status"]["replicas"] == replicas
    for name in ("a", "b", "c"):
        assert verdict(await site.get(EDGENODES, f"{site.pool}-{name}"), "Connected") == ("True", "NodeReady")


async def live(site: Site, operator: InProcess, digest: str, shape: dict[str, int]) -> bool:
    """One life: whether it arrived rather than died."""

    async def over() -> bool:
        if operator.died:
            return False
        await arrived(site, digest, shape)
        return True

    async with operator:
        there = await eventually(over, timeout=90)
    if not there:
        await expire_lease(site.client)
        await consistent(site)
    return there


async def lives(site: Site, account: Path, fault: Fault, span: Callable[[int], int]) -> None:
    """Through all phases, with as many lives as it takes; `span` says at which writes the nth life of a phase fails."""
    for change, digest, shape in PHASES:
        await change(site)
        for number in itertools.count():
            operator = InProcess(account, fault=fault, nth=span(number))
            there = await live(site, operator, digest, shape)
            print(change.__name__, "arrived" if there else "died", operator.writes)  # shown where the test fails
            if there:
                break


@pytest.mark.parametrize("seed", SEEDS)
async def test_dying_again_and_again_after_any_write(site: Site, account: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (after which write it fails)
    await lives(site, account, "dies", lambda _: chance.randint(1, 12))


async def test_answers_that_are_lost(site: Site, account: Path) -> None:
    chance = random.Random(1)  # noqa: S311 (after which write it fails)
    await lives(site, account, "loses answers", lambda _: chance.randint(3, 6))


@pytest.mark.long
@pytest.mark.parametrize("nth", range(1, 51))  # undisturbed, the phases take 47, 47 and 4 writes
async def test_dying_once_after_each_write(site: Site, account: Path, nth: int) -> None:
    await lives(site, account, "dies", lambda number: nth if number == 0 else NEVER)
