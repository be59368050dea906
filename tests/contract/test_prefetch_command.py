"""`littoral prefetch`: Jobs for each node that may come to serve a model, before it is applied, and how they end.

The kubelets' part is the test's: they run what is the operator's, and these Jobs are a person's.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.cli.manifests import run
from tests.contract import manifests
from tests.contract.site import Site, eventually

from littoral.api import group
from littoral.controller.kinds import CLAIMS, JOBS, PODS
from littoral.modelstore.report import FetchedModel, Report
from rig.controlplane import ControlPlane

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]

COMPONENT = "app.kubernetes.io/component=prefetch"


class Asked:
    """The command, run beside the test with a file that holds the next version of the model."""

    def __init__(self, plane: ControlPlane, site: Site, folder: Path) -> None:
        self.site, self.plane, self.file = site, plane, folder / "next.json"
        body = manifests.model("reader", site.namespace, site.pool, variants=[manifests.variant(digest="d")])
        self.file.write_text(json.dumps(body))

    def __call__(self, *arguments: str) -> "asyncio.Future[Result]":
        common = ["prefetch", "-f", str(self.file), f"--kubeconfig={self.plane.kubeconfig}", "--image=littoral:1"]
        return asyncio.ensure_future(asyncio.to_thread(run, *common, *arguments))

    async def pods(self, count: int) -> list[dict[str, Any]]:
        """The pods of its Jobs, once there are so many that are bound."""

        async def check() -> list[dict[str, Any]]:
            found = list(
                (await self.site.client.list(PODS, namespace=self.site.namespace, label_selector=COMPONENT)).items
            )
            theirs = [pod for pod in found if group.LABEL_PREFETCH not in pod["metadata"]["labels"]]
            mine = [pod for pod in theirs if "deletionTimestamp" not in pod["metadata"]]
            assert len(mine) == count
            assert all(pod["spec"].get("nodeName") for pod in mine)
            return sorted(mine, key=lambda pod: str(pod["spec"]["nodeName"]))

        return await eventually(check)

    async def ends(self, pod: dict[str, Any], report: Report) -> None:
        """The kubelet of its node says that the fetch ended so; the image's container follows one that went well."""
        code = 0 if report.ok else 1
        fetch = {
            "name": "fetch",
            "state": {"terminated": {"exitCode": code, "message": report.dump()}},
            "ready": not code,
        }
        state = {"terminated": {"exitCode": 0}} if not code else {"waiting": {"reason": "PodInitializing"}}
        image = {"image": "i", "imageID": "i", "lastState": {}, "restartCount": 0}
        status = {
            "phase": "Pending" if code else "Succeeded",
            "initContainerStatuses": [{**image, **fetch}],
            "containerStatuses": [{**image, "name": "triton", "ready": False, "state": state}],
        }
        meta = pod["metadata"]
        await self.site.client.patch_status(PODS, meta["namespace"], meta["name"], status, uid=meta["uid"])


@pytest.fixture
async def asked(plane: ControlPlane, site: Site, tmp_path: Path) -> Asked:
    """With a model of the namespace that is applied, so that there is a cache."""
    await site.nodes("a", "b")
    await site.model("reader", replicas=0)
    await eventually(lambda: site.client.get(CLAIMS, site.namespace, group.CACHE_CLAIM))
    return Asked(plane, site, tmp_path)


GOOD = Report("ok", models=(FetchedModel("reader", "d" * 64, 1, "fetched", 0.1),))


async def test_every_node_that_may_come_to_serve_it_is_prepared(asked: Asked) -> None:
    command = asked("--pool", asked.site.pool)
    first, second = await asked.pods(2)
    assert (first["spec"]["nodeName"], second["spec"]["nodeName"]) == (f"{asked.site.pool}-a", f"{asked.site.pool}-b")
    request = json.loads(first["spec"]["initContainers"][0]["env"][0]["value"])
    assert (request["prefetch"], request["models"][0]["sha256"]) == (True, "d" * 64)
    assert "slices" not in request, "it does not know the slices of the node, so it drops no pin"
    assert first["spec"]["containers"][0]["command"] == ["true"]
    for pod in (first, second):
        await asked.ends(pod, GOOD)
    result = await command
    assert result.exit_code == 0, result.output
    assert "2 of 2 ready" in result.stdout
    jobs = (await asked.site.client.list(JOBS, namespace=asked.site.namespace, label_selector=COMPONENT)).items
    assert [job["spec"]["ttlSecondsAfterFinished"] for job in jobs] == [86400, 86400]


async def test_what_never_heals_fails_with_its_sentence_and_its_job_is_removed(asked: Asked) -> None:
    command = asked("--node", f"{asked.site.pool}-b", "-o", "json")
    (pod,) = await asked.pods(1)
    await asked.ends(pod, Report("failed", "DigestMismatch", "it is not what was promised"))
    result = await command
    assert result.exit_code == 1
    (outcome,) = json.loads(result.stdout)
    assert (outcome["state"], outcome["node"]) == ("failed", pod["spec"]["nodeName"])
    assert "it is not what was promised" in outcome["message"]
    await asked.pods(0)


async def test_who_does_not_wait_is_told_how_many_and_a_second_time_finds_them(asked: Asked) -> None:
    for _ in range(2):
        result = await asked("--no-wait")
        assert (result.exit_code, result.stdout) == (0, "2 Jobs made\n"), result.output
    await asked.pods(2)


async def test_nothing_to_prepare_is_a_failure_that_says_why(asked: Asked) -> None:
    result = await asked("--pool", "no-such-pool")
    assert result.exit_code == 1
    assert "no node may come to serve it" in result.stdout


async def test_without_a_cache_it_says_how_to_get_one(plane: ControlPlane, site: Site, tmp_path: Path) -> None:
    await site.nodes("a")
    result = await Asked(plane, site, tmp_path)()
    assert result.exit_code == 2
    assert f"namespace {site.namespace} has no model cache yet" in result.output
