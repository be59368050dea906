"""An update cuts over only once artifact and image are on the node: by a Job there, while the old server serves on."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.kubelet import LOADING, SERVING, State, fetch_failed, fetched_without, of, prefetches
from tests.contract.manifests import variant
from tests.contract.site import Site, condition, eventually, only, verdict
from tests.contract.test_update import deployed, serve

from littoral.api import group
from littoral.controller.kinds import DEPLOYMENTS, JOBS, MODELS, NODES, PODS

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]

SLOW: State = (
    {"ready": False, "state": {"running": {"startedAt": "2026-01-01T09:31:05Z"}}},
    {"ready": False, "state": {"waiting": {"reason": "PodInitializing"}}},
)
"""The fetch goes on; the server's container waits for it."""


async def jobs(site: Site) -> dict[str, Any]:
    """The prefetch Jobs by node."""
    found = {}
    for job in await site.children(JOBS, "reader"):
        affinity = job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        found[term["matchFields"][0]["values"][0]] = job
    return found


async def serving(site: Site) -> set[str]:
    """The pods, by uid, that answer."""
    pods = await site.children(PODS, "reader")
    return {pod["metadata"]["uid"] for pod in pods if pod["status"]["containerStatuses"][0]["ready"]}


async def waits(site: Site, sentence: str) -> Any:
    """Wait until the update says that it waits for this."""

    async def check() -> Any:
        body = await site.get(MODELS, "reader")
        assert verdict(body) == ("False", "Updating"), condition(body, "Ready")
        assert sentence in condition(body, "Ready")["message"]
        return body

    return await eventually(check)


async def test_an_update_waits_for_its_prefetch_and_says_so_while_the_old_serves_on(site: Site) -> None:
    first, second = await serve(site, "a", "b")
    before = await serving(site)
    site.kubelets.when(of(digest="b", prefetch=True), SLOW)
    await site.respec("reader", variants=[variant(digest="b")])
    body = await waits(site, "(1Mi) since 2026-01-01T09:31:05Z by the node's clock")
    assert f"node {first}: fetching revision reader-" in condition(body, "Ready")["message"]
    assert [each["message"].startswith("fetching revision") for each in body["status"]["nodes"]] == [True, True]
    assert await serving(site) == before
    assert set((await deployed(site)).values()) == {"a"}
    for node, job in (await jobs(site)).items():
        mine = only([each for each in await site.children(DEPLOYMENTS, "reader") if pinned(each) == node])
        owner = only(job["metadata"]["ownerReferences"])
        assert (owner["kind"], owner["name"]) == ("GPUSlice", mine["metadata"]["name"])
    site.kubelets.when(of(digest="b", prefetch=True), SERVING)
    await site.serves_on("reader", first, second)
    assert set((await deployed(site)).values()) == {"b"}


def pinned(deployment: Any) -> str:
    node: str = deployment["metadata"]["labels"][group.LABEL_NODE]
    return node


async def test_the_job_is_kept_until_the_update_has_answered(site: Site) -> None:
    """Its finished pod keeps the kubelet from collecting the image that the new server is about to start from."""
    (node,) = await serve(site, "a")
    site.kubelets.when(of(digest="b", prefetch=False), LOADING)
    await site.respec("reader", variants=[variant(digest="b")])
    await site.says("reader", "False", "Loading")
    assert list((await jobs(site)).keys()) == [node]
    finished = only([pod for pod in await site.all(PODS) if prefetches(pod)])
    assert finished["status"]["phase"] == "Succeeded"
    site.kubelets.when(of(digest="b"), SERVING)
    await site.serves_on("reader", node)

    async def gone() -> None:
        assert not [pod for pod in await site.all(PODS) if prefetches(pod)]

    await eventually(gone)


async def test_a_paused_update_is_prefetched(site: Site) -> None:
    nodes = await serve(site, "a")
    await site.respec("reader", paused=True, variants=[variant(digest="b")])
    await site.says("reader", "False", "Paused")

    async def there() -> None:
        assert [job["status"].get("succeeded") for job in (await jobs(site)).values()] == [1]

    await eventually(there)
    assert set((await deployed(site)).values()) == {"a"}
    await site.respec("reader", paused=False)
    await site.serves_on("reader", *nodes)
    assert set((await deployed(site)).values()) == {"b"}


