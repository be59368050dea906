"""What the real API server admits, refuses and fills in, with crds/ as they stand."""

import asyncio
import copy
import itertools
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from typing import Any

import kubernetes
import pytest

from littoral.controller.client import Client, Resource
from littoral.controller.errors import ApiError
from littoral.controller.kinds import EDGENODES, MODELS, SLICES
from littoral.telemetry.metrics import Metrics
from rig.controlplane import ControlPlane

pytestmark = pytest.mark.contract

DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
LISTED = "/apis/littoral.dev/v1alpha1"
RESOURCES = {resource.kind: resource for resource in (EDGENODES, MODELS, SLICES)}
NAMES = (f"admission-{number}" for number in itertools.count())
DIGEST = "0123456789abcdef" * 4

VARIANT: Mapping[str, Any] = {
    "name": "portable",
    "accelerators": ["*"],
    "format": "onnx",
    "source": {"uri": "https://models.example/plate.onnx", "sha256": DIGEST},
}
SPECS: Mapping[str, Mapping[str, Any]] = {
    "InferenceModel": {"variants": [VARIANT], "slice": {"memory": "1Gi"}},
    "GPUSlice": {"memory": "1Gi"},
    "EdgeNode": {},
}


def put(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a spec with values at dotted paths; None takes the field away, digits index a list."""
    result = copy.deepcopy(dict(spec))
    for path, value in changes.items():
        *parents, last = path.split(".")
        node: Any = result
        for part in parents:
            node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
        if value is None:
            del node[last]
        else:
            node[last] = value
    return result


def manifest(kind: str, changes: Mapping[str, Any] | None = None, *, name: str | None = None) -> dict[str, Any]:
    resource = RESOURCES[kind]
    metadata = {"name": name or next(NAMES)} | ({"namespace": "default"} if resource.namespaced else {})
    return {
        "apiVersion": resource.api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": put(SPECS[kind], changes or {}),
    }


def read(plane: ControlPlane, path: str, accept: str = "application/json") -> Any:
    """What the API server answers to an administrator's GET."""
    headers = {"Authorization": f"Bearer {plane.admin_token}", "Accept": accept}
    context = ssl.create_default_context(cafile=str(plane.ca))
    request = urllib.request.Request(plane.url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return json.load(answer)


@pytest.fixture
async def client(control_plane: ControlPlane, crds: None) -> AsyncIterator[Client]:
    async with await Client.connect(control_plane.kubeconfig, metrics=Metrics()) as client:
        yield client


REFUSED: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    ("InferenceModel", {"variants.0.source.sha256": None}, "spec.variants.source: sha256 is required"),
    ("InferenceModel", {"variants.0.source.uri": f"oci://r.example/plate@sha256:{DIGEST}"}, "but not of oci://"),
    ("InferenceModel", {"variants.0.source.sha256": "abc"}, "spec.variants[0].source.sha256"),
    ("InferenceModel", {"variants.0.source.sha256": DIGEST.upper()}, "spec.variants[0].source.sha256"),
    ("InferenceModel", {"variants.0.source.sha256": f"sha256:{DIGEST}"}, "spec.variants[0].source.sha256"),
    ("InferenceModel", {"variants.0.source.uri": "ftp://models/plate.onnx"}, "spec.variants[0].source.uri"),
    ("InferenceModel", {"variants.0.source.uri": "https://models.example/plate/"}, "folder cannot be fetched by HTTP"),
    (
        "InferenceModel",
        {"variants.0.source.uri": "oci://r.example/plate:7", "variants.0.source.sha256": None},
        "spec.variants[0].source.uri",
    ),
    ("InferenceModel", {"variants.0.source.layout": "Folder"}, "spec.variants[0].source.layout"),
    ("InferenceModel", {"variants.0.source.secretName": "No Name"}, "spec.variants[0].source.secretName"),
    ("InferenceModel", {"variants.0.source.signature": {"uri": "key"}}, "spec.variants[0].source.signature.uri"),
    ("InferenceModel", {"variants.0.source.uri": "file:///etc/passwd"}, "spec.variants[0].source.uri"),
    ("InferenceModel", {"variants.0.source.uri": "file:///import/../../etc/passwd"}, "cannot contain '..'"),
    ("InferenceModel", {"variants.0.source.uri": "https://models.example"}, "spec.variants[0].source.uri"),
    ("InferenceModel", {"variants.0.source.size": "large"}, "spec.variants[0].source.size"),
    ("InferenceModel", {"variants.0.source": None}, "spec.variants[0].source: Required value"),
    ("InferenceModel", {"variants.0.format": None}, "spec.variants[0].format: Required value"),
    ("InferenceModel", {"variants.0.accelerators": []}, "spec.variants[0].accelerators"),
    ("InferenceModel", {"variants.0.accelerators": ["T4!"]}, "spec.variants[0].accelerators[0]"),
    ("InferenceModel", {"variants.0.name": "Portable"}, "spec.variants[0].name"),
    ("InferenceModel", {"variants.0.slice.memory": "-1Gi"}, "spec.variants[0].slice.memory"),
    ("InferenceModel", {"variants.0.slice.compute": 101}, "spec.variants[0].slice.compute"),
    ("InferenceModel", {"variants.0.format": "tensorrt_plan"}, "name it in accelerators in place of '*'"),
    (
        "InferenceModel",
        {"variants.0.format": "tensorrt_plan", "variants.0.accelerators": ["cpu"]},
        "a tensorrt_plan needs an NVIDIA accelerator",
    ),
    ("InferenceModel", {"variants": []}, "spec.variants"),
    ("InferenceModel", {"variants": None}, "spec.variants: Required value"),
    ("InferenceModel", {"variants": [VARIANT, VARIANT]}, 'spec.variants[1]: Duplicate value: {"name":"portable"}'),
    ("InferenceModel", {"slice": None}, "spec.slice.memory or the variant's slice.memory is required"),
    ("InferenceModel", {"slice.memory": None}, "spec.slice.memory or the variant's slice.memory is required"),
    ("InferenceModel", {"slice.memory": "lots"}, "spec.slice.memory"),
    ("InferenceModel", {"slice.isolation": "Total"}, "spec.slice.isolation: Unsupported value"),
    ("InferenceModel", {"replicas": -1}, "spec.replicas"),
    ("InferenceModel", {"replicas": "three"}, "spec.replicas"),
    ("InferenceModel", {"version": 7}, "spec.version"),
    ("InferenceModel", {"paused": "yes"}, "spec.paused"),
    ("InferenceModel", {"placement.mode": "Everywhere"}, "spec.placement.mode: Unsupported value"),
    ("InferenceModel", {"placement.pools": ["Line 3"]}, "spec.placement.pools[0]"),
    ("InferenceModel", {"placement.nodeSelector": {f"l{i}": "x" for i in range(17)}}, "spec.placement.nodeSelector"),
    ("InferenceModel", {"placement.tolerations": [{"effect": "Never"}]}, "spec.placement.tolerations[0].effect"),
    ("InferenceModel", {"serving.startupTimeout": "10 minutes"}, "spec.serving.startupTimeout"),
    ("InferenceModel", {"serving.modelName": "a/b"}, "spec.serving.modelName"),
    ("InferenceModel", {"serving.image": "a b"}, "spec.serving.image"),
    ("InferenceModel", {"variants.0.requires": {"jetpack": ""}}, "spec.variants[0].requires"),
    ("InferenceModel", {"variants.0.latency": {"p99": "fast"}}, "spec.variants[0].latency.p99"),
    ("InferenceModel", {"variants.0.latency": {"p99": "12ms", "atCompute": 0}}, "spec.variants[0].latency.atCompute"),
    ("InferenceModel", {"placement.maxLatency": "30"}, "spec.placement.maxLatency"),
    ("InferenceModel", {"sliceRef": {}}, "spec.sliceRef.name: Required value"),
    ("InferenceModel", {"sliceRef.name": "mine", "replicas": 2}, "spec.sliceRef: one slice holds one server"),
    (
        "InferenceModel",
        {"sliceRef.name": "mine", "placement.mode": "PerNode"},
        "spec.sliceRef: one slice holds one server",
    ),
    ("InferenceModel", {"sliceRef.name": "mine", "server.group": "g"}, "spec.sliceRef and spec.server.group exclude"),
    (
        "InferenceModel",
        {"serving.network": "Host", "serving.ports": {"http": 8001}},
        "http, grpc and metrics must be three different ports",
    ),
    ("GPUSlice", {"memory": None}, "spec.memory: Required value"),
    ("GPUSlice", {"memory": "-1"}, "spec.memory"),
    ("GPUSlice", {"compute": -1}, "spec.compute"),
    ("GPUSlice", {"isolation": "Total"}, "spec.isolation: Unsupported value"),
    ("GPUSlice", {"accelerators": ["Tesla T4"]}, "spec.accelerators[0]"),
    ("EdgeNode", {"accelerators": [{}]}, "spec.accelerators[0].profile: Required value"),
    ("EdgeNode", {"accelerators": [{"profile": "t4", "count": 0}]}, "spec.accelerators[0].count"),
    (
        "EdgeNode",
        {"allowedNamespaces.selector.matchExpressions": [{"key": "team", "operator": "Is"}]},
        "spec.allowedNamespaces.selector.matchExpressions[0].operator: Unsupported value",
    ),
    (
        "EdgeNode",
        {"accelerators": [{"profile": "t4", "sharing": {"replicas": 0}}]},
        "spec.accelerators[0].sharing.replicas",
    ),
    ("EdgeNode", {"reserved.memory": "half"}, "spec.reserved.memory"),
    ("EdgeNode", {"pool": "Line 3"}, "spec.pool"),
    ("EdgeNode", {"cordoned": "yes"}, "spec.cordoned"),
)

ADMITTED: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("InferenceModel", {}),
    ("InferenceModel", {"slice": None, "variants.0.slice.memory": "700Mi"}),
    ("InferenceModel", {"slice.memory": 1073741824, "slice.compute": 100, "slice.isolation": "Hard"}),
    ("InferenceModel", {"variants.0.source.uri": "file:///import/plate.onnx", "variants.0.source.size": "180Mi"}),
    ("InferenceModel", {"variants.0.source.uri": "http://10.0.0.1:8080/plate.tar.gz"}),
    ("InferenceModel", {"variants.0.source.uri": "s3://models/plate/", "variants.0.source.layout": "Repository"}),
    (
        "InferenceModel",
        {
            "variants.0.source.uri": f"oci://r.example:5000/plates/plate:7@sha256:{DIGEST}",
            "variants.0.source.sha256": None,
            "variants.0.source.signature": {},
        },
    ),
    ("InferenceModel", {"variants.0.format": "tensorrt_plan", "variants.0.accelerators": ["t4", "jetson-orin"]}),
    ("InferenceModel", {"variants": [{**VARIANT, "name": f"v{i}"} for i in range(16)]}),
    ("InferenceModel", {"replicas": 0, "paused": True, "version": "7"}),
    ("InferenceModel", {"placement": {"mode": "PerNode", "pools": ["line3"], "nodeSelector": {"a.b/c": ""}}}),
    ("InferenceModel", {"placement.tolerations": [{"operator": "Exists"}]}),
    ("InferenceModel", {"serving": {"modelName": "Plate_reader.v7", "startupTimeout": "1h30m", "image": "a/b:1"}}),
    ("GPUSlice", {}),
    ("GPUSlice", {"compute": 25, "isolation": "Soft", "accelerators": ["t4", "ascend-310p"]}),
    ("EdgeNode", {}),
    ("EdgeNode", {"accelerators": [{"profile": "t4", "count": 2, "sharing": {"replicas": 4}}]}),
    ("EdgeNode", {"pool": "line3", "reserved.memory": "2Gi", "cordoned": True}),
)


