"""A replica that has to go serves until another answers in its place, and then goes at once."""

import pytest
from tests.contract.kubelet import LOADING, of
from tests.contract.manifests import variant
from tests.contract.site import Site, eventually, only

from littoral.controller.kinds import PODS, SLICES

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]


async def test_what_serves_leaves_when_its_replacement_answers(site: Site) -> None:
    first, second = await site.nodes("a", "b")
    await site.model("reader", placement={"pools": [site.pool], "nodeSelector": {"kubernetes.io/hostname": first}})
    await site.serves_on("reader", first)
    site.kubelets.when(of(node=second), LOADING)
    await site.respec("reader", placement={"pools": [site.pool], "nodeSelector": {"kubernetes.io/hostname": second}})

    async def both() -> None:
        pods = await site.children(PODS, "reader")
        assert sorted(pod["spec"].get("nodeName", "") for pod in pods) == [first, second]
        assert all("deletionTimestamp" not in pod["metadata"] for pod in pods)

    await eventually(both)
    site.kubelets.reset()
    await site.serves_on("reader", second)


async def test_other_figures_are_taken_over_in_place_and_the_gap_is_announced(site: Site) -> None:
    (node,) = await site.nodes("a")
    await site.model("reader", variants=[variant(accelerators=("cpu",))])
    await site.serves_on("reader", node)
    (before,) = await site.children(SLICES, "reader")
    await site.respec("reader", slice={"memory": "2Gi"})

    async def announced() -> None:
        said = [event["message"] for event in await site.events("reader") if event["reason"] == "Resizing"]
        sentence = only(said)
        assert f"slice {before['metadata']['name']} on node {node} gets 2112Mi" in sentence
        assert "nothing answers there until it is back" in sentence

    await eventually(announced)
    await site.serves_on("reader", node)
    (after,) = await site.children(SLICES, "reader")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["allocation"]["memory"] == "2112Mi"