async def test_what_is_not_what_was_promised_is_given_up_and_the_old_serves_on(site: Site) -> None:
    await serve(site, "a", "b")
    before, generations = await serving(site), await _generations(site)
    site.kubelets.when(of(digest="b"), fetch_failed("DigestMismatch", "sha256 is c0ffee…, not bbbb…"))
    await site.respec("reader", variants=[variant(digest="b")])
    body = await site.says("reader", "False", "UpdateFailed")
    assert "prefetch: DigestMismatch: sha256 is c0ffee…, not bbbb…" in condition(body, "Ready")["message"]
    assert verdict(body, "Stalled") == ("True", "UpdateFailed")
    assert body["status"]["lastFailure"]["reason"] == "DigestMismatch"

    async def forgotten() -> None:
        assert await jobs(site) == {}

    await eventually(forgotten)
    assert await serving(site) == before
    assert await _generations(site) == generations
    assert (await site.get(MODELS, "reader"))["status"]["readyReplicas"] == 2


async def _generations(site: Site) -> dict[str, int]:
    found = await site.children(DEPLOYMENTS, "reader")
    return {each["metadata"]["name"]: each["metadata"]["generation"] for each in found}


async def test_a_source_that_is_away_is_waited_for_in_words(site: Site) -> None:
    nodes = await serve(site, "a")
    before = await serving(site)
    site.kubelets.when(of(digest="b"), fetch_failed("SourceUnreachable", "models.test refuses the connection"))
    await site.respec("reader", variants=[variant(digest="b")])
    body = await waits(site, "prefetch: SourceUnreachable: models.test refuses the connection")
    assert body["status"]["lastFailure"]["reason"] == "SourceUnreachable"
    assert condition(body, "Stalled") == {}
    assert await serving(site) == before
    site.kubelets.when(of(digest="b"), SERVING)
    body = await site.serves_on("reader", *nodes)
    assert set((await deployed(site)).values()) == {"b"}
    assert "lastFailure" not in body["status"]


async def cut_off(site: Site, state: State) -> tuple[str, str, Any]:
    """A model on two nodes, of which the first went offline and came back while its prefetch was in this state.

    The names of the nodes, and that prefetch's Job as it was before.
    """
    first, second = await serve(site, "a", "b")
    site.kubelets.when(of(digest="b", prefetch=True, node=first), state)
    await site.respec("reader", variants=[variant(digest="b")])

    async def one_left() -> Any:
        assert (await deployed(site))[second] == "b"
        return only(list((await jobs(site)).values()))

    interrupted = await eventually(one_left)
    await site.connectivity(first, "Unknown")

    async def noted() -> None:
        assert group.ANNOTATION_INTERRUPTED in (await jobs(site))[first]["metadata"]["annotations"]

    await eventually(noted)
    assert (await jobs(site))[first]["metadata"]["uid"] == interrupted["metadata"]["uid"]
    await site.connectivity(first, "True")
    return first, second, interrupted


async def test_a_fetch_that_ran_through_a_cut_goes_on(site: Site) -> None:
    first, second, before = await cut_off(site, SLOW)

    async def seen() -> None:
        body = await site.get(MODELS, "reader")
        assert verdict(body, "NodesConnected")[0] == "True"
        assert "fetching revision" in condition(body, "Ready")["message"]

    await eventually(seen)
    assert only(list((await jobs(site)).values()))["metadata"]["uid"] == before["metadata"]["uid"]
    site.kubelets.when(of(digest="b"), SERVING)
    await site.serves_on("reader", first, second)


async def test_a_node_that_goes_offline_is_prefetched_anew_when_it_is_back_and_holds_up_nobody(site: Site) -> None:
    away = fetch_failed("SourceUnreachable", "models.test refuses the connection")
    first, second, interrupted = await cut_off(site, away)

    async def again() -> None:
        assert only(list((await jobs(site)).values()))["metadata"]["uid"] != interrupted["metadata"]["uid"]

    await eventually(again)
    assert (await deployed(site))[first] == "a"
    site.kubelets.when(of(digest="b"), SERVING)
    await site.serves_on("reader", first, second)


async def test_a_machine_that_was_restarted_is_prefetched_anew(site: Site) -> None:
    """What is on its disk is looked at once more before the cutover, not during it."""
    (node,) = await serve(site, "a")
    await site.respec("reader", paused=True, variants=[variant(digest="b")])

    async def there() -> Any:
        job = only(list((await jobs(site)).values()))
        assert job["status"].get("succeeded")
        return job

    before = await eventually(there)
    await site.patch(NODES, node, {"status": {"nodeInfo": {"bootID": "another"}}}, subresource="status")

    async def again() -> None:
        assert (await there())["metadata"]["uid"] != before["metadata"]["uid"]

    await eventually(again)
    await site.respec("reader", paused=False)
    await site.serves_on("reader", node)


