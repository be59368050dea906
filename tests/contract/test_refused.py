"""A pod that the scheduler refuses, because somebody else took what the ledger knew to be free."""

from pathlib import Path

import pytest
from tests.contract.inprocess import InProcess
from tests.contract.manifests import SHARES, T4_LABELS, Json
from tests.contract.site import Site, condition, eventually, only

from littoral.controller.kinds import EDGENODES, PODS, SLICES

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("no_operator")]
GRACE = 1.0


def stranger(node: str, units: int) -> Json:
    """A pod that is not ours and takes units of the node's accelerator."""
    container = {
        "name": "main",
        "image": "strangers.test/app:1",
        "resources": {"limits": {"nvidia.com/gpu": str(units)}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "labels": {"app": "stranger"}},
        "spec": {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0},
    }


async def excluded(site: Site, node: str) -> Json:
    async def check() -> Json:
        body = await site.get(EDGENODES, node)
        return only(body["status"].get("exclusions", ()))

    return await eventually(check)


async def test_a_model_that_is_refused_goes_elsewhere_and_the_node_says_why(site: Site, account: Path) -> None:
    first = await site.node("a")
    pod = stranger(first, SHARES)
    await site.create(PODS, {**pod, "metadata": {**pod["metadata"], "namespace": site.namespace}})
    async with InProcess(account, refusal_grace=GRACE):
        await site.says(first, "True", "Discovered", "CapacityKnown", EDGENODES)
        await site.model("reader")
        found = await excluded(site, first)
        assert (found["device"], found["reason"], found["failures"]) == ("test-t4-0", "Unschedulable", 1)
        assert "Insufficient nvidia.com/gpu" in found["message"]

        async def waits() -> None:
            body = await site.says("reader", "False", "Excluded")
            assert "Insufficient nvidia.com/gpu" in condition(body, "Ready")["message"]
            assert await site.children(SLICES, "reader") == []

        await eventually(waits)
        second = await site.node("b")
        await site.serves_on("reader", second)


async def test_what_serves_stays_where_a_newcomer_is_refused(site: Site, account: Path) -> None:
    node = await site.node("a", T4_LABELS)
    async with InProcess(account, refusal_grace=GRACE):
        await site.says(node, "True", "Discovered", "CapacityKnown", EDGENODES)
        await site.model("old")
        await site.serves_on("old", node)
        (before,) = await site.children(PODS, "old")
        pod = stranger(node, SHARES - 1)
        await site.create(PODS, {**pod, "metadata": {**pod["metadata"], "namespace": site.namespace}})
        await site.model("late")
        await excluded(site, node)
        await site.says("late", "False", "Excluded")
        (after,) = await site.children(PODS, "old")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        await site.ready("old")
