"""A namespace that is deleted leaves no model cache behind: at once where nodes are there, later on the others."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.inprocess import InProcess, expire_lease
from tests.contract.site import Site, eventually, only

from littoral.api import group
from littoral.api.edgenode import MAX_CACHES
from littoral.controller.client import Client
from littoral.controller.errors import NotFound
from littoral.controller.kinds import CLAIMS, DEPLOYMENTS, EDGENODES, JOBS, MODELS, NAMESPACES, PODS, VOLUMES
from littoral.controller.resource import Resource
from littoral.modelstore import clean
from rig.operator import Operator

pytestmark = pytest.mark.contract
Json = dict[str, Any]


class Tenant:
    """A namespace beside the site's, with a model in the site's pool, which a test deletes."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.beside = Site(site.client, site.kubelets, name)
        self.beside.pool = site.pool

    async def open(self) -> str:
        """Make it anew; its UID."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        made = await self.site.create(NAMESPACES, body)
        return str(made["metadata"]["uid"])

    async def serve(self, replicas: int = 1) -> None:
        await self.beside.model("reader", replicas=replicas)
        await self.beside.ready("reader")

    async def delete(self) -> None:
        """Delete it, and wait until the API server knows it no more."""
        await self.site.delete(NAMESPACES, self.name)
        await self.site.gone(NAMESPACES, self.name)


@pytest.fixture
async def tenant(site: Site) -> AsyncIterator[Tenant]:
    tenant = Tenant(site, f"{site.namespace}-tenant")
    yield tenant
    await tenant.beside.close()


async def noted(site: Site, node: str) -> list[str]:
    edge = await site.get(EDGENODES, node)
    return [each["uid"] for each in edge.get("status", {}).get("caches", [])]


async def cleaning(site: Site, node: str) -> list[Json]:
    """The Jobs that clean on a node."""
    listing = await site.client.list(JOBS, label_selector=f"{group.LABEL_CACHE},{group.LABEL_NODE}={node}")
    return list(listing.items)


async def cleaned(site: Site, node: str) -> None:
    """Wait until nothing is noted of the node, and no Job is left."""

    async def check() -> None:
        assert await noted(site, node) == []
        assert await cleaning(site, node) == []

    await eventually(check)


async def absent(site: Site, resource: Resource, namespace: str | None) -> None:
    listing = await site.client.list(resource, namespace=namespace)
    assert group.CLEANUP_CLAIM not in {item["metadata"]["name"] for item in listing.items}


async def unprepared(site: Site) -> None:
    """There is no volume and no claim for cleaning."""
    for resource, namespace in ((CLAIMS, group.OPERATOR_NAMESPACE), (VOLUMES, None)):
        with contextlib.suppress(NotFound):
            live = await site.client.get(resource, namespace, group.CLEANUP_CLAIM)
            await site.client.delete(resource, namespace, group.CLEANUP_CLAIM, uid=live["metadata"]["uid"])

        await eventually(lambda: absent(site, resource, namespace))  # noqa: B023 (awaited at once)


async def test_a_deleted_namespace_is_cleaned_up_after_where_it_was(
    site: Site, tenant: Tenant, operator: Operator
) -> None:
    a, b = await site.nodes("a", "b")
    uid = await tenant.open()
    await tenant.serve(replicas=2)
    await site.model("reader")  # of another namespace, on one of the two
    await site.ready("reader")
    (pod,) = await site.children(PODS, "reader")
    other = (await site.get(NAMESPACES, site.namespace))["metadata"]["uid"]
    assert uid in await noted(site, a)
    assert uid in await noted(site, b)

    await tenant.delete()

    async def gone() -> None:
        here = pod["spec"]["nodeName"]
        assert {node: await noted(site, node) for node in (a, b)} == {a: [], b: [], here: [other]}
        assert [job for node in (a, b) for job in await cleaning(site, node)] == []

    await eventually(gone)
    await site.ready("reader")


async def test_a_node_that_is_offline_is_cleaned_when_it_is_back(
    site: Site, tenant: Tenant, operator: Operator
) -> None:
    (node,) = await site.nodes("a")
    uid = await tenant.open()
    await tenant.serve()
    await tenant.beside.delete(MODELS, "reader")  # a namespace does not go before its pods, and those wait for the node

    async def ended() -> None:
        assert await tenant.beside.all(PODS) == []

    await eventually(ended)
    await site.connectivity(node, "Unknown")
    await site.says(node, "False", "NodeOffline", "Connected", EDGENODES)

    await tenant.delete()
    again = await tenant.open()  # under the same name, by others
    (other,) = await site.nodes("b")
    await tenant.serve()

    assert await noted(site, node) == [uid]
    assert await cleaning(site, node) == []
    await site.connectivity(node, "True")
    await cleaned(site, node)
    assert await noted(site, other) == [again]
    await tenant.beside.ready("reader")


async def test_what_cannot_be_removed_is_said_and_goes_on_being_known(
    site: Site, tenant: Tenant, operator: Operator
) -> None:
    (node,) = await site.nodes("a")
    site.kubelets.cleaning(node, clean.REFUSED)  # ends the Job at once
    uid = await tenant.open()
    await tenant.serve()

    await tenant.delete()

    async def said() -> None:
        messages = [event["message"] for event in await site.events(node, "default")]
        message = only([each for each in messages if uid in each])
        assert message.startswith(f"the model cache of namespace {uid}, which is gone, could not be removed: ")
        assert f"kubectl logs -n {group.OPERATOR_NAMESPACE} job/littoral-cleaning-" in message

    await eventually(said)
    assert await noted(site, node) == [uid]
    (job,) = await cleaning(site, node)
    site.kubelets.reset()
    await site.client.delete(JOBS, group.OPERATOR_NAMESPACE, job["metadata"]["name"], uid=job["metadata"]["uid"])
    await cleaned(site, node)


@pytest.mark.usefixtures("no_operator")
@pytest.mark.parametrize("nth", [1, 3, *(pytest.param(nth, marks=pytest.mark.long) for nth in (2, 4, 5))])
async def test_an_operator_that_dies_is_gone_on_with(
    site: Site, tenant: Tenant, account: Path, user: Client, nth: int
) -> None:
    """Of what cleaning writes: volume, claim, Job, note, and the end of the Job."""
    async with InProcess(account):
        (node,) = await site.nodes("a")
        await tenant.open()
        await tenant.serve()
    await expire_lease(user)
    await tenant.delete()
    await unprepared(site)

    async with InProcess(account, fault="dies", nth=nth) as dying:

        async def dead() -> None:
            assert dying.died

        await eventually(dead)
    await expire_lease(user)
    async with InProcess(account):
        await cleaned(site, node)


async def test_no_pod_begins_where_its_namespace_is_not_noted(site: Site, operator: Operator) -> None:
    (node,) = await site.nodes("a")
    system = (await site.client.get(NAMESPACES, None, "kube-system"))["metadata"]["uid"]
    full = [{"uid": system, "namespace": "kube-system"}] * MAX_CACHES
    await site.patch(EDGENODES, node, {"status": {"caches": full}}, subresource="status")

    await site.model("reader")

    body = await site.says("reader", "False", "TooManyCaches")
    (message,) = [each["message"] for each in body["status"]["conditions"] if each["type"] == "Ready"]
    assert message.startswith(f"EdgeNode {node} has model caches of {MAX_CACHES} namespaces")
    assert await site.children(DEPLOYMENTS, "reader") == []
