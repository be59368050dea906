"""LISTs that race binds: a resync goes on all the time while models come, grow, shrink and go."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from tests.contract.inprocess import InProcess
from tests.contract.manifests import SHARES
from tests.contract.site import Site, eventually

from littoral.controller.kinds import DEPLOYMENTS, MODELS, PODS, SLICES

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("no_operator")]

ROUNDS = 40
NAMES = ("one", "two", "three", "four")


class Ledger:
    """What is seen of the site's slices over time: none is bound twice, none forgotten, no node over-committed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._places: dict[str, str] = {}
        self.looks = 0

    async def look(self) -> None:
        charged: dict[str, int] = {}
        for item in await self._site.all(SLICES):
            uid, allocation = item["metadata"]["uid"], item["status"].get("allocation")
            assert allocation is not None or uid not in self._places, f"{item['metadata']['name']} lost its place"
            if allocation is not None:
                node = allocation["node"]
                assert self._places.setdefault(uid, node) == node, f"{item['metadata']['name']} moved"
                charged[node] = charged.get(node, 0) + 1
        assert all(count <= SHARES for count in charged.values()), charged
        self.looks += 1

    async def watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.02)


async def test_no_binding_is_lost_and_none_is_doubled(site: Site, account: Path) -> None:
    chance = random.Random(1)  # noqa: S311 (which change comes when)
    async with InProcess(account, resync=0.2):
        await site.nodes("a", "b")
        ledger = Ledger(site)
        watching = asyncio.create_task(ledger.watch())
        wanted: dict[str, int] = {}
        for _ in range(ROUNDS):
            name, replicas = chance.choice(NAMES), chance.randint(0, 5)
            if name not in wanted:
                await site.model(name, replicas=replicas)
            elif chance.random() < 0.3:
                await site.delete(MODELS, name)
                del wanted[name]
                continue
            else:
                await site.scale(name, replicas)
            wanted[name] = replicas
            await asyncio.sleep(chance.uniform(0, 0.1))
        for name in list(wanted):
            await site.scale(name, 2)  # eight units are enough for all
            wanted[name] = 2

        async def converged() -> None:
            for resource in (SLICES, DEPLOYMENTS, PODS):
                counts: dict[str, Any] = {name: len(await site.children(resource, name)) for name in NAMES}
                assert {name: count for name, count in counts.items() if count} == wanted, (resource.plural, counts)
            for name in wanted:
                await site.ready(name)

        await eventually(converged, timeout=60)
        watching.cancel()
        await asyncio.wait({watching})
        assert watching.cancelled() or watching.exception() is None, watching.exception()
    assert ledger.looks > ROUNDS