def shown(value: Any) -> str:
    return ",".join(value) or "as it is" if isinstance(value, Mapping) else ""


@pytest.mark.parametrize(("kind", "changes", "sentence"), REFUSED, ids=shown)
async def test_a_wrong_manifest_is_refused_and_the_field_named(
    client: Client, kind: str, changes: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(ApiError) as refused:
        await client.create(RESOURCES[kind], manifest(kind, changes))
    assert refused.value.status == 422
    assert sentence in refused.value.message


@pytest.mark.parametrize(("kind", "changes"), ADMITTED, ids=shown)
async def test_a_right_manifest_is_admitted(client: Client, kind: str, changes: Mapping[str, Any]) -> None:
    body = manifest(kind, changes)
    created = await client.create(RESOURCES[kind], body)
    for field, value in body["spec"].items():
        if not isinstance(value, Mapping | list):
            assert created["spec"][field] == value


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("InferenceModel", "Plate", "metadata.name"),
        ("InferenceModel", "plate.v7", "metadata.name becomes a Service's name"),
        ("InferenceModel", "7-plate", "metadata.name becomes a Service's name"),
        ("InferenceModel", "p" * 41, "40 at most"),
        ("EdgeNode", "n" * 64, "at most 63 characters"),
    ],
)
async def test_a_wrong_name_is_refused(client: Client, kind: str, name: str, sentence: str) -> None:
    with pytest.raises(ApiError, match=r"metadata\.name|EdgeNode") as refused:
        await client.create(RESOURCES[kind], manifest(kind, name=name))
    assert sentence in refused.value.message