async def test_a_server_that_restarts_comes_back_at_what_it_was_while_the_source_of_the_next_is_away(
    site: Site,
) -> None:
    nodes = await serve(site, "a", "b")
    site.kubelets.when(of(digest="b"), fetch_failed("SourceUnreachable", "models.test refuses the connection"))
    await site.respec("reader", variants=[variant(digest="b")])
    await waits(site, "prefetch: SourceUnreachable: models.test refuses the connection")
    site.kubelets.when(of(digest="a", node=nodes[0]), LOADING)
    await site.says("reader", "False", "Loading")
    site.kubelets.when(of(digest="a", node=nodes[0]), SERVING)
    body = await waits(site, "prefetch: SourceUnreachable: models.test refuses the connection")
    assert set((await deployed(site)).values()) == {"a"}
    assert body["status"]["readyReplicas"] == 2
    assert not body["status"].get("failedRevisions")
    site.kubelets.when(of(digest="b"), SERVING)
    await site.serves_on("reader", *nodes)


async def test_a_full_cache_is_collected_by_a_job_that_knows_what_is_on_the_node(site: Site) -> None:
    (node,) = await serve(site, "a")
    site.kubelets.when(of(digest="b", prefetch=False), fetch_failed("CacheFull", "19Gi of 20Gi are in use"))
    site.kubelets.when(of(digest="b", prefetch=True), SLOW)
    await site.model("second", variants=[variant(digest="b")])

    async def made() -> Any:
        return only(await site.children(JOBS, "second"))

    job = await eventually(made)
    (fetch,) = job["spec"]["template"]["spec"]["initContainers"]
    request = json.loads(fetch["env"][0]["value"])
    assert (request["prefetch"], len(request["slices"])) == (True, 2)
    await site.says("second", "False", "CacheFull")
    site.kubelets.when(of(digest="b"), SERVING)
    await site.serves_on("second", node)


# Shared servers


async def together(site: Site) -> str:
    """Models a and b on one shared server; the uid of its pod."""
    await site.nodes("a")
    for name in ("a", "b"):
        serving = {"modelName": f"the_{name}"}
        await site.model(name, server={"group": "vision"}, slice={"memory": "512Mi"}, serving=serving)
    for name in ("a", "b"):
        await site.ready(name)
    return await server(site)


async def server(site: Site) -> str:
    pods = [pod for pod in await site.all(PODS) if not prefetches(pod)]
    uid: str = only([pod for pod in pods if "deletionTimestamp" not in pod["metadata"]])["metadata"]["uid"]
    return uid


def brings(digit: str) -> Callable[[Any], bool]:
    """Matches the prefetches of a server one of whose models has this digest."""
    return lambda pod: prefetches(pod) and digit * 64 in str(pod["spec"]["initContainers"])


async def test_a_shared_server_restarts_after_its_prefetch(site: Site) -> None:
    before = await together(site)
    site.kubelets.when(brings("b"), SLOW)
    await site.respec("b", variants=[variant(digest="b")])

    async def waiting() -> None:
        body = await site.get(MODELS, "b")
        assert verdict(body) == ("False", "Updating"), condition(body, "Ready")
        assert "fetching revision vision-" in condition(body, "Ready")["message"]

    await eventually(waiting)
    assert verdict(await site.get(MODELS, "a")) == ("True", "Serving")
    assert await server(site) == before
    site.kubelets.when(brings("b"), SERVING)
    for name in ("a", "b"):
        await site.ready(name)
    assert await server(site) != before

    async def gone() -> None:
        assert await site.all(JOBS) == []

    await eventually(gone)


async def test_a_shared_server_is_not_restarted_for_what_is_not_what_was_promised(site: Site) -> None:
    before = await together(site)
    site.kubelets.when(brings("b"), fetched_without(the_b="DigestMismatch"))
    await site.respec("b", variants=[variant(digest="b")])
    failed = await site.says("b", "False", "UpdateFailed")
    assert "prefetch: DigestMismatch: the_b did not arrive" in condition(failed, "Ready")["message"]
    await site.ready("a")
    assert await server(site) == before


async def test_who_joins_a_shared_server_and_does_not_arrive_holds_up_nobody(site: Site) -> None:
    before = await together(site)
    site.kubelets.when(brings("c"), fetched_without(c="SourceUnreachable"))
    await site.model("c", server={"group": "vision"}, slice={"memory": "512Mi"}, variants=[variant(digest="c")])
    await site.respec("b", variants=[variant(digest="b")])
    for name in ("a", "b"):
        await site.ready(name)

    async def restarted() -> None:
        assert await server(site) != before

    await eventually(restarted)
