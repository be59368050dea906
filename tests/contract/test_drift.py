"""What somebody changes of ours is put back; what they add is theirs; what is theirs is never touched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.contract.inprocess import InProcess
from tests.contract.site import Site, condition, eventually, only

from littoral.api import group
from littoral.controller import reconcile
from littoral.controller.client import Resource
from littoral.controller.kinds import DEPLOYMENTS, REVISIONS, SERVICES, SLICES
from littoral.placement.replicas import slice_name

pytestmark = pytest.mark.contract

SERVER = "/spec/template/spec/containers/0"
EDITS: Mapping[str, tuple[Resource, Any]] = {
    "image": (DEPLOYMENTS, [{"op": "replace", "path": f"{SERVER}/image", "value": "stranger.test/triton:2"}]),
    "arguments": (DEPLOYMENTS, [{"op": "add", "path": f"{SERVER}/args/-", "value": "--log-verbose=9"}]),
    "readiness": (DEPLOYMENTS, [{"op": "remove", "path": f"{SERVER}/readinessProbe"}]),
    "affinity": (DEPLOYMENTS, [{"op": "remove", "path": "/spec/template/spec/affinity"}]),
    "labels": (DEPLOYMENTS, {"metadata": {"labels": {group.LABEL_REVISION: "reader-0000000000"}}}),
    "replicas": (DEPLOYMENTS, {"spec": {"replicas": 0}}),
    "owner": (DEPLOYMENTS, {"metadata": {"ownerReferences": None}}),
    "ports": (SERVICES, [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9}]),
    "selector": (SERVICES, {"spec": {"selector": {group.LABEL_MODEL: "another"}}}),
}


async def served(site: Site, resource: Resource) -> dict[str, Any]:
    """A model that serves on one node; its child of this kind."""
    (node,) = await site.nodes("a")
    await site.model("reader")
    await site.serves_on("reader", node)
    (child,) = await site.children(resource, "reader")
    return child


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_is_taken_back(site: Site, edit: str) -> None:
    resource, patch = EDITS[edit]
    before = await served(site, resource)
    await site.patch(resource, before["metadata"]["name"], patch)

    async def restored() -> None:
        live = await site.get(resource, before["metadata"]["name"])
        assert live["spec"] == before["spec"]
        for field in ("labels", "ownerReferences"):
            assert live["metadata"].get(field) == before["metadata"][field]

    await eventually(restored)
    await site.ready("reader")


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("resource", [DEPLOYMENTS, SERVICES, SLICES, REVISIONS], ids=lambda resource: resource.kind)
async def test_what_is_deleted_comes_back(site: Site, resource: Resource) -> None:
    before = await served(site, resource)
    await site.delete(resource, before["metadata"]["name"])

    async def back() -> None:
        live = only(await site.children(resource, "reader"))
        assert live["metadata"]["uid"] != before["metadata"]["uid"]
        assert live.get("spec") == before.get("spec") or resource == SERVICES
        assert live.get("data") == before.get("data")

    await eventually(back)
    (node,) = {each["node"] for each in (await site.ready("reader"))["status"]["nodes"]}
    await site.serves_on("reader", node)


@pytest.mark.usefixtures("operator")
async def test_what_others_add_is_left_alone(site: Site) -> None:
    """kubectl rollout restart writes an annotation into the pod template: the pods restart, and no more comes of it."""
    before = await served(site, DEPLOYMENTS)
    name = before["metadata"]["name"]
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    await site.patch(DEPLOYMENTS, name, {"spec": {"template": {"metadata": {"annotations": restarted}}}})
    await site.patch(DEPLOYMENTS, name, {"metadata": {"labels": {"team": "vision"}}})
    await site.patch(DEPLOYMENTS, name, {"spec": {"replicas": 0}})  # its repair shows that the others were seen

    async def repaired() -> dict[str, Any]:
        live = await site.get(DEPLOYMENTS, name)
        assert live["spec"]["replicas"] == 1
        return live

    live = await eventually(repaired)
    assert restarted.items() <= live["spec"]["template"]["metadata"]["annotations"].items()
    assert live["metadata"]["labels"]["team"] == "vision"
    await site.ready("reader")


def _service(site: Site) -> dict[str, Any]:
    ports = [{"port": 80}]
    meta = {"name": "reader", "namespace": site.namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports, "selector": {"app": "x"}}}


def _deployment(site: Site) -> dict[str, Any]:
    labels = {"app": "x"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "stranger.test/x:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": slice_name("reader", f"{site.pool}-a", 0), "namespace": site.namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod},
    }


@pytest.mark.usefixtures("no_operator")
@pytest.mark.parametrize(
    ("resource", "body"), [(SERVICES, _service), (DEPLOYMENTS, _deployment)], ids=["Service", "Deployment"]
)
async def test_a_namesake_is_never_touched_and_waited_for(
    site: Site, account: Path, monkeypatch: pytest.MonkeyPatch, resource: Resource, body: Any
) -> None:
    """Strangers' objects are not watched: the wait is what is shortened here, from a minute."""
    monkeypatch.setattr(reconcile, "_PROBLEM_RETRY", 0.5)
    stranger = await site.create(resource, body(site))
    name = stranger["metadata"]["name"]
    async with InProcess(account):
        (node,) = await site.nodes("a")
        await site.model("reader")
        found = await site.says("reader", "False", "NameConflict")
        message = condition(found, "Ready")["message"]
        assert f"{resource.kind} {name} exists and is not Littoral's" in message
        live = await site.get(resource, name)
        assert live["spec"] == stranger["spec"]
        assert [entry["manager"] for entry in live["metadata"]["managedFields"] if "littoral" in entry["manager"]] == []
        await site.delete(resource, name)
        await site.serves_on("reader", node)