@pytest.mark.parametrize(("kind", "name"), [("InferenceModel", "p" * 40), ("EdgeNode", "rack-1.mec.example")])
async def test_the_longest_and_the_dotted_name_are_admitted(client: Client, kind: str, name: str) -> None:
    created = await client.create(RESOURCES[kind], manifest(kind, name=name))
    assert created["metadata"]["name"] == name


def test_a_misspelled_field_is_refused_under_kubectls_strict_validation(
    client: Client, control_plane: ControlPlane
) -> None:
    body = manifest("InferenceModel", {"replica": 3})
    with kubernetes.config.new_client_from_config(str(control_plane.kubeconfig)) as api:
        objects = kubernetes.client.CustomObjectsApi(api)
        with pytest.raises(kubernetes.client.ApiException, match=r'unknown field \\"spec.replica\\"'):
            objects.create_namespaced_custom_object(
                MODELS.group, MODELS.version, "default", MODELS.plural, body, field_validation="Strict"
            )


async def test_defaults_are_shown(client: Client) -> None:
    created = await client.create(MODELS, manifest("InferenceModel"))
    spec = created["spec"]
    assert (spec["replicas"], spec["paused"]) == (1, False)
    assert spec["placement"]["mode"] == "Replicas"
    ports = {"http": 8000, "grpc": 8001, "metrics": 8002}
    assert spec["serving"] == {"startupTimeout": "10m", "network": "Pod", "ports": ports, "resources": {}}
    edge = await client.create(EDGENODES, manifest("EdgeNode", {"accelerators": [{"profile": "t4"}]}))
    assert edge["spec"]["accelerators"] == [{"profile": "t4", "count": 1, "sharing": {"replicas": 1}}]
    assert edge["spec"]["cordoned"] is False
    slice_ = await client.create(SLICES, manifest("GPUSlice"))
    assert slice_["spec"] == {"memory": "1Gi", "compute": 0, "isolation": "None"}


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("InferenceModel", ["Ready", "Placed", "Fetched", "Loaded", "NodesConnected"]),
        ("GPUSlice", ["Bound"]),
        ("EdgeNode", ["Connected", "CapacityKnown"]),
    ],
)
async def test_conditions_are_unknown_before_any_operator_looked(client: Client, kind: str, types: list[str]) -> None:
    created = await client.create(RESOURCES[kind], manifest(kind))
    conditions = created["status"]["conditions"]
    assert [(c["type"], c["status"], c["reason"]) for c in conditions] == [(t, "Unknown", "Pending") for t in types]


