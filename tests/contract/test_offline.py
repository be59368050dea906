"""Offline: nothing of the node is touched, nothing new goes there, others go on, and it converges when it is back."""

import pytest
from tests.contract.manifests import SHARES, variant
from tests.contract.site import Site, condition, eventually, only, verdict
from tests.contract.test_update import deployed, serve

from littoral.controller.kinds import DEPLOYMENTS, EDGENODES, MODELS, NODES, PODS, SLICES

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]


async def test_others_are_updated_and_the_offline_one_is_owed_it(site: Site) -> None:
    offline, second, third = await serve(site, "a", "b", "c")
    before = {kind: (await site.by_node(kind, "reader"))[offline] for kind in (DEPLOYMENTS, SLICES)}
    await site.connectivity(offline, "Unknown")
    await site.says(offline, "False", "NodeOffline", "Connected", EDGENODES)
    body = await site.ready("reader", "ServingNodesOffline")
    assert verdict(body, "NodesConnected") == ("False", "NodesOffline")
    assert body["status"]["offlineReplicas"] == 1

    await site.respec("reader", variants=[variant(digest="b")])

    async def others_updated() -> None:
        assert await deployed(site) == {offline: "a", second: "b", third: "b"}
        body = await site.ready("reader", "ServingNodesOffline")
        assert "1 still owed revision" in condition(body, "Ready")["message"]

    await eventually(others_updated)
    after = {kind: (await site.by_node(kind, "reader"))[offline] for kind in (DEPLOYMENTS, SLICES)}
    assert after[DEPLOYMENTS]["metadata"]["generation"] == before[DEPLOYMENTS]["metadata"]["generation"]
    assert after[SLICES]["metadata"]["resourceVersion"] == before[SLICES]["metadata"]["resourceVersion"]

    await site.connectivity(offline, "True")
    await site.serves_on("reader", offline, second, third)
    assert set((await deployed(site)).values()) == {"b"}


async def test_nothing_new_goes_there_and_nothing_of_it_is_free(site: Site) -> None:
    (node,) = await site.nodes("a")
    await site.model("full", replicas=SHARES)
    await site.ready("full")
    await site.connectivity(node, "Unknown")
    await site.ready("full", "AllNodesOffline")
    await site.model("new")
    await site.says("new", "False", "Offline")
    await site.scale("full", 1)
    body = await site.says("full", "True", "AllNodesOffline")
    assert "3 to go when their nodes are back" in condition(body, "Placed")["message"]
    assert len(await site.children(SLICES, "full")) == SHARES
    await site.connectivity(node, "True")

    async def converged() -> None:
        for name in ("full", "new"):
            await site.ready(name)
            only(await site.children(PODS, name))

    await eventually(converged)


async def test_ready_keeps_its_value_when_all_are_offline(site: Site) -> None:
    (node,) = await serve(site, "a")
    await site.connectivity(node, "Unknown")
    body = await site.ready("reader", "AllNodesOffline")
    assert verdict(body, "NodesConnected") == ("False", "NodesOffline")
    await site.respec("reader", variants=[variant(digest="b")])
    await site.ready("reader", "AllNodesOffline")
    assert await deployed(site) == {node: "a"}


async def test_a_model_deleted_while_its_node_is_offline_stays_charged_until_the_node_is_back(site: Site) -> None:
    (node,) = await site.nodes("a")
    await site.model("many", replicas=SHARES)
    await site.ready("many")
    await site.connectivity(node, "Unknown")
    await site.delete(MODELS, "many")

    async def terminating() -> None:
        pods = await site.children(PODS, "many")
        assert len(pods) == SHARES
        assert all("deletionTimestamp" in pod["metadata"] for pod in pods)
        assert await site.children(SLICES, "many") == []

    await eventually(terminating)
    await site.patch(EDGENODES, node, {"spec": {"pool": site.pool}})  # so that its status is drawn from what is now
    body = await site.says(node, "False", "NodeOffline", "Connected", EDGENODES)
    device = only([d for d in body["status"]["devices"] if d["profile"] != "cpu"])
    assert device["free"] == "0"
    await site.connectivity(node, "True")
    await site.model("next")
    await site.serves_on("next", node)


async def test_a_machine_whose_node_object_is_gone_keeps_its_slice_until_it_is_back(site: Site) -> None:
    (node,) = await serve(site, "a")
    before = (await site.by_node(SLICES, "reader"))[node]
    devices = (await site.get(EDGENODES, node))["status"]["devices"]
    await site.delete(NODES, node)
    body = await site.says(node, "False", "NodeMissing", "Connected", EDGENODES)
    assert verdict(body, "CapacityKnown") == ("Unknown", "NodeMissing")
    assert {device["id"] for device in body["status"]["devices"]} == {device["id"] for device in devices}
    await site.ready("reader", "AllNodesOffline")
    await site.node("a")
    await site.serves_on("reader", node)
    assert (await site.by_node(SLICES, "reader"))[node]["metadata"]["uid"] == before["metadata"]["uid"]
