"""A revision pinned to a node: what the Deployment adds to it, and that it adds the same in every version."""

import copy
import json
from pathlib import Path

import pytest
from tests.triton.conftest import Json, make_allocation, make_frozen, make_model, make_platform

from littoral.api import group
from littoral.api.gpuslice import Allocation
from littoral.controller.kinds import parse_grant
from littoral.triton import deployment, metadata, revision
from littoral.triton.revision import Frozen

GOLDEN = Path(__file__).parent / "golden"
PATCH: Json = {
    "env": {"NVIDIA_VISIBLE_DEVICES": "all", "ZED": "3"},
    "annotations": {"nvidia.com/use-gpuuuid": "GPU-7a3c"},
    "runtimeClassName": "nvidia",
    "schedulerName": "hami-scheduler",
    "mounted": ["/dev/shm"],
}
OWNER = metadata.alone(make_model().metadata)


def build(
    frozen: Frozen | None = None, allocation: Allocation | None = None, name: str = "plate-x7k2", previous: str = ""
) -> Json:
    return deployment.build(
        name, f"{name}-uid", OWNER, frozen or make_frozen(), allocation or make_allocation(), previous
    )


def pod(manifest: Json) -> Json:
    template: Json = manifest["spec"]["template"]
    return template


def server(manifest: Json) -> Json:
    container: Json
    (container,) = pod(manifest)["spec"]["containers"]
    return container


def test_is_plain_json() -> None:
    assert json.loads(json.dumps(build())) == build()


def test_is_named_as_its_slice_and_owned_by_it() -> None:
    meta = build()["metadata"]

    assert (meta["name"], meta["namespace"]) == ("plate-x7k2", "line")
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("GPUSlice", "plate-x7k2", "plate-x7k2-uid")
    assert (owner["controller"], owner["blockOwnerDeletion"]) == (True, False)


def test_runs_one_pod_and_never_two_at_once() -> None:
    spec = build()["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["revisionHistoryLimit"] == 0


def test_selects_by_the_slice_alone_and_its_pods_carry_it() -> None:
    manifest = build()

    assert manifest["spec"]["selector"] == {"matchLabels": {group.LABEL_SLICE: "plate-x7k2"}}
    assert pod(manifest)["metadata"]["labels"][group.LABEL_SLICE] == "plate-x7k2"


def test_pod_and_deployment_say_model_and_revision() -> None:
    manifest = build()

    for labels in (manifest["metadata"]["labels"], pod(manifest)["metadata"]["labels"]):
        assert labels[group.LABEL_MANAGED_BY] == group.MANAGER
        assert labels[group.LABEL_MODEL] == "plate"
        assert labels[group.LABEL_REVISION] == make_frozen().name


def test_is_pinned_to_the_node_of_its_allocation() -> None:
    spec = pod(build())["spec"]

    assert spec["affinity"]["nodeAffinity"] == {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["edge-a"]}]}]
        }
    }
    assert "nodeName" not in spec


@pytest.mark.parametrize(
    ("node", "label"),
    [("edge-a.site-3.example", "edge-a.site-3.example"), ("n" * 63, "n" * 63), ("n" * 64, None)],
)
def test_is_labelled_with_the_node_where_its_name_fits(node: str, label: str | None) -> None:
    assert build(allocation=make_allocation(node=node))["metadata"]["labels"].get(group.LABEL_NODE) == label


def test_the_deadline_leaves_room_for_the_startup_budget() -> None:
    assert build()["spec"]["progressDeadlineSeconds"] > 90


@pytest.mark.parametrize(("previous", "annotations"), [("plate-0", {group.ANNOTATION_PREVIOUS: "plate-0"}), ("", None)])
def test_remembers_what_it_would_be_put_back_to_outside_the_pod(
    previous: str, annotations: dict[str, str] | None
) -> None:
    manifest = build(previous=previous)

    assert manifest["metadata"].get("annotations") == annotations
    assert pod(manifest) == pod(build())


class TestGrant:
    def test_is_on_the_pod_and_reads_back_as_the_allocation_without_times(self) -> None:
        annotations = pod(build())["metadata"]["annotations"]

        assert parse_grant(annotations) == make_allocation(boundAt=None)

    @pytest.mark.parametrize("field", ["boundAt", "startedAt", "updatedAt"])
    def test_times_move_no_pod(self, field: str) -> None:
        assert build(allocation=make_allocation(**{field: "2026-02-02T00:00:00Z"})) == build()

    @pytest.mark.parametrize(
        "change",
        [
            {"memory": "2Gi"},
            {"compute": 30},
            {"device": "t4-1"},
            {"node": "edge-b"},
            {"resources": {"a.example/b": "1"}},
        ],
    )
    def test_another_grant_is_another_pod(self, change: Json) -> None:
        assert pod(build(allocation=make_allocation(**change))) != pod(build())

    def test_fields_at_their_default_are_left_out(self) -> None:
        """Or else a field that a later version adds would restart every server at the upgrade."""
        text = deployment.grant(make_allocation(compute=0, isolation="None", resources={}))

        assert text == '{"device":"t4-0","memory":"1600Mi","node":"edge-a","profile":"t4","provider":"counted"}'

    def test_does_not_depend_on_the_order_of_resources(self) -> None:
        one = make_allocation(resources={"a.example/a": "1", "b.example/b": "2"})
        two = make_allocation(resources={"b.example/b": "2", "a.example/a": "1"})

        assert deployment.grant(one) == deployment.grant(two)


