"""A replica that has to go serves until another answers in its place, and then goes at once."""

import pytest
from tests.contract.kubelet import LOADING, of
from tests.contract.site import Site, eventually

from littoral.controller.kinds import PODS

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
