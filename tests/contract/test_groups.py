"""Models that share a server: who is behind each Service, how often it restarts, and what each is told."""

from typing import Any

import pytest
from tests.contract.kubelet import fetched_without, prefetches, serving_without
from tests.contract.manifests import Json, variant
from tests.contract.site import Site, condition, eventually, only, verdict

from littoral.api import group
from littoral.controller.kinds import DEPLOYMENTS, ENDPOINTSLICES, MODELS, PODS, SERVICES, SLICES
from littoral.triton import endpoints

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]

VISION = {"server": {"group": "vision"}, "slice": {"memory": "512Mi"}}


async def shared(site: Site, resource: Any) -> list[Json]:
    """The group's children of a kind; of its pods those that serve."""
    items = [item for item in await site.all(resource) if not (resource == PODS and prefetches(item))]
    return [item for item in items if item["metadata"].get("labels", {}).get(group.LABEL_GROUP) == "vision"]


async def behind(site: Site, model: str) -> dict[str, bool]:
    """The nodes behind a model's Service, and whether each is called."""
    slices = [
        item
        for item in await site.all(ENDPOINTSLICES)
        if item["metadata"]["labels"].get(endpoints.SERVICE_NAME) == model
        and item["metadata"]["labels"][group.LABEL_ENDPOINTS_BY] == group.MANAGER
    ]
    return {each["nodeName"]: each["conditions"]["ready"] for item in slices for each in item.get("endpoints") or ()}


async def answers(site: Site, model: str, **nodes: bool) -> None:
    """Wait until these nodes and no others are behind the model, called or not."""
    wanted = {f"{site.pool}-{name}": ready for name, ready in nodes.items()}

    async def check() -> None:
        assert await behind(site, model) == wanted

    await eventually(check)


async def test_one_bad_model_hides_none_of_the_others(site: Site) -> None:
    (node,) = await site.nodes("a")
    site.kubelets.when(lambda pod: group.LABEL_GROUP in pod["metadata"]["labels"], serving_without("c"))
    for name in ("a", "b", "c"):
        await site.model(name, **VISION)
    for name in ("a", "b"):
        await site.ready(name)
        await answers(site, name, a=True)
        assert (await site.get(SERVICES, name))["spec"]["ports"][0]["targetPort"] == "http"
    await answers(site, "c", a=False)
    broken = await site.says("c", "False", "ModelNotReady")
    assert "Triton is up but does not serve it: `kubectl logs" in condition(broken, "Ready")["message"]
    slice_ = only(await shared(site, SLICES))
    assert slice_["spec"]["memory"] == "1600Mi"  # three models of 512 MiB, the server's overhead once
    assert slice_["status"]["allocation"]["node"] == node
    assert {owner["name"] for owner in slice_["metadata"]["ownerReferences"]} == {"a", "b", "c"}
    pod = only(await shared(site, PODS))
    assert [each["name"] for each in pod["spec"]["containers"]] == ["triton", "model-a", "model-b", "model-c"]
    assert group.LABEL_MODEL not in pod["metadata"]["labels"]


async def test_a_model_that_did_not_arrive_is_told_so_whatever_triton_calls_it(site: Site) -> None:
    await site.nodes("a")
    (fetch, _), (_, answers_not) = fetched_without(the_b="TooLarge"), serving_without("b")
    site.kubelets.when(lambda pod: group.LABEL_GROUP in pod["metadata"]["labels"], (fetch, answers_not))
    await site.model("a", **VISION)
    await site.model("b", **VISION, serving={"modelName": "the_b"})
    await site.ready("a")
    broken = await site.says("b", "False", "TooLarge")
    assert verdict(broken, "Stalled") == ("True", "TooLarge")


async def test_joining_and_leaving_restart_the_server_once_and_are_announced(site: Site) -> None:
    await site.nodes("a")
    for name in ("a", "b"):
        await site.model(name, **VISION)
    for name in ("a", "b"):
        await site.ready(name)
    before = only(await shared(site, PODS))["metadata"]["uid"]
    for name in ("c", "d"):
        await site.model(name, **VISION)
    for name in ("a", "b", "c", "d"):
        await site.ready(name)
        await answers(site, name, a=True)
    deployment = only(await shared(site, DEPLOYMENTS))
    templates = deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert templates == "2", "c and d joined by more than one restart"
    assert only(await shared(site, PODS))["metadata"]["uid"] != before
    told = [event["message"] for event in await site.events("a") if event["reason"] == "ServerRestarts"]
    assert told == [f"server vision on node {site.pool}-a restarts: model c joins, model d joins"]

    await site.delete(MODELS, "a")

    async def left() -> None:
        pod = only(await shared(site, PODS))
        assert [each["name"] for each in pod["spec"]["containers"]] == ["triton", "model-b", "model-c", "model-d"]
        slice_ = only(await shared(site, SLICES))
        assert {owner["name"] for owner in slice_["metadata"]["ownerReferences"]} == {"b", "c", "d"}

    await eventually(left)
    await site.ready("b")


