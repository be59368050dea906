"""What manifests come to: what is assumed, what is refused and in which words, what a cluster's own objects may be."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.manifests import SHA, edge, model, plan_json, reservation, run, t4, write

from littoral.cli.documents import read
from littoral.cli.manifests import layer, world


def refused(tmp_path: Path, *bodies: dict[str, Any]) -> str:
    result = run("plan", "-f", write(tmp_path / "m.yaml", *bodies))
    assert result.exit_code == 2
    return result.stderr.replace(f"{tmp_path.as_posix()}/", "")


def variant(**changes: Any) -> dict[str, Any]:
    source = {"uri": "https://models.example/x.onnx", "sha256": SHA}
    return {"name": "any", "accelerators": ["*"], "format": "onnx", "source": source, **changes}


# What the API server would refuse

BAD = {
    "a field that there is not": (
        model(placment={"pools": ["a"]}),
        "m.yaml:18: InferenceModel vision/plate: spec.placment: there is no such field: is placement meant?",
    ),
    "a deep one": (
        model(variants=[variant(slice={"memmory": "1Gi"})]),
        "InferenceModel vision/plate: spec.variants[0].slice.memmory: there is no such field: is memory meant?",
    ),
    "no quantity": (
        model(slice={"memory": "3GB"}),
        "spec.slice.memory: '3GB' is not a quantity: write a number with a suffix such as Mi or Gi",
    ),
    "no digest": (
        model(variants=[variant(source={"uri": "https://models.example/x", "sha256": "latest"})]),
        "m.yaml:14: InferenceModel vision/plate: spec.variants[0].source.sha256: String should match pattern",
    ),
    "a word of no list": (
        model(placement={"mode": "Everywhere"}),
        "spec.placement.mode: should be 'Replicas' or 'PerNode', not 'Everywhere'",
    ),
    "a text for a number": (
        model(replicas="3"),
        "spec.replicas: should be a valid integer, not '3'",
    ),
    "beyond a bound": (
        edge("x", accelerators=[{"profile": "t4", "count": 65}]),
        "EdgeNode x: spec.accelerators[0].count",
    ),
    "what is required": (
        {**model(), "spec": {}},
        "InferenceModel vision/plate: spec.variants: Field required",
    ),
    "no such kind": (
        {**model(), "kind": "InferenceModels"},
        "there is no InferenceModels in littoral.dev/v1alpha1: write InferenceModel in littoral.dev/v1alpha1",
    ),
    "no such version": (
        {**model(), "apiVersion": "littoral.dev/v1"},
        "there is no InferenceModel in littoral.dev/v1: write InferenceModel in littoral.dev/v1alpha1",
    ),
    "a Node that is none": (
        {**t4("one"), "spec": {"taints": [{"effect": "NoSchedule"}]}},
        "Node one: it cannot be read: the field 'key' is missing",
    ),
}


@pytest.mark.parametrize(("body", "sentence"), BAD.values(), ids=BAD)
def test_what_an_api_server_would_refuse_is_bad_input(tmp_path: Path, body: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(tmp_path, body)


def test_all_complaints_come_at_once(tmp_path: Path) -> None:
    lines = refused(tmp_path, model("a", replicas="3"), model("b", paused=1, version=7)).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["InferenceModel vision/a"] + ["InferenceModel vision/b"] * 2


def test_a_broken_entry_of_the_catalogue_is_named_with_both_lines(tmp_path: Path) -> None:
    text = (
        "profiles:\n- {name: x, family: x, memory: 1Gi, resources: [e.x/npu], sharing: [magic], stacks: [{image: i}]}\n"
    )
    extension = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "littoral-catalogue", "namespace": "littoral-system"},
        "data": {"mine.yaml": text},
    }
    assert "m.yaml:7: key mine.yaml, line 2: profile 'x' is refused: sharing" in refused(tmp_path, extension)


def test_nulls_are_fields_that_are_left_out(tmp_path: Path) -> None:
    """As `kubectl create --dry-run -o yaml` writes them."""
    body = model(placement=None)
    body["metadata"]["creationTimestamp"] = None
    body["status"] = None
    assert plan_json("-f", write(tmp_path / "m.yaml", t4("one"), body))["models"][0]["waiting"] == 0


# What a cluster has admitted already


def test_what_a_cluster_holds_and_nobody_can_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken = model("broken", replicas=-1)
    broken["metadata"] |= {"uid": "u"}
    newer = model("newer", spot=True)
    newer["metadata"] |= {"uid": "v"}
    document = plan_json("-f", write(tmp_path / "m.yaml", t4("one"), broken, newer, model()), code=1)
    assert [each["name"] for each in document["models"]] == ["newer", "plate"]
    assert ["InferenceModel vision/broken: spec.replicas" in note for note in document["notes"]] == [True]
    assert [each["object"] for each in document["waiting"]] == ["vision/broken"]


def test_other_kinds_are_left_out_and_counted(tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    stranger = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}
    result = run("plan", "-v", "-f", write(tmp_path / "m.yaml", t4("one"), secret, stranger))
    assert result.stderr.splitlines() == ["not looked at: 1 Pod", "not looked at: 1 Secret"]


# What is taken for granted


def test_an_edgenode_without_a_node_is_a_ready_one_that_has_what_it_declares(tmp_path: Path) -> None:
    declared = edge(
        "one", accelerators=[{"profile": "t4", "count": 2, "sharing": {"mode": "time-slicing", "replicas": 4}}]
    )
    document = plan_json("-f", write(tmp_path / "m.yaml", declared, model(replicas=3)))
    node = document["nodes"][0]
    assert node["devices"][0]["units"] == {"resource": "nvidia.com/gpu", "total": 8, "granted": 3}
    assert node["problems"] == []
    assert node["assumed"] == ("no Node of this name is given: assumed Ready, amd64, 8 cores, 32Gi, nvidia.com/gpu: 8")


def test_a_jetson_alone_has_no_device_plugin_unless_it_is_declared_to_be_shared(tmp_path: Path) -> None:
    declared = edge("one", accelerators=[{"profile": "jetson-orin-nano-8gb"}])
    node = plan_json("-f", write(tmp_path / "m.yaml", declared))["nodes"][0]
    assert (node["devices"][0]["provider"], node["devices"][0]["units"]["resource"]) == ("runtime", None)
    assert node["assumed"] == "no Node of this name is given: assumed Ready, arm64, 8 cores, 8Gi"
    declared["spec"]["accelerators"][0]["sharing"] = {"replicas": 2}
    shared = plan_json("-f", write(tmp_path / "m.yaml", declared))["nodes"][0]["devices"][0]
    assert shared["units"]["total"] == 2


def test_a_node_without_an_edgenode_becomes_one_where_discovery_selects_it(tmp_path: Path) -> None:
    plain = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "plain"}}
    document = plan_json("-f", write(tmp_path / "m.yaml", t4("one"), plain))
    assert [each["name"] for each in document["nodes"]] == ["one"]


def test_a_node_with_figures_and_no_conditions_is_ready_and_that_goes_without_saying(tmp_path: Path) -> None:
    body = t4("one")
    del body["status"]["conditions"]
    body["status"]["capacity"] = body["status"].pop("allocatable")
    document = plan_json("-f", write(tmp_path / "m.yaml", body, model()))
    assert document["models"][0]["waiting"] == 0
    assert document["nodes"][0]["assumed"] == "assumed Ready, allocatable as its capacity"


def test_what_only_the_machine_can_say_is_not_assumed(tmp_path: Path) -> None:
    declared = edge("one", accelerators=[{"profile": "t4", "sharing": {"mode": "hami"}}])
    said = plan_json("-f", write(tmp_path / "m.yaml", declared))["nodes"][0]["assumed"]
    assert "nothing of its t4, for no Node says what HAMi registers in the Node's annotations" in said


def test_an_edgenode_of_a_cluster_whose_node_is_missing_is_offline(tmp_path: Path) -> None:
    gone = edge("gone", accelerators=[{"profile": "t4"}])
    gone["status"] = {
        "conditions": [
            {
                "type": "Connected",
                "status": "False",
                "reason": "NodeMissing",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ]
    }
    document = plan_json("-f", write(tmp_path / "m.yaml", t4("one"), gone))
    assert {each["name"]: each["connected"] for each in document["nodes"]} == {"gone": False, "one": True}


def test_the_default_namespace_is_default_and_a_nodes_is_none(tmp_path: Path) -> None:
    stray = t4("one")
    stray["metadata"]["namespace"] = "x"
    document = plan_json("-f", write(tmp_path / "m.yaml", stray, model(namespace=None)))
    assert document["models"][0]["namespace"] == "default"
    assert document["models"][0]["replicas"][0]["node"] == "one"


def test_the_catalogue_that_users_extend_is_the_one_that_counts(tmp_path: Path) -> None:
    text = """
