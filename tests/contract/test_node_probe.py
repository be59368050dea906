"""`littoral node probe` against a real API server: the Job and its pod are accepted, and leave nothing behind.

The kubelet's part, to run the pod and report its termination message, is the test's.
"""

import asyncio
from typing import Any

import pytest
from tests.contract.site import Site, eventually, only

from littoral.accelerators.jetson import Report
from littoral.cli import probejob
from littoral.cli.probejob import ProbeError
from littoral.controller.client import Client
from littoral.controller.kinds import JOBS, NAMESPACES, NODES, PODS

pytestmark = pytest.mark.contract

ORIN = Report("NVIDIA Jetson Orin NX Developer Kit", ("nvidia,p3767-0000",), "", "aarch64", 15655)
TEGRA = {"status": {"nodeInfo": {"kernelVersion": "5.15.148-tegra"}}}


async def asked(site: Site, node: str, said: list[str], *, timeout: float = 30.0, name: str = "") -> Report:  # noqa: ASYNC109 (the probe's own)
    namespace = name or site.namespace
    return await probejob.probe(
        site.client, node, image="littoral:1", namespace=namespace, timeout=timeout, say=said.append
    )


async def probes(site: Site) -> list[dict[str, Any]]:
    selector = "app.kubernetes.io/component=node-probe"
    return list((await site.client.list(PODS, namespace=site.namespace, label_selector=selector)).items)


async def ends(site: Site, status: dict[str, Any]) -> dict[str, Any]:
    """The node's kubelet reports this of the probe's pod."""

    async def bound() -> dict[str, Any]:
        pod = only(await probes(site))
        assert pod["spec"].get("nodeName")
        return pod

    pod = await eventually(bound)
    meta = pod["metadata"]
    await site.client.patch_status(PODS, meta["namespace"], meta["name"], status, uid=meta["uid"])
    return pod


def terminated(message: str, code: int = 0) -> dict[str, Any]:
    container = {
        "name": probejob.CONTAINER,
        "image": "littoral:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "lastState": {},
        "state": {"terminated": {"exitCode": code, "message": message}},
    }
    return {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}


async def test_the_node_answers_and_nothing_is_left(site: Site) -> None:
    node = await site.node("orin", {}, units=0)
    await site.patch(NODES, node, TEGRA, subresource="status")
    said: list[str] = []
    probing = asyncio.create_task(asked(site, node, said))
    pod = await ends(site, terminated(ORIN.dump()))
    assert await probing == ORIN
    assert pod["spec"]["nodeName"] == node
    assert [volume["hostPath"]["path"] for volume in pod["spec"]["volumes"]] == [
        "/sys/firmware",
        "/etc/nv_tegra_release",
    ]
    assert said
    await gone(site)


async def gone(site: Site) -> None:
    async def nothing() -> None:
        assert not (await site.client.list(JOBS, namespace=site.namespace)).items
        assert not [pod for pod in await probes(site) if "deletionTimestamp" not in pod["metadata"]]

    await eventually(nothing)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (terminated("Traceback", 1), "the probe ended without a report: Traceback"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"},
            "the probe ended without a report: Evicted: the node was low on memory",
        ),
    ],
)
async def test_an_end_without_an_answer(site: Site, status: dict[str, Any], sentence: str) -> None:
    node = await site.node("orin", {}, units=0)
    probing = asyncio.create_task(asked(site, node, []))
    await ends(site, status)
    with pytest.raises(ProbeError, match=sentence):
        await probing
    await gone(site)


async def test_no_answer_in_time(site: Site) -> None:
    node = await site.node("orin", {}, units=0)
    with pytest.raises(ProbeError, match=r"no answer within 1 seconds; it was waiting for the answer"):
        await asked(site, node, [], timeout=1.0)
    await gone(site)


async def test_interrupted(site: Site) -> None:
    """As Ctrl-C does: the command ends at once, and takes its Job with it."""
    node = await site.node("orin", {}, units=0)
    probing = asyncio.create_task(asked(site, node, []))
    await eventually(lambda: _bound(site))
    probing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probing
    await gone(site)


async def _bound(site: Site) -> None:
    assert only(await probes(site))["spec"].get("nodeName")


class TestRefusals:
    async def test_no_such_node(self, site: Site) -> None:
        with pytest.raises(ProbeError, match="there is no Node nowhere"):
            await asked(site, "nowhere", [])

    async def test_a_node_that_is_offline(self, site: Site) -> None:
        node = await site.node("orin", {}, units=0)
        await site.connectivity(node, "Unknown")
        with pytest.raises(ProbeError, match=f"the Node {node} is offline: nothing starts there"):
            await asked(site, node, [])

    async def test_a_namespace_that_is_not_there(self, site: Site) -> None:
        node = await site.node("orin", {}, units=0)
        with pytest.raises(ProbeError, match="there is no namespace nowhere: name one with --namespace"):
            await asked(site, node, [], name="nowhere")

    async def test_a_namespace_that_refuses_host_paths(self, site: Site, user: Client) -> None:
        """Pod Security refuses the pod and not the Job, which would wait in silence."""
        node = await site.node("orin", {}, units=0)
        live = await user.get(NAMESPACES, None, site.namespace)
        level = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
        await user.patch(NAMESPACES, None, site.namespace, level, uid=live["metadata"]["uid"])
        with pytest.raises(ProbeError, match="enforces the Pod Security level baseline, which refuses the hostPath"):
            await asked(site, node, [])
        assert not (await user.list(JOBS, namespace=site.namespace)).items
