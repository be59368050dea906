"""What must hold of the pod of a served model, whatever the model and the profile."""

import json
import re
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tests.triton.conftest import Json, make_model, make_platform
from tritonclient.grpc import model_config_pb2

from littoral.accelerators.catalogue import load
from littoral.accelerators.profile import Platform
from littoral.api import group
from littoral.api.inferencemodel import InferenceModel
from littoral.modelstore.request import ENTRIES, FetchRequest, ModelRequest, parse_request
from littoral.triton import fetch_volumes, namespace_policy, pod_template
from littoral.triton.errors import Unservable
from littoral.triton.namespace_policy import NamespacePolicy

EXPANSION = re.compile(r"\$(\$|\([^)]*\))")


def expand(value: str, variables: dict[str, str]) -> str:
    """The kubelet's expansion of $(NAME) and $$ in values and arguments."""

    def replaced(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else variables.get(match[1][1:-1], match[0])

    return EXPANSION.sub(replaced, value)


@pytest.fixture
def template() -> Json:
    model = make_model()
    return pod_template.build(
        model, model.spec.variants[0], make_platform(), fetch_image="registry.example/littoral:1", revision="plate-0123"
    )


@pytest.fixture
def spec(template: Json) -> Json:
    pod: Json = template["spec"]
    return pod


@pytest.fixture
def server(spec: Json) -> Json:
    container: Json
    (container,) = spec["containers"]
    return container


@pytest.fixture
def fetch(spec: Json) -> Json:
    container: Json
    (container,) = spec["initContainers"]
    return container


def build(model: InferenceModel, platform: Platform) -> Json:
    return pod_template.build(model, model.spec.variants[0], platform, fetch_image="fetch:1", revision="r")


def of_source(policy: NamespacePolicy = namespace_policy.NONE, **source: Any) -> Json:
    """The pod of a model whose one variant has such a source."""
    whole = {"uri": "https://models.example/a", "sha256": "b" * 64, **source}
    model = make_model({"variants": [{"name": "v", "accelerators": ["t4"], "format": "onnx", "source": whole}]})
    return pod_template.build(
        model, model.spec.variants[0], make_platform(), fetch_image="f", revision="r", policy=policy
    )


def request_of(template: Json) -> Any:
    (variable,) = [each for each in template["spec"]["initContainers"][0]["env"] if each["name"] == "LITTORAL_FETCH"]
    return parse_request(expand(variable["value"], {"HOME": "expanded", "": "expanded"}))


def test_is_plain_json(template: Json) -> None:
    assert json.loads(json.dumps(template)) == template


def test_labels_say_whose_pod_it_is_and_which_revision(template: Json) -> None:
    labels = template["metadata"]["labels"]

    assert labels[group.LABEL_MANAGED_BY] == group.MANAGER
    assert labels[group.LABEL_MODEL] == "plate"
    assert labels[group.LABEL_REVISION] == "plate-0123"
    assert group.LABEL_SLICE not in labels


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("automountServiceAccountToken", False),
        ("enableServiceLinks", False),
        ("priorityClassName", group.PRIORITY_CLASS),
    ],
)
def test_nothing_from_the_control_plane_is_needed_to_start(spec: Json, field: str, value: object) -> None:
    assert spec[field] == value
    assert not any("configMap" in volume or "secret" in volume or "projected" in volume for volume in spec["volumes"])


def test_no_node_no_slice_and_no_resource_is_in_it(template: Json, server: Json, fetch: Json) -> None:
    assert "affinity" not in template["spec"]
    assert "nodeSelector" not in template["spec"]
    assert group.ANNOTATION_GRANT not in template["metadata"]["annotations"]
    assert "resources" not in fetch
    assert "resources" not in server


