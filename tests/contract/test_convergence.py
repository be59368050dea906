"""Each kind of change converges: what users and machines write becomes children, status and nothing left over."""

import pytest
from tests.contract.manifests import CATALOGUE, JETSON, SHARES, T4, catalogue, edge_node, gpu_slice, variant
from tests.contract.site import Site, condition, eventually, verdict

from littoral.api import group
from littoral.api.edgenode import EdgeNodeSpec
from littoral.controller.kinds import (
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    EDGENODES,
    MODELS,
    NAMESPACES,
    NODES,
    PODS,
    REVISIONS,
    SERVICES,
    SLICES,
    VOLUMES,
)
from littoral.triton.storage import volume_name

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]


async def test_replicas_are_placed_and_serve(site: Site) -> None:
    nodes = await site.nodes("a", "b")
    await site.model("reader", replicas=2)
    body = await site.serves_on("reader", *nodes)
    assert {condition["type"]: condition["status"] for condition in body["status"]["conditions"]} == {
        "Ready": "True", "Placed": "True", "Fetched": "True", "Loaded": "True", "NodesConnected": "True",
    }  # fmt: skip
    assert [body["status"][field] for field in ("replicas", "wantedReplicas", "readyReplicas")] == [2, 2, 2]
    assert body["status"]["url"] == f"http://reader.{site.namespace}.svc:8000"
    await site.get(SERVICES, "reader")


async def test_scaling_by_the_subresource(site: Site) -> None:
    await site.nodes("a", "b")
    await site.model("reader")
    await site.ready("reader")
    for replicas in (4, 1, 0, 2):
        await site.scale("reader", replicas)
        body = await site.ready("reader", "Serving" if replicas else "ScaledToZero")
        assert body["status"]["replicas"] == replicas

        async def counted(replicas: int = replicas) -> None:
            for resource in (SLICES, DEPLOYMENTS, PODS):
                assert len(await site.children(resource, "reader")) == replicas

        await eventually(counted)


async def test_per_node_follows_the_nodes_of_its_pool(site: Site) -> None:
    first, second = await site.nodes("a", "b")
    await site.model("reader", placement={"mode": "PerNode", "pools": [site.pool]})
    await site.serves_on("reader", first, second)
    third = await site.node("c")
    await site.serves_on("reader", first, second, third)
    await site.patch(NODES, first, {"metadata": {"labels": {group.LABEL_POOL: "elsewhere"}}})
    await site.serves_on("reader", second, third)


async def test_a_relabelled_node_gets_and_loses_what_selects_it(site: Site) -> None:
    first, second = await site.nodes("a", "b")
    await site.patch(NODES, first, {"metadata": {"labels": {"camera": "yes"}}})
    placement = {"pools": [site.pool], "nodeSelector": {"camera": "yes"}}
    await site.model("reader", placement=placement)
    await site.serves_on("reader", first)
    await site.patch(NODES, second, {"metadata": {"labels": {"camera": "yes"}}})
    await site.patch(NODES, first, {"metadata": {"labels": {"camera": None}}})
    await site.serves_on("reader", second)


@pytest.mark.parametrize("by", [EDGENODES, NODES], ids=["EdgeNode", "kubectl"])
async def test_a_cordon_lets_nothing_in_and_puts_nothing_out(site: Site, by: object) -> None:
    (node,) = await site.nodes("a")
    await site.model("old")
    await site.serves_on("old", node)
    resource, key = (EDGENODES, "cordoned") if by == EDGENODES else (NODES, "unschedulable")
    await site.patch(resource, node, {"spec": {key: True}})
    await site.model("new")
    await site.says("new", "False", "Cordoned")
    await site.serves_on("old", node)
    await site.patch(resource, node, {"spec": {key: False}})
    await site.serves_on("new", node)


async def test_what_is_deleted_leaves_nothing(site: Site) -> None:
    (node,) = await site.nodes("a")
    await site.model("reader")
    await site.serves_on("reader", node)
    await site.delete(MODELS, "reader")

    async def nothing() -> None:
        for resource in (MODELS, SLICES, DEPLOYMENTS, PODS, SERVICES, REVISIONS):
            left = [item["metadata"]["name"] for item in await site.all(resource)]
            assert left == [], f"{resource.plural}: {left}"
        (device,) = [d for d in (await site.get(EDGENODES, node))["status"]["devices"] if d["profile"] == T4]
        assert device["granted"] == "0"

    await eventually(nothing)


async def test_an_edge_node_is_discovered_and_made_again(site: Site) -> None:
    (node,) = await site.nodes("a")
    found = await site.get(EDGENODES, node)
    assert EdgeNodeSpec.model_validate(found["spec"]) == EdgeNodeSpec()
    assert found["status"]["accelerators"] == f"1 x {T4}"
    assert verdict(found, "Connected") == ("True", "NodeReady")
    await site.model("reader")
    await site.serves_on("reader", node)
    slices = await site.by_node(SLICES, "reader")
    await site.delete(EDGENODES, node)

    async def again() -> None:
        body = await site.get(EDGENODES, node)
        assert body["metadata"]["uid"] != found["metadata"]["uid"]
        assert verdict(body, "CapacityKnown") == ("True", "Discovered")

    await eventually(again)
    await site.serves_on("reader", node)
    assert (await site.by_node(SLICES, "reader"))[node]["metadata"]["uid"] == slices[node]["metadata"]["uid"]


async def test_a_machine_without_accelerator_is_none_of_ours(site: Site) -> None:
    stranger = await site.node("stranger", {}, units=0, pool=False)
    (node,) = await site.nodes("a")  # whose EdgeNode shows that the operator has seen the other Node as well
    names = {item["metadata"]["name"] for item in await site.all(EDGENODES)}
    assert node in names
    assert stranger not in names


