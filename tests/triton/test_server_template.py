"""The pod of several models: what it loads, what says that each answers, and whose it is."""

import json
from typing import Any

import pytest
from tests.triton.conftest import Json, make_allocation, make_model, make_platform

from littoral.api import group
from littoral.api.inferencemodel import InferenceModel
from littoral.modelstore.request import ENV_REQUEST, FetchRequest, parse_request
from littoral.triton import deployment, metadata, server_template
from littoral.triton.errors import Unservable
from littoral.triton.namespace_policy import NamespacePolicy
from littoral.triton.revision import Frozen
from littoral.triton.server_template import Part


def member(name: str, **serving: Any) -> InferenceModel:
    return make_model({"serving": {"startupTimeout": "90s", **serving}}, {"name": name, "uid": f"{name}-uid"})


def build(*models: InferenceModel, stack: Json | None = None) -> Json:
    parts = [Part(model, model.spec.variants[0]) for model in models or (member("a"), member("b"))]
    return server_template.build("vision", parts, make_platform(stack), fetch_image="fetch:1", revision="vision-1")


def containers(template: Json) -> dict[str, Json]:
    return {each["name"]: each for each in template["spec"]["containers"]}


def request_of(template: Json) -> FetchRequest:
    (fetch,) = template["spec"]["initContainers"]
    (value,) = [each["value"] for each in fetch["env"] if each["name"] == ENV_REQUEST]
    return parse_request(value.replace("$$", "$"))


def test_fetches_all_in_one_go_and_lets_none_hold_up_the_others() -> None:
    request = request_of(build())
    assert [model.name for model in request.models] == ["a", "b"]
    assert request.partial


def test_triton_loads_all_and_outlives_one_that_does_not_load() -> None:
    args = containers(build())["triton"]["args"]
    assert [each for each in args if each.startswith("--load-model")] == ["--load-model=a", "--load-model=b"]
    assert {"--exit-on-error=false", "--strict-readiness=false", "--model-control-mode=explicit"} <= set(args)


def test_one_whole_repository_among_them_has_triton_load_whatever_is_there() -> None:
    whole = {"name": "v", "accelerators": ["*"], "format": "onnx", "source": {
        "uri": "https://models.example/whole.tar", "sha256": "c" * 64, "layout": "Repository", "secretName": "reader",
    }}  # fmt: skip
    template = build(member("a"), make_model({"variants": [whole]}, {"name": "b"}))
    args = containers(template)["triton"]["args"]
    assert [each for each in args if each.startswith("--load-model")] == ["--load-model=*"]
    assert [model.layout for model in request_of(template).models] == ["Model", "Repository"]
    assert "/etc/littoral/secrets/reader" in str(template["spec"]["initContainers"])
    assert "secret-0" in {volume["name"] for volume in template["spec"]["volumes"]}


def test_where_signatures_are_required_one_unsigned_model_is_named() -> None:
    parts = [Part(model, model.spec.variants[0]) for model in (member("a"), member("b"))]
    with pytest.raises(Unservable, match="variant portable of model a is not signed"):
        server_template.build(
            "vision",
            parts,
            make_platform(),
            fetch_image="f",
            revision="r",
            policy=NamespacePolicy(require_signature=True),
        )


def test_clients_name_the_models_as_their_specs_do() -> None:
    template = build(member("a", modelName="plate_reader"), member("b"))
    assert "--load-model=plate_reader" in containers(template)["triton"]["args"]
    assert containers(template)["model-a"]["readinessProbe"]["httpGet"]["path"] == "/v2/models/plate_reader/ready"


def test_the_servers_own_readiness_asks_for_no_model() -> None:
    server = containers(build())["triton"]
    assert {server[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe")} == {"/v2/health/ready"}
    assert server["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_may_take_as_long_to_start_as_its_models_together() -> None:
    assert containers(build())["triton"]["startupProbe"]["failureThreshold"] == 180


class TestTheContainerThatStandsForAModel:
    @pytest.fixture
    def stands(self) -> Json:
        return containers(build(stack={"env": {"NVIDIA_VISIBLE_DEVICES": "all"}}))["model-b"]

    def test_is_ready_while_the_pods_triton_serves_the_model(self, stands: Json) -> None:
        probe = stands["readinessProbe"]
        assert probe["httpGet"] == {"path": "/v2/models/b/ready", "port": 8000}
        assert set(stands) & {"startupProbe", "livenessProbe", "lifecycle"} == set()

    def test_takes_next_to_nothing_and_no_device(self, stands: Json) -> None:
        assert stands["resources"] == {"requests": {"cpu": "1m", "memory": "1Mi"}}
        assert stands["env"] == [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]
        assert "volumeMounts" not in stands

    def test_may_nothing(self, stands: Json) -> None:
        context = stands["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }

    def test_ends_when_it_is_told_to(self, stands: Json) -> None:
        assert "trap 'exit 0' TERM" in stands["command"][-1]

    def test_needs_no_image_of_its_own(self, stands: Json) -> None:
        assert stands["image"] == containers(build())["triton"]["image"]

    def test_asks_on_the_nodes_port_in_the_nodes_network(self) -> None:
        host = {"network": "Host", "ports": {"http": 9000}}
        template = build(member("a", **host), member("b", **host))
        assert containers(template)["model-b"]["readinessProbe"]["httpGet"]["port"] == 9000


def test_carries_the_groups_label_and_no_models() -> None:
    labels = build()["metadata"]["labels"]
    assert labels[group.LABEL_GROUP] == "vision"
    assert labels[group.LABEL_REVISION] == "vision-1"
    assert group.LABEL_MODEL not in labels


def test_asks_the_machine_for_what_its_models_ask_together() -> None:
    some = {"resources": {"cpu": "500m", "memory": "1Gi"}}
    template = build(member("a", **some), member("b", **some), member("c"))
    assert containers(template)["triton"]["resources"]["requests"] == {"cpu": "1", "memory": "2Gi"}


def test_what_is_granted_goes_to_the_server_alone() -> None:
    owner = metadata.together(("line", "group/vision"), "vision", [member("a").metadata, member("b").metadata])
    frozen = Frozen(
        name="vision-1", number=1, variant="", profile="t4", node_memory=False, startup_timeout=180, template=build()
    )
    manifest = deployment.build("vision-x7", "slice-uid", owner, frozen, make_allocation())
    pod = manifest["spec"]["template"]
    assert containers(pod)["triton"]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert "limits" not in containers(pod)["model-a"]["resources"]
    assert manifest["metadata"]["labels"][group.LABEL_GROUP] == "vision"
    assert [each["kind"] for each in manifest["metadata"]["ownerReferences"]] == ["GPUSlice"]


def test_what_cannot_be_served_is_refused_by_name() -> None:
    with pytest.raises(
        Unservable, match="Variant portable has format onnx, for which profile t4 has no Triton backend"
    ):
        build(stack={"backends": {"python": "python"}})


def test_the_same_models_give_the_same_bytes() -> None:
    assert json.dumps(build()) == json.dumps(build())
