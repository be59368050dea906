"""A RuntimeClass is asked for where it exists, and one that comes later restarts nothing."""

import pytest
from tests.contract.manifests import RUNTIME
from tests.contract.site import Site, eventually, only

from littoral.api import group
from littoral.controller.kinds import DEPLOYMENTS, EDGENODES, PODS, RUNTIMECLASSES

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]


async def shown(site: Site, node: str, wanted: str) -> None:
    """Wait until the EdgeNode says that its device's pods get this RuntimeClass."""

    async def check() -> None:
        devices = (await site.get(EDGENODES, node))["status"]["devices"]
        assert devices[0]["profile"] == RUNTIME
        assert devices[0].get("runtimeClassName", "") == wanted

    await eventually(check)


async def runtime_class(site: Site, model: str) -> str:
    """Of the model's one pod, once the model is Ready."""
    await site.ready(model)
    pod = only(await site.children(PODS, model))
    return str(pod["spec"].get("runtimeClassName", ""))


async def test_a_runtime_class_is_asked_for_where_it_exists(site: Site) -> None:
    node = await site.node("a", {group.LABEL_PROFILE: RUNTIME}, units=0)
    await site.says(node, "True", "Discovered", "CapacityKnown", EDGENODES)
    await shown(site, node, "")
    await site.model("before")
    assert await runtime_class(site, "before") == ""
    deployment = only(await site.children(DEPLOYMENTS, "before"))

    body = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": RUNTIME}, "handler": "runc"}
    await site.create(RUNTIMECLASSES, body)
    try:
        await shown(site, node, RUNTIME)
        await site.model("after")
        assert await runtime_class(site, "after") == RUNTIME
        assert await runtime_class(site, "before") == ""
        kept = only(await site.children(DEPLOYMENTS, "before"))
        assert kept["metadata"]["generation"] == deployment["metadata"]["generation"]
    finally:
        await site.delete(RUNTIMECLASSES, RUNTIME)