class TestResources:
    def test_are_what_the_slice_was_granted_and_stand_on_the_server_alone(self) -> None:
        manifest = build()

        assert server(manifest)["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
        assert "resources" not in pod(manifest)["spec"]["initContainers"][0]

    @pytest.mark.parametrize(
        ("profile", "requests"),
        [
            ({}, None),
            ({"unified": True}, {"memory": "1600Mi"}),
            ({"name": "cpu", "family": "cpu", "sharing": ["cpu"]}, {"memory": "1600Mi"}),
        ],
    )
    def test_the_grant_is_requested_where_it_is_node_memory(
        self, profile: Json, requests: dict[str, str] | None
    ) -> None:
        frozen = make_frozen(platform=make_platform(**profile))

        assert server(build(frozen=frozen))["resources"].get("requests") == requests

    @pytest.mark.parametrize(
        ("profile", "requests"),
        [({}, {"cpu": "500m", "memory": "400Mi"}), ({"unified": True}, {"cpu": "500m", "memory": "2000Mi"})],
    )
    def test_what_the_server_asks_of_the_machine_is_added(self, profile: Json, requests: dict[str, str]) -> None:
        model = make_model({"serving": {"resources": {"cpu": "500m", "memory": "400Mi"}}})
        frozen = make_frozen(model, make_platform(**profile))

        resources = server(build(frozen=frozen))["resources"]

        assert resources == {"limits": {"nvidia.com/gpu": "1"}, "requests": requests}


class TestPodOfTheMechanism:
    """What the grant says that its sharing mechanism needs, laid over the revision's template."""

    @pytest.fixture
    def manifest(self) -> Json:
        return build(allocation=make_allocation(pod=PATCH))

    def test_runs_in_its_runtime_class_by_its_scheduler(self, manifest: Json) -> None:
        spec = pod(manifest)["spec"]

        assert (spec["runtimeClassName"], spec["schedulerName"]) == ("nvidia", "hami-scheduler")

    def test_adds_to_the_environment_and_prevails_in_it(self, manifest: Json) -> None:
        assert server(manifest)["env"] == [
            {"name": "ALPHA", "value": "1"},
            {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
            {"name": "ZED", "value": "3"},
        ]
        assert [variable["name"] for variable in pod(manifest)["spec"]["initContainers"][0]["env"]] == [
            "LITTORAL_FETCH",
            "LITTORAL_SLICE",
        ]

    def test_adds_annotations_to_the_pod(self, manifest: Json) -> None:
        annotations = pod(manifest)["metadata"]["annotations"]

        assert annotations["nvidia.com/use-gpuuuid"] == "GPU-7a3c"
        assert set(pod(build())["metadata"]["annotations"]) <= set(annotations)

    def test_what_the_device_plugin_mounts_is_not_mounted_over(self, manifest: Json) -> None:
        def mounted(of: Json) -> set[str]:
            return {mount["mountPath"] for mount in server(of)["volumeMounts"]}

        assert mounted(build()) - mounted(manifest) == {"/dev/shm"}

    def test_is_part_of_the_grant(self, manifest: Json) -> None:
        found = parse_grant(pod(manifest)["metadata"]["annotations"])

        assert found is not None
        assert found.pod == make_allocation(pod=PATCH).pod

    def test_a_mechanism_that_asks_nothing_changes_nothing(self) -> None:
        spec = pod(build())["spec"]

        assert "runtimeClassName" not in spec
        assert "schedulerName" not in spec


class TestStability:
    def test_same_inputs_same_bytes(self) -> None:
        assert json.dumps(build(frozen=make_frozen())) == json.dumps(build(frozen=make_frozen()))

    def test_what_was_frozen_is_not_touched(self) -> None:
        frozen = make_frozen()
        before = copy.deepcopy(frozen.template)

        build(frozen=frozen)

        assert frozen.template == before

    def test_survives_storage_in_a_controller_revision(self) -> None:
        stored = json.loads(json.dumps(revision.controller_revision(OWNER, make_frozen()), sort_keys=True))

        assert build(frozen=revision.read(stored)) == build()

    def test_two_of_one_revision_differ_in_slice_node_and_grant_alone(self) -> None:
        def without_place(manifest: Json) -> Json:
            template = pod(manifest)
            del template["spec"]["affinity"], server(manifest)["resources"]
            del template["metadata"]["annotations"][group.ANNOTATION_GRANT]
            del template["metadata"]["labels"][group.LABEL_SLICE]
            return template

        other = build(name="plate-y8m3", allocation=make_allocation(node="edge-b", device="t4-1", memory="2Gi"))

        assert without_place(other) == without_place(build())

    def test_a_stored_revision_gives_the_same_deployment_in_every_version(self) -> None:
        """The revision was stored by the first version. A difference here restarts every server in the field when the
        operator is upgraded: what pods need in addition belongs into freeze, where only new revisions get it."""
        stored = json.loads((GOLDEN / "controllerrevision.json").read_text(encoding="utf-8"))
        expected = json.loads((GOLDEN / "deployment.json").read_text(encoding="utf-8"))

        assert build(frozen=revision.read(stored)) == expected