async def test_status_is_a_subresource(client: Client) -> None:
    """Who may edit a spec does not thereby say what is serving, and the operator's status moves no generation."""
    body = manifest("InferenceModel") | {"status": {"url": "http://forged"}}
    created = await client.create(MODELS, body)
    assert "url" not in created["status"]
    name, uid = created["metadata"]["name"], created["metadata"]["uid"]
    patched = await client.patch_status(MODELS, "default", name, {"url": "http://real"}, uid=uid)
    assert patched["status"]["url"] == "http://real"
    assert patched["metadata"]["generation"] == created["metadata"]["generation"]


async def test_a_model_scales_as_a_deployment_does(client: Client) -> None:
    created = await client.create(MODELS, manifest("InferenceModel"))
    name, uid = created["metadata"]["name"], created["metadata"]["uid"]
    await client.patch_status(MODELS, "default", name, {"replicas": 1, "selector": "a=b"}, uid=uid)
    scale = await client.patch(MODELS, "default", name, {"spec": {"replicas": 3}}, uid=uid, subresource="scale")
    assert scale["kind"] == "Scale"
    assert scale["status"] == {"replicas": 1, "selector": "a=b"}
    live = await client.get(MODELS, "default", name)
    assert live["spec"]["replicas"] == 3
    with pytest.raises(ApiError, match=r"spec\.replicas"):
        await client.patch(MODELS, "default", name, {"spec": {"replicas": -1}}, uid=uid, subresource="scale")


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
async def test_the_api_server_takes_the_schema_as_structural_and_its_rules_as_affordable(
    client: Client, resource: Resource
) -> None:
    """A rule whose estimated cost is over the limit is refused when the definition is created."""
    found = await client.get(DEFINITIONS, None, f"{resource.plural}.{resource.group}")
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


