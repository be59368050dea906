"""The client, drift, the election and Events against a real API server."""

import copy
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from littoral.controller.client import Client, Resource
from littoral.controller.drift import Tolerated, first_difference
from littoral.controller.election import LEASES, Election
from littoral.controller.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from littoral.telemetry.events import EventRecorder, Subject
from littoral.telemetry.metrics import Metrics
from rig.controlplane import ControlPlane

pytestmark = pytest.mark.contract

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
EVENTS = Resource("", "v1", "events", "Event", namespaced=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
NOBODY = "00000000-0000-0000-0000-000000000000"
NUMBERS = itertools.count()


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await Client.connect(control_plane.kubeconfig, metrics=Metrics()) as client:
        yield client


@pytest.fixture
async def stranger(control_plane: ControlPlane) -> AsyncIterator[Client]:
    """Somebody else who writes."""
    async with await Client.connect(control_plane.kubeconfig, metrics=Metrics()) as client:
        client.manager = "kubectl-edit"
        yield client


@pytest.fixture
async def namespace(client: Client) -> str:
    name = f"client-{next(NUMBERS)}"
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def configmap(namespace: str, name: str = "a", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"from": "us", "old": "1"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def deployment(namespace: str) -> dict[str, Any]:
    labels = {"app": "reader"}
    container = {
        "name": "triton",
        "image": "littoral.dev/local/triton-cpu:dev",
        "args": ["--model-repository=/models"],
        "env": [{"name": "A", "value": "1"}, {"name": "OLD", "value": "1"}],
        "ports": [{"containerPort": 8000, "name": "http"}, {"containerPort": 8001, "name": "grpc"}],
        "resources": {"limits": {"memory": "4096Mi", "cpu": "1000m"}, "requests": {"memory": "2048Mi"}},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False},
    }
    pod = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}}],
        "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}],
        "nodeSelector": {},
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "reader", "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def with_uid(body: dict[str, Any], uid: str) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "uid": uid}}


async def test_an_apply_removes_what_the_create_wrote_and_it_does_not(client: Client, namespace: str) -> None:
    created = await client.create(CONFIGMAPS, configmap(namespace, kept="1", dropped="1"))
    body = with_uid(configmap(namespace, kept="2"), created["metadata"]["uid"])
    del body["metadata"]["labels"]["old"]
    applied = await client.apply(CONFIGMAPS, body)
    assert applied["data"] == {"kept": "2"}
    assert applied["metadata"]["labels"] == {"from": "us"}
    assert [(entry["manager"], entry["operation"]) for entry in applied["metadata"]["managedFields"]] == [
        ("littoral", "Apply")
    ]


async def test_an_apply_removes_what_a_patch_wrote_since(client: Client, namespace: str) -> None:
    created = await client.create(CONFIGMAPS, configmap(namespace, kept="1"))
    uid = created["metadata"]["uid"]
    body = with_uid(configmap(namespace, kept="1"), uid)
    await client.apply(CONFIGMAPS, body)
    await client.patch(CONFIGMAPS, namespace, "a", {"data": {"patched": "1"}}, uid=uid)
    assert (await client.apply(CONFIGMAPS, body))["data"] == {"kept": "1"}