async def test_an_offline_node_drops_out_and_the_others_stay(site: Site) -> None:
    nodes = await site.nodes("a", "b")
    for name in ("a", "b"):
        await site.model(name, **VISION, replicas=2)
    for name in ("a", "b"):
        await site.ready(name)
        await answers(site, name, a=True, b=True)
    await site.connectivity(nodes[0], "Unknown")
    for name in ("a", "b"):
        await answers(site, name, a=False, b=True)
        await site.ready(name, "ServingNodesOffline")
    await site.connectivity(nodes[0], "True")
    await answers(site, "a", a=True, b=True)


async def test_a_model_that_says_otherwise_is_told_which_field(site: Site) -> None:
    await site.nodes("a")
    await site.model("a", **VISION)
    await site.ready("a")
    await site.model("b", **VISION, replicas=2)
    waiting = await site.says("b", "False", "GroupMismatch")
    sentence = "cannot share the server of group vision: spec.replicas is not that of a, the group's oldest member"
    assert sentence in condition(waiting, "Ready")["message"]
    assert verdict(waiting, "Placed") == ("False", "GroupMismatch")
    await site.ready("a")
    await site.respec("b", replicas=1)
    await site.ready("b")


async def test_an_update_that_breaks_its_model_is_put_back_for_all(site: Site) -> None:
    await site.nodes("a")
    await site.model("a", **VISION)
    await site.model("b", **VISION, serving={"startupTimeout": "1s"})
    await site.respec("a", serving={"startupTimeout": "1s"})
    for name in ("a", "b"):
        await site.ready(name)

    def updated(pod: Json) -> bool:
        return "c" * 64 in str(pod["spec"]["initContainers"])

    site.kubelets.when(updated, serving_without("b"))
    await site.respec("b", variants=[variant(digest="c")])

    async def put_back() -> None:
        body = await site.get(MODELS, "b")
        assert verdict(body) == ("False", "UpdateFailed")
        assert "the last good revision serves" in condition(body, "Ready")["message"]

    await eventually(put_back)
    await site.ready("a")
    await answers(site, "b", a=True)


async def test_a_model_moves_into_a_group_and_out_of_it(site: Site) -> None:
    await site.nodes("a")
    await site.model("a", **VISION)
    await site.model("b")
    for name in ("a", "b"):
        await site.ready(name)
    address = (await site.get(SERVICES, "b"))["spec"]["clusterIP"]
    await site.respec("b", **VISION)
    await answers(site, "b", a=True)
    await site.ready("b")
    assert await site.children(SLICES, "b") == []
    await site.respec("b", server=None)
    await site.serves_on("b", f"{site.pool}-a")
    await answers(site, "b")
    assert (await site.get(SERVICES, "b"))["spec"]["clusterIP"] == address


async def test_the_last_model_takes_the_server_with_it(site: Site) -> None:
    await site.nodes("a")
    for name in ("a", "b"):
        await site.model(name, **VISION)
    for name in ("a", "b"):
        await site.ready(name)
    for name in ("a", "b"):
        await site.delete(MODELS, name)

    async def gone() -> None:
        assert await shared(site, SLICES) == []
        assert await shared(site, PODS) == []

    await eventually(gone)


async def test_a_model_for_which_there_is_no_room_waits_and_the_server_stays_as_it_is(site: Site) -> None:
    await site.nodes("a")
    await site.model("a", **VISION)
    await site.ready("a")
    pod = only(await shared(site, PODS))["metadata"]["uid"]
    await site.model("b", **{**VISION, "slice": {"memory": "8Gi"}})
    waiting = await site.says("b", "False", "UpdateBlocked")
    assert "whose test-t4 is cut into 4 shares of 3.8Gi, 8.6Gi needed" in condition(waiting, "Ready")["message"]
    await site.ready("a")
    assert only(await shared(site, PODS))["metadata"]["uid"] == pod
