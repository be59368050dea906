"""A namespace in which models must be signed: what the API server admits, and what the operator makes of the rest."""

from typing import Any

import pytest
from tests.contract.kubelet import FETCHING, SERVING, of
from tests.contract.manifests import Json, variant
from tests.contract.site import Site, condition, eventually, verdict

from littoral.api import group
from littoral.controller.errors import Invalid
from littoral.controller.kinds import JOBS, MODELS, NAMESPACES, NODES, PODS, REVISIONS, SLICES
from littoral.modelstore.request import ENV_REQUEST, parse_request

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]
FIELD = r"spec\.variants\[\]\.source\.signature is required in namespace site-\d+"


async def labelled(site: Site, value: str | None = "true") -> None:
    """Label the namespace and wait until the API server judges by it."""
    await site.patch(NAMESPACES, site.namespace, {"metadata": {"labels": {group.LABEL_REQUIRE_SIGNATURE: value}}})

    async def judges() -> None:
        try:
            await site.model("probe", placement={"pools": ["nowhere"]})
        except Invalid:
            assert value == "true"
            return
        await site.delete(MODELS, "probe")
        assert value is None

    await eventually(judges)


async def annotated(site: Site, quota: str | None) -> None:
    await site.patch(NAMESPACES, site.namespace, {"metadata": {"annotations": {group.ANNOTATION_CACHE_QUOTA: quota}}})


def signed(**changes: Any) -> Json:
    made = variant(**changes)
    return {**made, "source": {**made["source"], "signature": {}}}


def fetch_of(pod: Json) -> Json:
    (container,) = pod["spec"]["initContainers"]
    return dict(container)


async def test_no_unsigned_variant_is_admitted_and_signed_ones_serve(site: Site) -> None:
    await labelled(site)
    await site.nodes("a")

    with pytest.raises(Invalid, match=FIELD + r".*without one: second"):
        await site.model("plate", variants=[signed(name="first"), variant(name="second")])
    await site.model("plate", variants=[signed()])
    await site.ready("plate")
    with pytest.raises(Invalid, match=FIELD + r".*without one: any"):
        await site.respec("plate", variants=[variant()])

    (pod,) = await site.children(PODS, "plate")
    assert group.KEYS_MOUNT in {mount["mountPath"] for mount in fetch_of(pod)["volumeMounts"]}


async def test_what_was_there_before_stays_and_nothing_unsigned_is_begun(site: Site) -> None:
    await site.nodes("a")
    await site.model("old")
    await site.ready("old")
    (before,) = await site.children(PODS, "old")
    elsewhere = {"pools": [site.pool], "nodeSelector": {"kubernetes.io/hostname": f"{site.pool}-b"}}
    await site.model("late", placement=elsewhere)
    await labelled(site)
    await site.nodes("b")

    waiting = await site.says("late", "False", "SignatureRequired")

    sentence = (
        f"Namespace {site.namespace} has the label {group.LABEL_REQUIRE_SIGNATURE}, and variant any of model late"
    )
    assert sentence in condition(waiting, "Ready")["message"]
    assert verdict(waiting, "Stalled") == ("True", "SignatureRequired")
    assert [await site.children(resource, "late") for resource in (REVISIONS, PODS)] == [[], []]
    # What was frozen unsigned is begun on no further node.
    await site.scale("old", 2)

    async def one_alone() -> None:
        body = await site.get(MODELS, "old")
        assert verdict(body, "Stalled") == ("True", "SignatureRequired")
        assert "what was made of model old before that is not signed" in condition(body, "Stalled")["message"]
        assert len(await site.children(SLICES, "old")) == 2

    await eventually(one_alone)
    # All that is not its spec passes, as the operator's status just did.
    await site.patch(MODELS, "late", {"metadata": {"labels": {"line": "3"}, "annotations": {"note": "x"}}})
    with pytest.raises(Invalid, match=FIELD):
        await site.respec("old", version="2")
    (after,) = await site.children(PODS, "old")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]

    await labelled(site, None)
    await site.ready("late")
    await site.ready("old")
    assert len(await site.children(PODS, "old")) == 2


async def test_an_update_frozen_unsigned_is_begun_nowhere_once_the_namespace_asks_for_signatures(site: Site) -> None:
    """Neither prefetched, where a machine was restarted since, nor cut over, where all is there."""
    nodes = await site.nodes("a", "b")
    await site.model("reader", placement={"mode": "PerNode", "pools": [site.pool]})
    await site.serves_on("reader", *nodes)
    site.kubelets.when(of(digest="b", prefetch=True), FETCHING)
    await site.respec("reader", variants=[variant(digest="b")])

    async def ended(count: int) -> None:
        found = await site.children(JOBS, "reader")
        assert len(found) == 2
        assert sum(job["status"].get("succeeded", 0) for job in found) == count

    await eventually(lambda: ended(0))
    before = {pod["metadata"]["uid"] for pod in await site.children(PODS, "reader")}
    await labelled(site)
    site.kubelets.when(of(digest="b"), SERVING)
    await eventually(lambda: ended(2))

    body = await site.says("reader", "False", "SignatureRequired")

    assert "what was made of model reader before that is not signed" in condition(body, "Ready")["message"]
    assert verdict(body, "Stalled") == ("True", "SignatureRequired")
    made = {job["metadata"]["uid"] for job in await site.children(JOBS, "reader")}
    await site.patch(NODES, nodes[0], {"status": {"nodeInfo": {"bootID": "another"}}}, subresource="status")

    async def looked() -> None:
        body = await site.get(MODELS, "reader")
        assert "has yet to be prefetched" in str(body["status"]["nodes"]), body["status"]["nodes"]

    await eventually(looked)
    assert {job["metadata"]["uid"] for job in await site.children(JOBS, "reader")} == made
    body = await site.get(MODELS, "reader")
    assert (body["status"]["readyReplicas"], body["status"]["updatedReplicas"]) == (2, 0)
    assert {pod["metadata"]["uid"] for pod in await site.children(PODS, "reader")} == before


async def test_a_quota_goes_into_what_is_fetched_and_one_that_is_none_is_said(site: Site) -> None:
    await annotated(site, "20 GB")
    await site.nodes("a")
    await site.model("plate")

    refused = await site.says("plate", "False", "QuotaInvalid")

    assert f"{group.ANNOTATION_CACHE_QUOTA}: '20 GB', which is no quantity" in condition(refused, "Ready")["message"]
    await annotated(site, "20Gi")
    await site.ready("plate")
    (pod,) = await site.children(PODS, "plate")
    text = next(each["value"] for each in fetch_of(pod)["env"] if each["name"] == ENV_REQUEST)
    assert parse_request(text).quota == 20 << 30