@pytest.mark.parametrize("key", ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"])
def test_is_never_evicted_from_a_silent_node(spec: Json, key: str) -> None:
    assert {"key": key, "operator": "Exists", "effect": "NoExecute"} in spec["tolerations"]


def test_tolerates_what_the_hardware_and_the_user_say_each_once() -> None:
    mine = {"key": "line", "operator": "Equal", "value": "3", "effect": "NoSchedule"}
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    model = make_model({"placement": {"tolerations": [mine, gpu, {"operator": "Exists"}]}})

    tolerations = build(model, make_platform())["spec"]["tolerations"]

    assert tolerations[2:] == [gpu, mine, {"operator": "Exists"}]


class TestFetch:
    def test_command_and_image(self, fetch: Json) -> None:
        assert fetch["name"] == group.FETCH_CONTAINER
        assert fetch["image"] == "registry.example/littoral:1"
        assert fetch["command"] == ["python3", "-m", "littoral.modelstore.fetch"]
        assert fetch["imagePullPolicy"] == "IfNotPresent"

    def test_asks_for_the_artifact_by_digest_and_bounded_size(self, template: Json) -> None:
        (model,) = request_of(template).models

        assert model.name == "plate_reader"
        assert model.uri == "https://models.example/plate/7.tgz"
        assert model.sha256 == "a" * 64
        assert model.size == 180 * 1024 * 1024
        assert model.format == "onnx"

    def test_brings_a_config_that_triton_reads(self, template: Json) -> None:
        config = text_format.Parse(request_of(template).models[0].config, model_config_pb2.ModelConfig())

        assert (config.name, config.backend) == ("plate_reader", "onnxruntime")

    def test_an_undeclared_size_is_unbounded(self) -> None:
        source = {"uri": "file:///import/a.onnx", "sha256": "b" * 64}
        variant = {"name": "v", "accelerators": ["t4"], "format": "onnx", "source": source}

        assert request_of(build(make_model({"variants": [variant]}), make_platform())).models[0].size is None

    @pytest.mark.parametrize("tail", ["$(HOME)", "$$(HOME)", "a$$b", "$", "$()", '"},{"', "\\", "%24"])
    def test_a_uri_arrives_as_it_was_written(self, tail: str) -> None:
        source = {"uri": f"https://models.example/{tail}", "sha256": "b" * 64}
        variant = {"name": "v", "accelerators": ["t4"], "format": "onnx", "source": source}

        assert request_of(build(make_model({"variants": [variant]}), make_platform())).models[0].uri == source["uri"]

    def test_asks_for_all_that_the_source_says(self) -> None:
        (model,) = request_of(of_source(layout="Repository", signature={"uri": "https://models.example/m.sig"})).models

        assert (model.layout, model.signed, model.signature) == ("Repository", True, "https://models.example/m.sig")
        (model,) = request_of(of_source(signature={}, secretName="reader", configMapName="proxies")).models
        assert (model.signed, model.signature, model.secret, model.settings) == (True, "", "reader", "proxies")

    def test_the_quota_of_the_namespace_is_frozen_with_it(self) -> None:
        model, policy = make_model(), NamespacePolicy(quota=1 << 30)

        template = pod_template.build(
            model, model.spec.variants[0], make_platform(), fetch_image="f", revision="r", policy=policy
        )

        assert request_of(template).quota == 1 << 30

    def test_is_told_its_slice_by_the_pods_own_label(self, fetch: Json) -> None:
        (variable,) = [each for each in fetch["env"] if each["name"] == "LITTORAL_SLICE"]

        assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.labels['littoral.dev/slice']"}}

    def test_is_root_without_any_capability(self, fetch: Json) -> None:
        context = fetch["securityContext"]

        assert context["runAsUser"] == 0
        assert context["runAsNonRoot"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True

    def test_writes_repository_and_cache_and_has_a_place_for_temporary_files(self, fetch: Json) -> None:
        mounts = {mount["mountPath"]: mount for mount in fetch["volumeMounts"]}

        assert set(mounts) == {group.REPOSITORY_MOUNT, group.CACHE_MOUNT, "/tmp"}
        assert not any(mount.get("readOnly") for mount in mounts.values())

    def test_its_last_words_reach_the_status_even_when_it_cannot_start(self, fetch: Json) -> None:
        assert fetch["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert "terminationMessagePath" not in fetch


class TestWhatTheSourceNeeds:
    """Secrets and ConfigMaps: for the fetch container alone, and for a cold start alone."""

    @pytest.fixture
    def spec(self) -> Json:
        pod: Json = of_source(secretName="reader", configMapName="proxies", signature={})["spec"]
        return pod

    def test_is_mounted_where_the_fetch_container_looks_for_it(self, spec: Json) -> None:
        mounts = {mount["mountPath"]: mount for mount in spec["initContainers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}

        def mounted(path: str) -> Json:
            assert mounts[path]["readOnly"] is True
            volume: Json = volumes[mounts[path]["name"]]
            return volume

        secret = {"secretName": "reader", "optional": True, "defaultMode": 0o400}
        assert mounted("/etc/littoral/secrets/reader")["secret"] == secret
        settings = {"name": "proxies", "optional": True, "defaultMode": 0o444}
        assert mounted("/etc/littoral/settings/proxies")["configMap"] == settings
        keys = {"name": "littoral-trusted-keys", "optional": True, "defaultMode": 0o444}
        assert mounted("/etc/littoral/trusted-keys")["configMap"] == keys

    def test_no_other_container_sees_it(self, spec: Json) -> None:
        theirs = {volume["name"] for volume in spec["volumes"] if "secret" in volume or "configMap" in volume}

        assert len(theirs) == 3
        for container in spec["containers"]:
            assert not theirs & {mount["name"] for mount in container["volumeMounts"]}

    def test_of_several_models_each_is_there_once(self) -> None:
        models = [
            ModelRequest(name=name, uri="u", sha256="0" * 64, secret=secret, settings="s")
            for name, secret in (("a", "x"), ("b", "x"), ("c", "y"))
        ]
        request = FetchRequest(models=tuple(models))

        assert [mount["mountPath"] for mount in fetch_volumes.mounts(request)] == [
            "/etc/littoral/secrets/x",
            "/etc/littoral/secrets/y",
            "/etc/littoral/settings/s",
        ]
        names = [volume["name"] for volume in fetch_volumes.volumes(request)]
        assert (
            names
            == [mount["name"] for mount in fetch_volumes.mounts(request)]
            == ["secret-0", "secret-1", "settings-0"]
        )


def test_a_whole_repository_is_loaded_whole() -> None:
    (server,) = of_source(layout="Repository")["spec"]["containers"]

    assert [each for each in server["args"] if each.startswith("--load-model")] == ["--load-model=*"]
    assert server["readinessProbe"]["httpGet"]["path"] == "/v2/models/plate_reader/ready"


@pytest.mark.parametrize("source", [{}, {"signature": None}])
def test_where_signatures_are_required_an_unsigned_variant_is_refused(source: Json) -> None:
    with pytest.raises(Unservable, match=r"Namespace line .* variant v of model plate .*source\.signature") as caught:
        of_source(**source, policy=NamespacePolicy(require_signature=True))

    assert caught.value.reason == "SignatureRequired"
    assert of_source(**source | {"signature": {}}, policy=NamespacePolicy(require_signature=True))


class TestServer:
    def test_loads_the_one_model_in_explicit_mode(self, server: Json) -> None:
        assert server["name"] == group.SERVER_CONTAINER
        assert server["command"] == ["tritonserver"]
        assert server["args"][:3] == [
            "--model-repository=/models",
            "--model-control-mode=explicit",
            "--load-model=plate_reader",
        ]

    def test_the_stacks_arguments_come_last_and_so_prevail(self, server: Json) -> None:
        assert server["args"][-1] == "--allow-gpu-metrics=false"

    def test_environment_is_the_stacks_in_a_stable_order(self, server: Json) -> None:
        assert server["env"] == [{"name": "ALPHA", "value": "1"}, {"name": "ZED", "value": "2"}]

    def test_image_is_the_stacks_unless_the_spec_names_one(self, server: Json) -> None:
        named = build(make_model({"serving": {"image": "registry.example/mine:2"}}), make_platform())

        assert server["image"] == "registry.example/triton:1"
        assert server["imagePullPolicy"] == "IfNotPresent"
        assert named["spec"]["containers"][0]["image"] == "registry.example/mine:2"

    def test_ports(self, server: Json) -> None:
        ports = {port["name"]: (port["containerPort"], port["protocol"]) for port in server["ports"]}

        assert ports == {"http": (8000, "TCP"), "grpc": (8001, "TCP"), "metrics": (8002, "TCP")}
        assert {"--http-port=8000", "--grpc-port=8001", "--metrics-port=8002"} <= set(server["args"])

    @pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe"])
    def test_started_and_ready_mean_that_this_model_answers(self, server: Json, probe: str) -> None:
        assert server[probe]["httpGet"] == {"path": "/v2/models/plate_reader/ready", "port": "http"}

    def test_liveness_does_not_depend_on_the_model(self, server: Json) -> None:
        assert server["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"

    @pytest.mark.parametrize(
        ("timeout", "seconds"), [("90s", 90), ("10m", 600), ("1500ms", 2), ("0s", 1), ("99999h", 7 * 24 * 3600)]
    )
    def test_startup_budget_is_the_specs(self, timeout: str, seconds: int) -> None:
        probe = build(make_model({"serving": {"startupTimeout": timeout}}), make_platform())["spec"]["containers"][0][
            "startupProbe"
        ]

        assert probe["periodSeconds"] * probe["failureThreshold"] == seconds

    def test_is_killed_only_after_it_had_time_to_end(self, spec: Json, server: Json) -> None:
        sleep = server["lifecycle"]["preStop"]["sleep"]["seconds"]

        assert f"--exit-timeout-secs={pod_template.EXIT_SECONDS}" in server["args"]
        assert sleep > 0
        assert spec["terminationGracePeriodSeconds"] > sleep + pod_template.EXIT_SECONDS

    def test_cannot_write_the_cache(self, server: Json) -> None:
        mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}

        verified = mounts[f"{group.CACHE_MOUNT}/{ENTRIES}"]
        assert (verified["readOnly"], verified["subPath"]) == (True, ENTRIES)
        assert mounts[group.REPOSITORY_MOUNT]["readOnly"] is True
        assert set(mounts) == {group.REPOSITORY_MOUNT, f"{group.CACHE_MOUNT}/{ENTRIES}", "/dev/shm", "/tmp"}

    def test_its_last_log_lines_reach_the_status(self, server: Json) -> None:
        assert server["terminationMessagePolicy"] == "FallbackToLogsOnError"

    def test_is_not_root_and_without_capabilities(self, spec: Json, server: Json) -> None:
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert server["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

    def test_the_stack_may_choose_user_and_groups(self) -> None:
        platform = make_platform({"securityContext": {"runAsUser": 2000, "supplementalGroups": [44]}})

        context = build(make_model(), platform)["spec"]["securityContext"]

        assert (context["runAsUser"], context["supplementalGroups"]) == (2000, [44])
        assert context["runAsNonRoot"] is True

    def test_the_runtime_class_is_the_grants_to_say(self) -> None:
        """The catalogue wishes for one; whether it exists and the node's runtime can read it, the device knows."""
        spec = build(make_model(), make_platform({"runtimeClassName": "nvidia"}))["spec"]

        assert "runtimeClassName" not in spec


def test_volumes(spec: Json) -> None:
    volumes = {volume["name"]: volume for volume in spec["volumes"]}

    assert volumes["cache"]["persistentVolumeClaim"] == {"claimName": group.CACHE_CLAIM}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "512Mi"}
    assert volumes["models"]["emptyDir"] == volumes["tmp"]["emptyDir"] == {}
    assert len(volumes) == 4


@pytest.mark.parametrize(
    ("stack", "reason", "sentence"),
    [
        ({"image": None, "imageReason": "none is built for it"}, "NoImage", r"profile t4.*none is built for it"),
        ({"backends": {"python": "python"}}, "FormatUnsupported", r"format onnx.*profile t4.*python"),
        (
            {"backends": {"onnx": {"name": "npu_om", "imageReason": "it must be built with CANN"}}},
            "NoImage",
            r"format onnx, which .* profile t4 does not serve \(it must be built with CANN\): .* in spec.serving.image",
        ),
    ],
)
def test_what_the_catalogue_cannot_serve_is_said(stack: Json, reason: str, sentence: str) -> None:
    with pytest.raises(Unservable, match=sentence) as caught:
        build(make_model(), make_platform(stack))

    assert caught.value.reason == reason


def test_a_format_that_needs_the_users_image_is_served_with_one() -> None:
    platform = make_platform({"backends": {"onnx": {"name": "npu_om", "imageReason": "it must be built with CANN"}}})

    request = request_of(build(make_model({"serving": {"image": "mine:1"}}), platform))

    assert 'backend: "npu_om"' in request.models[0].config


def test_a_backends_parameters_reach_the_config() -> None:
    platform = make_platform({"backends": {"onnx": {"name": "npu_ge", "parameters": {"device_ids": "0"}}}})

    config = text_format.Parse(
        request_of(build(make_model(), platform)).models[0].config, model_config_pb2.ModelConfig()
    )

    assert (config.backend, config.parameters["device_ids"].string_value) == ("npu_ge", "0")


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, None),
        ({"cpu": "500m"}, {"requests": {"cpu": "500m"}}),
        ({"memory": "1Gi"}, {"requests": {"memory": "1Gi"}}),
        ({"cpu": 2, "memory": "1Gi"}, {"requests": {"cpu": "2", "memory": "1Gi"}}),
    ],
)
def test_what_is_asked_of_the_machine_is_asked_by_the_server_alone(resources: Json, expected: Json | None) -> None:
    spec = build(make_model({"serving": {"resources": resources}}), make_platform())["spec"]

    assert spec["containers"][0].get("resources") == expected
    assert "resources" not in spec["initContainers"][0]


@pytest.mark.parametrize(("name", "expected"), [("", group.PRIORITY_CLASS), ("line-critical", "line-critical")])
def test_the_users_priority_class_takes_the_place_of_ours(name: str, expected: str) -> None:
    model = make_model({"placement": {"priorityClassName": name}})

    assert build(model, make_platform())["spec"]["priorityClassName"] == expected


def test_an_image_of_the_users_own_needs_none_in_the_catalogue() -> None:
    platform = make_platform({"image": None, "imageReason": "none is built for it"})

    assert build(make_model({"serving": {"image": "mine:1"}}), platform)["spec"]["containers"][0]["image"] == "mine:1"


@given(st.text("$()AB ", max_size=12))
def test_the_kubelet_expands_nothing_in_a_literal(text: str) -> None:
    assert expand(pod_template.literal(text), {"A": "x", "B": "y", "": "z", "AB": "w"}) == text


def test_a_pod_without_an_accelerator_sees_none_whatever_the_nodes_default_runtime() -> None:
    """Triton's image says NVIDIA_VISIBLE_DEVICES=all; under `void` NVIDIA's runtime does what runc does."""
    template = build(make_model(), load().cpu.platform())

    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in template["spec"]["containers"][0]["env"]
