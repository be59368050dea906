"""At rest the operator writes nothing but its Lease, and reads nothing but its watches and the resync."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from tests.contract.audit import AuditLog, Request
from tests.contract.manifests import T4, gpu_slice, node_ready
from tests.contract.site import Site

from littoral.controller.kinds import KINDS, NODES, SLICES
from rig.controlplane import ControlPlane
from rig.operator import Operator

pytestmark = pytest.mark.contract

SECONDS = 15.0
"""Several renewals of the Lease, several heartbeats of every node, and far more than any hold-back of a status."""
CALM = 6.0
"""More than an operator waits after its watches have begun, for the resync that shows what went in between."""
LEASE = ("patch", "leases")


async def settled(site: Site) -> list[str]:
    """What can be at rest: models that serve, share, wait, are partly offline; slices that are bound or that wait."""
    nodes = await site.nodes("a", "b", "c")
    await site.model("reader", placement={"mode": "PerNode", "pools": [site.pool]})
    await site.serves_on("reader", *nodes)
    await site.connectivity(nodes[2], "Unknown")
    await site.ready("reader", "ServingNodesOffline")
    for name in ("one", "other"):
        await site.model(name, server={"group": "both"})
    for name in ("one", "other"):
        await site.ready(name)
    await site.model("waiting", placement={"pools": ["nowhere"]})
    await site.says("waiting", "False", "OtherPool")
    await site.create(SLICES, gpu_slice("mine", site.namespace, accelerators=[T4]))
    await site.says("mine", "True", "Bound", "Bound", SLICES)
    await site.create(SLICES, gpu_slice("much", site.namespace, memory="900Gi"))
    await site.says("much", "False", "ShareTooSmall", "Bound", SLICES)
    return nodes


async def quiet(log: AuditLog) -> list[Request]:
    """What is asked until nothing more is: of an arrangement, of the end of former tests, of an operator's start."""
    asked: list[Request] = []
    deadline = time.monotonic() + 60
    since = time.monotonic()
    while time.monotonic() - since < CALM:
        assert time.monotonic() < deadline, "it does not come to rest"
        await asyncio.sleep(0.1)
        new = log.read()
        asked += new
        if any(request.verb != "watch" and request.resource != "leases" for request in new):
            since = time.monotonic()
    return asked


async def heartbeats(site: Site, nodes: list[str], seconds: float) -> None:
    """What kubelets write once a second here, and every five minutes in the field."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for node in nodes:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            ready = node_ready("True", heartbeat=now)
            await site.patch(NODES, node, {"status": {"conditions": [ready]}}, subresource="status")
        await asyncio.sleep(1)


def tally(requests: list[Request]) -> Counter[tuple[str, str]]:
    return Counter((request.verb, request.resource) for request in requests)


async def test_nothing_is_written_and_nothing_is_read(site: Site, operator: Operator, plane: ControlPlane) -> None:
    log = AuditLog(plane.audit_log)
    nodes = await settled(site)
    await quiet(log)
    await heartbeats(site, nodes[:2], SECONDS)
    seen = tally(log.read())
    assert SECONDS / 3 < seen.pop(LEASE) < SECONDS
    assert {what: count for what, count in seen.items() if what[0] != "watch"} == {}


async def test_a_restart_at_rest_writes_nothing_and_lists_each_kind_three_times(
    site: Site, operator: Operator, plane: ControlPlane
) -> None:
    log = AuditLog(plane.audit_log)
    await settled(site)
    await quiet(log)
    operator.stop()
    operator.start()
    asked = await quiet(log)
    seen = tally(asked)
    assert {what for what in seen if what[0] not in {"get", "list", "watch"}} == {LEASE}
    # By the operator itself, by kopf at the beginning of each watch, by the resync that closes the gap between the two.
    lists = Counter(request.resource for request in asked if request.verb == "list")
    assert lists == {kind.resource.plural: 3 for kind in KINDS}
