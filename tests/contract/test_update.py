"""Updates node by node: one at a time, the next when the last is ready, put back where they fail, never tried again."""

from typing import Any

import pytest
from tests.contract.kubelet import LOADING, SERVING, fetch_failed, load_failed, of
from tests.contract.manifests import variant
from tests.contract.site import Site, condition, eventually, verdict

from littoral.controller.kinds import DEPLOYMENTS, MODELS, PODS

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]

EVERYWHERE = "PerNode"


async def serve(site: Site, *names: str, startup: str = "5m") -> list[str]:
    """A model that serves its first revision on these nodes."""
    nodes = await site.nodes(*names)
    placement = {"mode": EVERYWHERE, "pools": [site.pool]}
    await site.model("reader", placement=placement, serving={"startupTimeout": startup})
    await site.serves_on("reader", *nodes)
    return nodes


def digest(body: dict[str, Any]) -> str:
    """The first digit of the digest that a Deployment or a pod fetches."""
    spec = body["spec"]["template"]["spec"] if "template" in body["spec"] else body["spec"]
    text: str = spec["initContainers"][0]["env"][0]["value"]
    return text.partition('"sha256":"')[2][:1]


async def deployed(site: Site) -> dict[str, str]:
    """What each node's Deployment fetches."""
    return {node: digest(body) for node, body in (await site.by_node(DEPLOYMENTS, "reader")).items()}


async def test_one_node_at_a_time_the_next_when_the_last_is_ready(site: Site) -> None:
    nodes = await serve(site, "a", "b", "c")
    site.kubelets.when(of(digest="b"), LOADING)
    await site.respec("reader", variants=[variant(digest="b")])
    done: set[str] = set()
    while done != set(nodes):

        async def one_more_alone() -> str:
            body = await site.get(MODELS, "reader")
            (begun,) = {node for node, digest in (await deployed(site)).items() if digest == "b"} - done or {""}
            assert begun
            assert condition(body, "Ready")["message"].startswith(f"node {begun}:"), condition(body, "Ready")
            assert verdict(body) == ("False", "Loading")
            assert body["status"]["updatedReplicas"] == len(done) + 1
            return begun

        node = await eventually(one_more_alone)  # the first whose prefetch has succeeded
        others = [pod for pod in await site.children(PODS, "reader") if pod["spec"]["nodeName"] != node]
        assert all(pod["status"]["containerStatuses"][0]["ready"] for pod in others)
        site.kubelets.when(of(digest="b", node=node), SERVING)
        done.add(node)
    await site.serves_on("reader", *nodes)
    assert set((await deployed(site)).values()) == {"b"}


async def test_paused_begins_nothing_and_goes_on_when_told(site: Site) -> None:
    nodes = await serve(site, "a", "b")
    await site.respec("reader", paused=True, variants=[variant(digest="b")])
    await site.says("reader", "False", "Paused")
    assert set((await deployed(site)).values()) == {"a"}
    await site.respec("reader", paused=False)
    await site.serves_on("reader", *nodes)
    assert set((await deployed(site)).values()) == {"b"}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (LOADING, "not ready within 2 s"),
        (
            load_failed("E1122 failed to load 'reader' version 1: Internal: no such op\nerror: creating server"),
            "Internal: no such op",
        ),
        (fetch_failed("DigestMismatch", "sha256 is c0ffee…, not bbbb…"), "sha256 is c0ffee…, not bbbb…"),
    ],
    ids=["never ready", "does not load", "wrong digest"],
)
async def test_an_update_that_fails_is_put_back_and_not_tried_again(site: Site, state: Any, sentence: str) -> None:
    first, second = await serve(site, "a", "b", startup="2s")
    site.kubelets.when(of(digest="b"), state)
    await site.respec("reader", variants=[variant(digest="b")])
    body = await site.says("reader", "False", "UpdateFailed")
    assert sentence in condition(body, "Ready")["message"]
    assert verdict(body, "Stalled") == ("True", "UpdateFailed")
    assert sentence in condition(body, "Stalled")["message"]

    async def put_back() -> dict[str, Any]:
        assert await deployed(site) == {first: "a", second: "a"}
        body = await site.get(MODELS, "reader")
        assert body["status"]["readyReplicas"] == 2
        return await site.by_node(DEPLOYMENTS, "reader")

    before = await eventually(put_back)

    # It would come up now; but nobody tries, whatever else there is to do. The repair shows that somebody looked.
    site.kubelets.reset()
    edited = before[second]["metadata"]["name"]
    await site.patch(DEPLOYMENTS, edited, {"spec": {"replicas": 0}})

    async def repaired() -> None:
        assert (await site.get(DEPLOYMENTS, edited))["spec"]["replicas"] == 1

    await eventually(repaired)
    after = await site.by_node(DEPLOYMENTS, "reader")
    assert after[first]["metadata"]["generation"] == before[first]["metadata"]["generation"]
    assert await deployed(site) == {first: "a", second: "a"}
    assert verdict(await site.get(MODELS, "reader"), "Stalled") == ("True", "UpdateFailed")
    assert len([event for event in await site.events("reader") if event["reason"] == "UpdateFailed"]) == 1

    await site.respec("reader", variants=[variant(digest="c")])
    body = await site.serves_on("reader", first, second)
    assert set((await deployed(site)).values()) == {"c"}
    assert condition(body, "Stalled") == {}


async def test_back_to_what_served_before_heals_a_failed_update(site: Site) -> None:
    nodes = await serve(site, "a", "b", startup="2s")
    site.kubelets.when(of(digest="b"), LOADING)
    await site.respec("reader", variants=[variant(digest="b")])
    await site.says("reader", "False", "UpdateFailed")
    await site.respec("reader", variants=[variant(digest="a")])
    body = await site.serves_on("reader", *nodes)
    assert condition(body, "Stalled") == {}


async def test_new_figures_restart_one_server_at_a_time_and_stay_within_the_ledger(site: Site) -> None:
    nodes = await serve(site, "a", "b")
    await site.respec("reader", slice={"memory": "2Gi"})
    body = await site.serves_on("reader", *nodes)
    assert {pod["spec"]["nodeName"] for pod in await site.children(PODS, "reader")} == set(nodes)
    assert body["status"]["updatedReplicas"] == 2