async def test_an_apply_inside_a_pod_template(client: Client, namespace: str) -> None:
    body = deployment(namespace)
    created = await client.create(DEPLOYMENTS, body)
    changed = with_uid(copy.deepcopy(body), created["metadata"]["uid"])
    (container,) = changed["spec"]["template"]["spec"]["containers"]
    del container["env"][1], container["resources"]["requests"]
    applied = await client.apply(DEPLOYMENTS, changed)
    (container,) = applied["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert "requests" not in container["resources"]


async def test_an_apply_leaves_alone_what_others_added(client: Client, stranger: Client, namespace: str) -> None:
    created = await client.create(CONFIGMAPS, configmap(namespace, ours="1", dropped="1"))
    uid = created["metadata"]["uid"]
    await stranger.patch(CONFIGMAPS, namespace, "a", {"data": {"theirs": "1", "ours": "edited"}}, uid=uid)
    applied = await client.apply(CONFIGMAPS, with_uid(configmap(namespace, ours="1"), uid))
    assert applied["data"] == {"ours": "1", "theirs": "1"}


async def test_an_apply_that_changes_nothing_changes_nothing(client: Client, namespace: str) -> None:
    created = await client.create(CONFIGMAPS, configmap(namespace, a="1"))
    body = with_uid(configmap(namespace, a="1"), created["metadata"]["uid"])
    first, second = await client.apply(CONFIGMAPS, body), await client.apply(CONFIGMAPS, body)
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_no_write_with_the_uid_of_an_object_that_is_gone_touches_its_namesake(
    client: Client, namespace: str
) -> None:
    before = await client.create(CONFIGMAPS, configmap(namespace, theirs="1"))
    writes = [
        client.apply(CONFIGMAPS, with_uid(configmap(namespace, ours="1"), NOBODY)),
        client.patch(CONFIGMAPS, namespace, "a", {"data": {"ours": "1"}}, uid=NOBODY),
        client.patch(CONFIGMAPS, namespace, "a", [{"op": "add", "path": "/data/ours", "value": "1"}], uid=NOBODY),
        client.delete(CONFIGMAPS, namespace, "a", uid=NOBODY),
    ]
    for write in writes:
        with pytest.raises(Conflict):
            await write
    assert await client.get(CONFIGMAPS, namespace, "a") == before


async def test_a_status_with_the_uid_of_an_object_that_is_gone_is_refused(client: Client, namespace: str) -> None:
    await client.create(DEPLOYMENTS, deployment(namespace))
    with pytest.raises(Conflict, match="made again"):
        await client.patch_status(DEPLOYMENTS, namespace, "reader", {"observedGeneration": 7}, uid=NOBODY)


async def test_no_write_makes_an_object_again(client: Client, namespace: str) -> None:
    writes = [
        client.apply(CONFIGMAPS, with_uid(configmap(namespace, ours="1"), NOBODY)),
        client.patch(CONFIGMAPS, namespace, "a", {"data": {"ours": "1"}}, uid=NOBODY),
        client.delete(CONFIGMAPS, namespace, "a", uid=NOBODY),
        client.get(CONFIGMAPS, namespace, "a"),
    ]
    for write in writes:
        with pytest.raises(NotFound):
            await write


async def test_a_bare_apply_with_a_uid_makes_no_object_either(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apply reads first; should the object go between the read and the write, the API server itself refuses."""
    created = await client.create(CONFIGMAPS, configmap(namespace, a="1"))
    uid = created["metadata"]["uid"]
    read = client.get

    async def get_then_lose(resource: Resource, where: str | None, name: str) -> dict[str, Any]:
        live = await read(resource, where, name)
        live["metadata"]["managedFields"] = []  # no upgrade: the apply is the next request
        await client.delete(resource, where, name, uid=uid)
        return live

    monkeypatch.setattr(client, "get", get_then_lose)
    with pytest.raises(Conflict, match="uid mismatch"):
        await client.apply(CONFIGMAPS, with_uid(configmap(namespace, a="2"), uid))


@pytest.mark.parametrize("edits", [1, 100])
async def test_who_writes_between_the_read_and_the_upgrade_keeps_what_is_theirs(
    client: Client, stranger: Client, namespace: str, monkeypatch: pytest.MonkeyPatch, edits: int
) -> None:
    created = await client.create(CONFIGMAPS, configmap(namespace, a="1", dropped="1"))
    uid = created["metadata"]["uid"]
    read, left = client.get, iter(range(edits))

    async def get_then_edit(resource: Resource, where: str | None, name: str) -> dict[str, Any]:
        live = await read(resource, where, name)
        for number in itertools.islice(left, 1):
            await stranger.patch(resource, where, name, {"data": {"theirs": str(number)}}, uid=uid)
        return live

    monkeypatch.setattr(client, "get", get_then_edit)
    apply = client.apply(CONFIGMAPS, with_uid(configmap(namespace, a="2"), uid))
    if edits == 1:
        assert (await apply)["data"] == {"a": "2", "theirs": "0"}
    else:
        with pytest.raises(Conflict):
            await apply
        assert (await read(CONFIGMAPS, namespace, "a"))["data"] == {"a": "1", "dropped": "1", "theirs": "2"}


async def test_a_create_takes_over_nothing(client: Client, stranger: Client, namespace: str) -> None:
    before = await stranger.create(CONFIGMAPS, configmap(namespace, theirs="1"))
    with pytest.raises(AlreadyExists):
        await client.create(CONFIGMAPS, configmap(namespace, ours="1"))
    assert await client.get(CONFIGMAPS, namespace, "a") == before


async def test_a_stale_resource_version_is_a_conflict(client: Client, namespace: str) -> None:
    spec = {"ports": [{"port": 8000}]}  # nobody else writes the status of such a Service
    metadata = {"name": "reader", "namespace": namespace}
    created = await client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    uid, old = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
    condition = {
        "type": "Loaded",
        "status": "True",
        "reason": "Loaded",
        "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    status = {"conditions": [condition]}
    patched = await client.patch_status(SERVICES, namespace, "reader", status, uid=uid, resource_version=old)
    assert patched["status"]["conditions"] == [condition]
    with pytest.raises(Conflict):
        await client.patch_status(SERVICES, namespace, "reader", {"conditions": None}, uid=uid, resource_version=old)
    with pytest.raises(Conflict):
        await client.delete(SERVICES, namespace, "reader", uid=uid, resource_version=old)
    assert (await client.get(SERVICES, namespace, "reader"))["status"] == patched["status"]
    await client.delete(SERVICES, namespace, "reader", uid=uid)


async def test_a_list_in_pages_shows_one_moment(client: Client, namespace: str) -> None:
    for number in range(7):
        await client.create(CONFIGMAPS, configmap(namespace, f"cm-{number}"))
    listing = await client.list(CONFIGMAPS, namespace=namespace, label_selector="from=us", page=3)
    assert [item["metadata"]["name"] for item in listing.items] == [f"cm-{number}" for number in range(7)]
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
    assert int(listing.resource_version) >= max(int(item["metadata"]["resourceVersion"]) for item in listing.items)


async def test_a_refused_manifest_names_the_field(client: Client, namespace: str) -> None:
    body = deployment(namespace)
    body["spec"]["template"]["metadata"]["labels"] = {"app": "another"}
    with pytest.raises(Invalid) as caught:
        await client.create(DEPLOYMENTS, body)
    assert [cause.field for cause in caught.value.causes] == ["spec.template.metadata.labels"]


async def test_defaults_and_canonical_quantities_are_no_drift(client: Client, namespace: str) -> None:
    body = deployment(namespace)
    live = await client.create(DEPLOYMENTS, body)
    assert live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"memory": "4Gi", "cpu": "1"}
    assert first_difference(body, live) is None


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"spec": {"replicas": 2}}, "spec.replicas"),
        ({"metadata": {"labels": {"app": None}}}, "metadata.labels"),
        (
            [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "x"}],
            "spec.template.spec.containers[triton].image",
        ),
        (
            [{"op": "remove", "path": "/spec/template/spec/containers/0/env/0"}],
            "spec.template.spec.containers[triton].env[A]",
        ),
        (
            [{"op": "remove", "path": "/spec/template/spec/automountServiceAccountToken"}],
            "spec.template.spec.automountServiceAccountToken",
        ),
    ],
)
async def test_what_somebody_edits_is_drift_and_an_apply_mends_it(
    client: Client, stranger: Client, namespace: str, patch: Any, path: str
) -> None:
    body = deployment(namespace)
    uid = (await client.create(DEPLOYMENTS, body))["metadata"]["uid"]
    edited = await stranger.patch(DEPLOYMENTS, namespace, "reader", patch, uid=uid)
    assert first_difference(body, edited) == path
    mended = await applied(client, with_uid(body, uid))
    assert first_difference(body, mended) is None


async def applied(client: Client, body: Any) -> Any:
    """Apply, again where the Deployment controller has written its status meanwhile: as the operator's queue does."""
    while True:
        try:
            return await client.apply(DEPLOYMENTS, body)
        except Conflict:
            continue


async def test_a_field_that_the_server_does_not_know_is_learned(client: Client, namespace: str) -> None:
    body = deployment(namespace)
    body["spec"]["template"]["spec"]["ofTheFuture"] = "yes"
    live = await client.create(DEPLOYMENTS, body)
    tolerated = Tolerated()
    assert tolerated.first_difference("Deployment", body, live) == "spec.template.spec.ofTheFuture"
    tolerated.learn("Deployment", body, live)
    assert tolerated.first_difference("Deployment", body, live) is None


async def test_a_lease_goes_from_hand_to_hand(client: Client, namespace: str) -> None:
    first, second = (Election(client, namespace, "operator", metrics=Metrics()) for _ in range(2))
    await first.acquire()
    await first.release()
    await second.acquire()
    lease = await client.get(LEASES, namespace, "operator")
    assert lease["spec"]["holderIdentity"] == second.identity
    assert lease["spec"]["leaseTransitions"] == 1


async def test_events_are_accepted_for_namespaced_and_cluster_scoped_objects(client: Client, namespace: str) -> None:
    sent: list[dict[str, Any]] = []

    async def post(event: dict[str, Any]) -> None:
        sent.append(await client.create(EVENTS, event))

    recorder = EventRecorder(post, metrics=Metrics())
    for subject in (
        Subject("v1", "ConfigMap", namespace, "a" * 253, NOBODY),
        Subject("littoral.dev/v1alpha1", "EdgeNode", "", "edge-1", NOBODY),
    ):
        recorder.record(subject, "Normal", "Placed", f"{subject.name} has a place.")
        await post(recorder._pending.get_nowait())
    assert [event["metadata"]["namespace"] for event in sent] == [namespace, "default"]


async def test_errors_of_a_kind_that_does_not_exist(client: Client) -> None:
    with pytest.raises(NotFound) as caught:
        await client.list(Resource("littoral.dev", "v9", "nothings", "Nothing", namespaced=True))
    assert isinstance(caught.value, ApiError)
