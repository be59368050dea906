"""A real API server takes each child as it is written, where the Pod Security level `baseline` is enforced."""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from kubernetes.utils import FailToCreateError, create_from_dict
from tests.triton.conftest import Json, make_allocation, make_frozen, make_model, make_platform

from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import ContainerFacts, PodFacts
from littoral.controller.drift import first_difference
from littoral.triton import deployment, endpoints, metadata, revision, server_template, service, storage
from littoral.triton.server_template import Part
from rig.controlplane import ControlPlane
from rig.kube import client
from rig.waiting import until

pytestmark = pytest.mark.contract
PRIORITY_CLASS = Path(__file__).parents[2] / "config" / "priorityclass.yaml"


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Any]:
    with client(control_plane.kubeconfig) as connection:
        priority_class = yaml.safe_load(PRIORITY_CLASS.read_text(encoding="utf-8"))
        present = kubernetes.client.SchedulingV1Api(connection).list_priority_class().items
        if priority_class["metadata"]["name"] not in [item.metadata.name for item in present]:
            create_from_dict(connection, priority_class)
        yield connection


@pytest.fixture
def namespace(api: Any) -> Iterator[Any]:
    """A namespace that enforces `baseline`, with its default ServiceAccount."""
    core = kubernetes.client.CoreV1Api(api)
    name = f"line-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    made = core.create_namespace({"metadata": {"name": name, "labels": labels}})
    until(lambda: accounts(core, name), timeout=30, failure=lambda: TimeoutError("no default ServiceAccount"))
    yield made
    with suppress(ApiException):  # a test may have deleted it
        core.delete_namespace(name)


def accounts(core: Any, namespace: str) -> bool:
    return any(account.metadata.name == "default" for account in core.list_namespaced_service_account(namespace).items)


def answered(api: Any, manifest: Json) -> Json:
    """What the API server would store of a manifest; refused where a field is unknown, doubled or against policy."""
    (made,) = create_from_dict(api, manifest, dry_run="All", field_validation="Strict")
    stored: Json = api.sanitize_for_serialization(made)
    return stored


PATCH = {
    "env": {"NVIDIA_VISIBLE_DEVICES": "all"},
    "annotations": {"nvidia.com/use-gpuuuid": "GPU-7a3c"},
    "runtimeClassName": "nvidia",
    "schedulerName": "hami-scheduler",
    "mounted": ["/dev/shm"],
}


def on_host(namespace: Any, network: str) -> Json:
    resources = {"cpu": "500m", "memory": "400Mi"}
    serving = {"network": network, "ports": {"http": 18000, "grpc": 18001, "metrics": 18002}, "resources": resources}
    model = make_model({"serving": serving}, {"namespace": namespace.metadata.name, "uid": str(uuid.uuid4())})
    owner = metadata.alone(model.metadata)
    return deployment.build("plate-h1h1", str(uuid.uuid4()), owner, make_frozen(model), make_allocation())


def shared(namespace: Any) -> Json:
    name = namespace.metadata.name
    models = [make_model(metadata={"name": each, "namespace": name, "uid": str(uuid.uuid4())}) for each in ("a", "b")]
    parts = [Part(model, model.spec.variants[0]) for model in models]
    template = server_template.build("vision", parts, make_platform(), fetch_image="fetch:1", revision="vision-1")
    owner = metadata.together((name, "group/vision"), "vision", [model.metadata for model in models])
    frozen = replace(make_frozen(), name="vision-1", template=template)
    return deployment.build("vision-x7k2", str(uuid.uuid4()), owner, frozen, make_allocation())


def behind(model: InferenceModel) -> Json:
    ready = ContainerFacts(ready=True, running=True)
    pod = PodFacts(
        model.metadata.namespace, "vision-x7k2-0", str(uuid.uuid4()), "edge-a", "vision-x7k2", "r", "Running",
        deleting=False, fetch=ContainerFacts(), server=ready, grant=None, ip="10.1.0.7",
        model_containers={model.metadata.name: ready},
    )  # fmt: skip
    (built,) = endpoints.build(model, [endpoints.Server(pod, connected=True, zone="line-3")], model.spec.serving)
    return built


