"""An upgrade restarts nothing: what a revision was resolved to is kept until somebody asks for a refresh."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.contract.inprocess import InProcess
from tests.contract.manifests import CATALOGUE
from tests.contract.site import Site, eventually, only

from littoral.api import group
from littoral.cli.main import main
from littoral.controller.kinds import CONFIGMAPS, DEPLOYMENTS, MODELS, SLICES
from rig.controlplane import ControlPlane

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("no_operator")]

UPGRADED = (
    CATALOGUE.replace("triton.test/t4:1", "triton.test/t4:2")
    .replace("--allow-gpu-metrics=false", "--allow-gpu-metrics=false, --log-verbose=1")
    .replace("overhead: 64Mi", "overhead: 256Mi")
)


async def rewrite(site: Site, text: str) -> None:
    """Change the catalogue's extension."""
    name = group.CATALOGUE_CONFIGMAP
    live = await site.client.get(CONFIGMAPS, group.OPERATOR_NAMESPACE, name)
    patch = {"data": {"test.yaml": text}}
    await site.client.patch(CONFIGMAPS, group.OPERATOR_NAMESPACE, name, patch, uid=live["metadata"]["uid"])


def images(deployment: dict[str, Any]) -> tuple[str, str]:
    """The images of fetch container and Triton."""
    pod = deployment["spec"]["template"]["spec"]
    return pod["initContainers"][0]["image"], pod["containers"][0]["image"]


async def test_another_catalogue_and_another_operator_restart_nothing_until_a_refresh(
    site: Site, account: Path, plane: ControlPlane
) -> None:
    async with InProcess(account, fetch_image="fetch.test/littoral:1"):
        nodes = await site.nodes("a", "b")
        await site.model("reader", placement={"mode": "PerNode", "pools": [site.pool]})
        await site.serves_on("reader", *nodes)
    before = {kind: await site.by_node(kind, "reader") for kind in (DEPLOYMENTS, SLICES)}
    await rewrite(site, UPGRADED)
    try:
        async with InProcess(account, fetch_image="fetch.test/littoral:2"):
            # Somebody who comes now gets what is new: it is in force.
            await site.model("new")
            await site.ready("new")
            new = only(await site.children(DEPLOYMENTS, "new"))
            assert images(new) == ("fetch.test/littoral:2", "triton.test/t4:2")
            # A repair puts back what was, and shows that the model was looked at.
            first = before[DEPLOYMENTS][nodes[0]]["metadata"]["name"]
            await site.patch(DEPLOYMENTS, first, {"metadata": {"labels": {group.LABEL_INSTANCE: "edited"}}})

            async def untouched() -> None:
                now = {kind: await site.by_node(kind, "reader") for kind in (DEPLOYMENTS, SLICES)}
                for node in nodes:
                    old, new = before[DEPLOYMENTS][node], now[DEPLOYMENTS][node]
                    assert new["metadata"]["labels"] == old["metadata"]["labels"]
                    assert new["metadata"]["generation"] == old["metadata"]["generation"]
                    assert new["spec"] == old["spec"]
                    assert now[SLICES][node]["spec"] == before[SLICES][node]["spec"]
                    assert now[SLICES][node]["status"] == before[SLICES][node]["status"]

            await eventually(untouched)

            arguments = ["rollout", "refresh", "im/reader", "-n", site.namespace, "--kubeconfig", str(plane.kubeconfig)]
            result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
            assert result.exit_code == 0, result.output

            async def refreshed() -> None:
                for deployment in (await site.by_node(DEPLOYMENTS, "reader")).values():
                    assert images(deployment) == ("fetch.test/littoral:2", "triton.test/t4:2")

            await eventually(refreshed)
            body = await site.serves_on("reader", *nodes)
            assert body["spec"] == (await site.get(MODELS, "reader"))["spec"]
    finally:
        await rewrite(site, CATALOGUE)