async def test_kubectl_explain_has_something_to_say(client: Client, control_plane: ControlPlane) -> None:
    document: dict[str, Any] = {}
    async with asyncio.timeout(30):  # the API server publishes a definition's schema a moment after it serves it
        while len(document) < len(RESOURCES):
            schemas = read(control_plane, f"/openapi/v3{LISTED}")["components"]["schemas"]
            document = {kind: schemas[f"dev.littoral.v1alpha1.{kind}"] for kind in RESOURCES
                        if f"dev.littoral.v1alpha1.{kind}" in schemas}  # fmt: skip
            await asyncio.sleep(0.05)
    for kind, schema in document.items():
        spec = schema["properties"]["spec"]
        assert schema["description"], kind
        assert all(field["description"] for field in spec["properties"].values()), kind
    variant = document["InferenceModel"]["properties"]["spec"]["properties"]["variants"]["items"]
    assert "Compulsory" in variant["properties"]["source"]["properties"]["sha256"]["description"]


async def test_kubectl_get_littoral_lists_all_three_kinds(client: Client, control_plane: ControlPlane) -> None:
    resources = {r["name"]: r for r in read(control_plane, LISTED)["resources"] if "/" not in r["name"]}
    assert {name: (r["shortNames"], r["categories"]) for name, r in resources.items()} == {
        "edgenodes": (["en"], ["littoral"]),
        "gpuslices": (["gs"], ["littoral"]),
        "inferencemodels": (["im"], ["littoral"]),
    }


async def test_kubectl_get_shows_whether_it_serves_and_why_not(client: Client, control_plane: ControlPlane) -> None:
    created = await client.create(MODELS, manifest("InferenceModel", {"version": "7"}))
    path = f"{LISTED}/namespaces/default/{MODELS.plural}/{created['metadata']['name']}"
    table = read(control_plane, path, "application/json;as=Table;v=v1;g=meta.k8s.io")
    columns = [column["name"] for column in table["columnDefinitions"]]
    row = dict(zip(columns, table["rows"][0]["cells"], strict=True))
    assert {key: row[key] for key in ("Ready", "Reason", "Version")} == {
        "Ready": "Unknown",
        "Reason": "Pending",
        "Version": "7",
    }