def manifests(namespace: Any) -> dict[str, Json]:
    name, uid = namespace.metadata.name, namespace.metadata.uid
    model = make_model(metadata={"namespace": name, "uid": str(uuid.uuid4())})
    cpu = make_platform(name="cpu", family="cpu", sharing=["cpu"])
    frozen = make_frozen(model)
    slice_uid = str(uuid.uuid4())
    owner = metadata.alone(model.metadata)
    return {
        "ControllerRevision": revision.controller_revision(owner, frozen),
        "Deployment on a counted device": deployment.build("plate-x7k2", slice_uid, owner, frozen, make_allocation()),
        "Deployment on node memory": deployment.build(
            "plate-y8m3", slice_uid, owner, make_frozen(model, cpu), make_allocation(resources={}), "plate-0"
        ),
        "Deployment with all that a mechanism may ask": deployment.build(
            "plate-z9n4", slice_uid, owner, frozen, make_allocation(pod=PATCH)
        ),
        "Deployment on the node's ports": on_host(namespace, "HostPort"),
        "Deployment in the node's network": on_host(namespace, "Host"),
        "Deployment of a shared server": shared(namespace),
        "EndpointSlice": behind(model),
        "Service": service.build(model),
        "PersistentVolume": storage.persistent_volume(name, uid),
        "PersistentVolumeClaim": storage.claim(name, uid),
    }


KINDS = (
    "ControllerRevision",
    "Deployment on a counted device",
    "Deployment on node memory",
    "Deployment with all that a mechanism may ask",
    "Deployment on the node's ports",
    "Deployment in the node's network",
    "Deployment of a shared server",
    "EndpointSlice",
    "Service",
    "PersistentVolume",
    "PersistentVolumeClaim",
)


@pytest.mark.parametrize("kind", KINDS)
def test_is_taken_whole_and_reads_back_without_drift(api: Any, namespace: Any, kind: str) -> None:
    desired = manifests(namespace)[kind]

    assert first_difference(desired, answered(api, desired)) is None


def pod_of(namespace: Any, kind: str = "Deployment on a counted device") -> Json:
    template = manifests(namespace)[kind]["spec"]["template"]
    metadata = {**template["metadata"], "name": "plate-x7k2-0", "namespace": namespace.metadata.name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_the_pod_passes_baseline_with_no_token_and_no_end_to_its_tolerance(api: Any, namespace: Any) -> None:
    spec = answered(api, pod_of(namespace))["spec"]

    assert not any("projected" in volume for volume in spec["volumes"])
    assert not any("tolerationSeconds" in toleration for toleration in spec["tolerations"])
    assert spec["preemptionPolicy"] == "Never"


def test_baseline_is_enforced_there(api: Any, namespace: Any) -> None:
    """The control of the test above: the same folder of the node as a volume of the pod's own is refused."""
    pod = pod_of(namespace)
    pod["spec"]["volumes"][1] = {"name": "cache", "hostPath": {"path": "/var/lib/littoral"}}

    with pytest.raises(FailToCreateError, match=r"baseline.*hostPath"):
        answered(api, pod)


@pytest.mark.parametrize(
    ("kind", "violation"),
    [("Deployment on the node's ports", "hostPort"), ("Deployment in the node's network", "host namespaces")],
)
def test_the_nodes_ports_and_network_need_a_namespace_that_allows_privileged_pods(
    api: Any, namespace: Any, kind: str, violation: str
) -> None:
    with pytest.raises(FailToCreateError, match=rf"baseline.*{violation}"):
        answered(api, pod_of(namespace, kind))

    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    kubernetes.client.CoreV1Api(api).patch_namespace(namespace.metadata.name, {"metadata": {"labels": labels}})

    def allowed() -> bool:
        try:
            answered(api, pod_of(namespace, kind))
        except FailToCreateError:
            return False
        return True

    until(allowed, timeout=30, failure=lambda: TimeoutError("privileged pods are still refused"))


def test_volume_and_claim_bind_and_the_volume_goes_with_its_namespace(api: Any, namespace: Any) -> None:
    core = kubernetes.client.CoreV1Api(api)
    name = namespace.metadata.name
    volume, claim = manifests(namespace)["PersistentVolume"], manifests(namespace)["PersistentVolumeClaim"]
    create_from_dict(api, volume)
    create_from_dict(api, claim)

    def bound() -> bool:
        found = core.read_namespaced_persistent_volume_claim(claim["metadata"]["name"], name)
        return bool(found.status.phase == "Bound" and found.spec.volume_name == volume["metadata"]["name"])

    until(bound, timeout=60, failure=lambda: TimeoutError("the claim is not bound to the volume"))
    core.delete_namespace(name)

    def gone() -> bool:
        return volume["metadata"]["name"] not in [item.metadata.name for item in core.list_persistent_volume().items]

    until(gone, timeout=120, failure=lambda: TimeoutError("the volume is still there"))
