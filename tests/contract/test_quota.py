"""A ResourceQuota on slices: what is beyond it says so, what is within it serves, and nobody else notices."""

import pytest
from tests.contract.site import Site, condition, eventually

from littoral.controller.kinds import MODELS, PODS, SLICES
from littoral.controller.resource import Resource

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota", namespaced=True)
COUNT = "count/gpuslices.littoral.dev"


async def limited(site: Site, slices: int, *, used: int) -> None:
    """The namespace may have so many slices, and the API server has begun to count them."""
    metadata = {"name": "slices", "namespace": site.namespace}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {COUNT: str(slices)}}}
    await site.create(QUOTAS, body)

    async def counted() -> None:
        found = await site.get(QUOTAS, "slices")
        assert found.get("status", {}).get("used") == {COUNT: str(used)}

    await eventually(counted)


async def test_a_model_beyond_the_quota_says_so_and_what_is_within_it_serves(site: Site) -> None:
    nodes = await site.nodes("a", "b", "c")
    await site.model("first")
    await site.ready("first")
    await limited(site, 3, used=1)
    await site.model("wide", placement={"mode": "PerNode", "pools": [site.pool]})

    async def says() -> None:
        ready = condition(await site.get(MODELS, "wide"), "Ready")
        assert ready["status"] == "False"
        assert "exceeded quota: slices" in ready["message"]

    async def two_of_three_serve() -> None:
        body = await site.get(MODELS, "wide")
        assert (body["status"]["wantedReplicas"], body["status"]["readyReplicas"]) == (len(nodes), 2)
        assert len(await site.children(SLICES, "wide")) == len(await site.children(PODS, "wide")) == 2

    await eventually(two_of_three_serve)
    await eventually(says)
    await site.ready("first")
