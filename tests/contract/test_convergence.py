"""Each kind of change converges: what users and machines write becomes children, status and nothing left over."""

import pytest

from littoral.controller.kinds import DEPLOYMENTS, EDGENODES, MODELS, NODES, PODS, REVISIONS, SERVICES, SLICES
from rig.operator import Operator
from tests.contract.site import Site, eventually, verdict

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]


async def test_replicas_are_placed_and_serve(site: Site) -> None:
    nodes = await site.nodes("a", "b")
    await site.model("reader", replicas=2)
    body = await site.serves_on("reader", *nodes)
    assert body["status"]["readyReplicas"] == 2
