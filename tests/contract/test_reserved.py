"""Slices that users write: they grow in place or say why not, serve a model that names them, and outlive it."""

import pytest
from tests.contract.manifests import T4, Json, gpu_slice
from tests.contract.site import Site, condition, eventually, only

from littoral.controller.kinds import DEPLOYMENTS, EDGENODES, MODELS, NODES, PODS, SLICES

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]


async def reserved(site: Site, name: str, **spec: object) -> Json:
    """A slice of the user's, bound."""
    await site.create(SLICES, gpu_slice(name, site.namespace, **{"accelerators": [T4], **spec}))
    return await site.says(name, "True", "Bound", "Bound", SLICES)


async def test_a_slice_grows_in_place_or_stays_and_says_why(site: Site) -> None:
    await site.nodes("a")
    before = await reserved(site, "mine")
    await site.patch(SLICES, "mine", {"spec": {"memory": "3Gi", "compute": 20}})

    async def grown() -> None:
        body = await site.get(SLICES, "mine")
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
        allocation = body["status"]["allocation"]
        assert allocation["compute"] >= 20
        assert allocation["boundAt"] == before["status"]["allocation"]["boundAt"]

    await eventually(grown)
    await site.patch(SLICES, "mine", {"spec": {"memory": "64Gi"}})

    async def says_why_not() -> None:
        body = await site.get(SLICES, "mine")
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
        assert "as before" in condition(body, "Bound")["message"]
        assert body["status"]["allocation"]["compute"] >= 20

    await eventually(says_why_not)


async def test_a_model_serves_on_the_slice_that_it_names_and_leaves_it_behind(site: Site) -> None:
    (node,) = await site.nodes("a")
    kept = await reserved(site, "mine", memory="3Gi", compute=25)
    await site.model("reader", sliceRef={"name": "mine"})
    body = await site.ready("reader")
    assert only(body["status"]["nodes"])["slice"] == "mine"
    assert only(body["status"]["nodes"])["node"] == node
    deployment = await site.get(DEPLOYMENTS, "mine")
    assert [owner["kind"] for owner in deployment["metadata"]["ownerReferences"]] == ["InferenceModel"]
    assert [item["metadata"]["name"] for item in await site.all(SLICES)] == ["mine"]
    await site.delete(MODELS, "reader")
    await site.gone(DEPLOYMENTS, "mine")
    after = await site.get(SLICES, "mine")
    assert after["metadata"]["uid"] == kept["metadata"]["uid"]
    assert after["status"]["phase"] == "Bound"


async def test_a_model_that_drops_its_slice_gets_one_of_its_own(site: Site) -> None:
    await site.nodes("a")
    await reserved(site, "mine", memory="3Gi")
    await site.model("reader", sliceRef={"name": "mine"})
    await site.ready("reader")
    await site.patch(MODELS, "reader", {"spec": {"sliceRef": None}})
    await site.gone(DEPLOYMENTS, "mine")

    async def elsewhere() -> None:
        body = await site.get(MODELS, "reader")
        assert only(body["status"]["nodes"])["slice"] != "mine"
        assert only(await site.children(PODS, "reader"))

    await eventually(elsewhere)
    await site.ready("reader")
    assert (await site.get(SLICES, "mine"))["status"]["phase"] == "Bound"


@pytest.mark.parametrize(
    ("spec", "memory", "reason", "sentence"),
    [
        ({"sliceRef": {"name": "nobodys"}}, "3Gi", "SliceNotFound", "nobodys"),
        ({"sliceRef": {"name": "mine"}, "slice": {"memory": "14Gi"}}, "1Gi", "SliceTooSmall", "mine"),
        ({"sliceRef": {"name": "mine"}}, "64Gi", "SliceNotBound", "mine"),
    ],
)
async def test_a_slice_that_will_not_do_is_said(
    site: Site, spec: Json, memory: str, reason: str, sentence: str
) -> None:
    await site.nodes("a")
    await site.create(SLICES, gpu_slice("mine", site.namespace, memory=memory, accelerators=[T4]))
    await site.model("reader", **spec)
    body = await site.says("reader", "False", reason)
    assert sentence in condition(body, "Ready")["message"]


async def test_two_models_cannot_serve_on_one_slice(site: Site) -> None:
    await site.nodes("a")
    await reserved(site, "mine", memory="3Gi")
    await site.model("first", sliceRef={"name": "mine"})
    await site.ready("first")
    await site.model("second", sliceRef={"name": "mine"})
    body = await site.says("second", "False", "SliceInUse")
    assert "first" in condition(body, "Ready")["message"]
    await site.delete(MODELS, "first")
    await site.ready("second")


async def test_a_slice_whose_device_disappears_is_lost_and_kept(site: Site) -> None:
    (node,) = await site.nodes("a")
    await reserved(site, "mine")
    await site.model("reader")
    await site.ready("reader")
    await site.patch(NODES, node, {"metadata": {"labels": {"nvidia.com/gpu.product": None}}})
    await site.says(node, "False", "AmbiguousDevice", "CapacityKnown", EDGENODES)

    async def lost() -> None:
        for item in await site.all(SLICES):
            assert item["status"]["phase"] == "Lost", item["metadata"]["name"]
            assert item["status"]["allocation"]["node"] == node
            assert condition(item, "Bound")["reason"] == "DeviceLost"

    await eventually(lost)
    assert len(await site.children(PODS, "reader")) == 1
    await site.patch(NODES, node, {"metadata": {"labels": {"nvidia.com/gpu.product": "Test-T4"}}})

    async def found() -> None:
        assert [item["status"]["phase"] for item in await site.all(SLICES)] == ["Bound", "Bound"]

    await eventually(found)
    await site.ready("reader")