async def test_a_declared_machine_is_what_it_was_declared(site: Site) -> None:
    name = f"{site.pool}-jetson"
    declared = [{"profile": JETSON, "sharing": {"replicas": SHARES}}]
    await site.create(EDGENODES, edge_node(name, accelerators=declared, pool=site.pool))
    await site.says(name, "Unknown", "NodeMissing", "CapacityKnown", EDGENODES)
    await site.node("jetson", {}, pool=False)
    await site.says(name, "True", "Declared", "CapacityKnown", EDGENODES)
    await site.model("reader")
    await site.serves_on("reader", name)
    (item,) = await site.all(SLICES)
    assert item["status"]["allocation"]["profile"] == JETSON


async def test_a_slice_that_a_user_wrote_is_reserved_and_given_back(site: Site) -> None:
    (node,) = await site.nodes("a")
    for number in range(SHARES):
        await site.create(SLICES, gpu_slice(f"mine-{number}", site.namespace, accelerators=[T4]))
    for number in range(SHARES):
        body = await site.says(f"mine-{number}", "True", "Bound", "Bound", SLICES)
        assert body["status"]["allocation"]["node"] == node
    await site.model("reader")
    await site.says("reader", "False", "NoUnitLeft")
    await site.delete(SLICES, "mine-0")
    await site.serves_on("reader", node)


async def test_a_full_node_lets_in_who_waits_when_another_goes(site: Site) -> None:
    (node,) = await site.nodes("a")
    await site.model("many", replicas=SHARES)
    await site.ready("many")
    await site.model("late")
    body = await site.says("late", "False", "NoUnitLeft")
    assert f"with all {SHARES} nvidia.com/gpu in use" in condition(body, "Ready")["message"]
    assert await site.children(SLICES, "late") == []
    await site.delete(MODELS, "many")
    await site.serves_on("late", node)


async def test_the_claim_of_a_namespace_comes_back(site: Site) -> None:
    (node,) = await site.nodes("a")
    await site.model("reader")
    await site.serves_on("reader", node)
    await site.scale("reader", 0)
    await site.ready("reader", "ScaledToZero")
    before = await site.get(CLAIMS, group.CACHE_CLAIM)
    await site.delete(CLAIMS, group.CACHE_CLAIM)

    async def bound_again() -> None:
        claim = await site.get(CLAIMS, group.CACHE_CLAIM)
        assert claim["metadata"]["uid"] != before["metadata"]["uid"], "still the old claim"
        assert claim["status"].get("phase") == "Bound", claim["status"]

    await eventually(bound_again)
    await site.scale("reader", 1)
    await site.serves_on("reader", node)


async def test_the_volume_of_a_namespace_goes_with_it(site: Site) -> None:
    await site.model("reader", replicas=0)  # a pod's grace would only make the namespace's end slow
    await site.ready("reader", "ScaledToZero")
    namespace = await site.client.get(NAMESPACES, None, site.namespace)
    volume = volume_name(namespace["metadata"]["uid"])
    await site.get(VOLUMES, volume)
    await site.delete(NAMESPACES, site.namespace)
    await site.gone(VOLUMES, volume)
    await site.gone(NAMESPACES, site.namespace)


async def test_an_entry_of_the_catalogue_that_is_wrong_is_named_and_the_rest_is_used(site: Site) -> None:
    """A change of the catalogue reaches what is looked at after it, at once."""
    node = await site.node("new", {group.LABEL_PROFILE: "fresh-gpu"})
    await site.says(node, "False", "UnknownProfile", "CapacityKnown", EDGENODES)
    fresh = CATALOGUE.split("  - name: test-jetson")[0].replace("test-t4", "fresh-gpu").replace("Test-T4", "Fresh")
    wrong = "profiles:\n  - {name: wrong-gpu, family: wrong, sharing: [whole], overhaed: 1Gi, stacks: [{}]}\n"
    where = f"{group.CATALOGUE_CONFIGMAP}"
    live = await site.client.get(CONFIGMAPS, group.OPERATOR_NAMESPACE, where)
    try:
        extended = catalogue(fresh_yaml=fresh, wrong_yaml=wrong)["data"]
        await site.client.patch(
            CONFIGMAPS, group.OPERATOR_NAMESPACE, where, {"data": extended}, uid=live["metadata"]["uid"]
        )
        await site.says(node, "True", "Discovered", "CapacityKnown", EDGENODES)
        await site.model("reader")
        await site.serves_on("reader", node)

        async def told() -> None:
            events = await site.events(where, group.OPERATOR_NAMESPACE)
            assert [e["reason"] for e in events if "wrong-gpu" in e["message"] and "overhaed" in e["message"]] == [
                "EntryRefused"
            ]

        await eventually(told)
    finally:
        back = {"data": {"fresh.yaml": None, "wrong.yaml": None}}
        await site.client.patch(CONFIGMAPS, group.OPERATOR_NAMESPACE, where, back, uid=live["metadata"]["uid"])


async def test_what_a_slice_was_drawn_from_is_noted_though_its_figures_are_the_same(site: Site) -> None:
    """A stale note would let another catalogue choose another variant, which is the user's to ask for."""
    (node,) = await site.nodes("a")
    await site.model("reader")
    await site.serves_on("reader", node)
    before = (await site.by_node(SLICES, "reader"))[node]
    measured = {**variant(), "latency": {"p99": "5ms"}}
    await site.respec("reader", variants=[measured])

    async def noted() -> None:
        after = (await site.by_node(SLICES, "reader"))[node]
        assert after["metadata"]["annotations"] != before["metadata"]["annotations"]
        assert after["status"]["allocation"]["startedAt"] == before["status"]["allocation"]["startedAt"]

    await eventually(noted)
    await site.serves_on("reader", node)