profiles:
- {name: mine, family: mine, memory: 8Gi, labels: {e.x/chip: mine}, resources: [e.x/npu], sharing: [whole],
   stacks: [{image: i, backends: {onnx: onnxruntime}}]}
"""
    extension = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "littoral-catalogue", "namespace": "littoral-system"},
        "data": {"mine.yaml": text},
    }
    node = t4("one")
    node["metadata"]["labels"] = {"e.x/chip": "mine"}
    node["status"]["allocatable"] = {"cpu": "8", "memory": "16Gi", "e.x/npu": "1"}
    document = plan_json("-f", write(tmp_path / "m.yaml", extension, node, model()))
    assert document["models"][0]["replicas"][0]["profile"] == "mine"


def test_a_reservation_is_bound_and_one_without_a_place_waits(tmp_path: Path) -> None:
    path = write(tmp_path / "m.yaml", t4("one", shares=1), reservation("fits", "2Gi"), reservation("large", "20Gi"))
    document = plan_json("-f", path, code=1)
    assert {each["name"]: each["node"] for each in document["reservations"]} == {"fits": "one", "large": ""}
    assert [each["object"] for each in document["waiting"]] == ["vision/large (reserved)"]


def test_exclusions_hold_as_long_as_they_say_and_in_a_dump_as_it_shows_them(tmp_path: Path) -> None:
    excluded = edge("one")
    excluded["metadata"]["uid"] = "u"
    times = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:01:00Z"}
    excluded["status"] = {"exclusions": [{"device": "t4-0", "reason": "Unschedulable", "message": "full", **times}]}
    path = write(tmp_path / "m.yaml", t4("one"), excluded, model())
    assert plan_json("-f", path, code=1)["models"][0]["waiting"] == 1
    objects = layer(read([str(path)]))
    assert [*world(objects, now=datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)).snapshot.exclusions] == ["one"]
    assert [*world(objects, now=datetime(2026, 1, 1, 0, 2, tzinfo=UTC)).snapshot.exclusions] == []


def test_no_runtimeclass_in_the_input_says_nothing_unless_that_is_all_there_is(tmp_path: Path) -> None:
    objects = layer(read([str(write(tmp_path / "m.yaml", t4("one")))]))
    assert world(objects).snapshot.runtime_classes is None
    assert world(objects, complete=True).snapshot.runtime_classes == frozenset()
