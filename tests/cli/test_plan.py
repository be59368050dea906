"""`littoral plan`: exit codes, what waits, what would change and why, and that what is settled changes no more."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.manifests import edge, model, plan_json, reservation, run, t4, write

from littoral.cli.scenario import play


def test_exit_0_where_everything_has_its_place(tmp_path: Path) -> None:
    result = run("plan", "-f", write(tmp_path / "m.yaml", t4("one"), model()))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "1 replica of 1 model on 1 node; nothing waits"


WAITING = {
    "a replica": (
        [model(replicas=5)],
        "vision/plate: 1 of 5 waiting: 1 node: 1 with all 4 nvidia.com/gpu in use",
    ),
    "a model on no node": (
        [model(placement={"mode": "PerNode", "pools": ["moon"]})],
        "vision/plate: no node fits yet",
    ),
    "a reservation": ([reservation("room", "100Gi")], "vision/room (reserved): 1 node: 1 with "),
}


@pytest.mark.parametrize(("bodies", "sentence"), WAITING.values(), ids=WAITING)
def test_exit_1_where_something_waits_with_its_reason(
    tmp_path: Path, bodies: list[dict[str, Any]], sentence: str
) -> None:
    result = run("plan", "-f", write(tmp_path / "m.yaml", t4("one"), *bodies))
    assert result.exit_code == 1
    assert sentence in " ".join(result.stdout.split())


def test_exit_1_where_there_is_no_node_at_all(tmp_path: Path) -> None:
    result = run("plan", "-f", write(tmp_path / "m.yaml", model()))
    assert result.exit_code == 1
    assert "there is no EdgeNode: label a Node with littoral.dev/pool to make it one" in " ".join(result.stdout.split())


def test_exit_2_for_options_that_mean_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "m.yaml", t4("one"))
    for arguments, sentence in {
        ("--prune",): "--prune says what becomes of the objects of --against: give both",
        ("-f", "-", "--against", "-"): "standard input can be read once: give `-` one time",
        ("--node", "two"): "--node: there is no EdgeNode two in the input, and no Node that becomes one",
    }.items():
        result = run("plan", "-f", path, *arguments)
        assert (result.exit_code, sentence in result.stderr) == (2, True)


def test_exit_2_where_there_is_nothing_to_plan(tmp_path: Path) -> None:
    """A wrong folder in CI must not pass for a fleet without a problem."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    result = run("plan", "-f", write(tmp_path / "m.yaml", secret))
    assert result.exit_code == 2
    assert result.stderr == "nothing to plan: the input has no Node, EdgeNode, InferenceModel or GPUSlice\n"


def test_a_node_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "m.yaml", t4("one"), t4("two"), model("a", placement={"mode": "PerNode"}), model("b"))
    text = run("plan", "-f", path, "--node", "two").stdout
    assert "two" in text
    assert "one" not in text.replace("none", "")
    document = plan_json("-f", path, "--node", "two")
    assert [each["name"] for each in document["nodes"]] == ["two"]
    assert {replica["node"] for each in document["models"] for replica in each["replicas"]} == {"two"}


def test_json_has_the_keys_that_scripts_rest_on(tmp_path: Path) -> None:
    path = write(tmp_path / "m.yaml", t4("one"), model(), reservation("room", "1Gi"))
    document = plan_json("-f", path)
    assert set(document) == {"models", "reservations", "waiting", "changes", "nodes", "notes"}
    its = document["models"][0]
    assert set(its) == {"namespace", "name", "group", "wanted", "waiting", "held", "reason", "message", "replicas"}
    assert set(its["replicas"][0]) == {
        "slice", "node", "device", "profile", "stack", "variant", "why", "blocked", "granted",
    }  # fmt: skip
    assert set(its["replicas"][0]["granted"]) == {"memory", "compute", "provider", "isolation", "resources"}
    node = document["nodes"][0]
    assert set(node) == {"name", "pool", "site", "connected", "assumed", "problems", "devices"}
    assert set(node["devices"][0]) == {
        "id", "profile", "family", "provider", "count", "source", "stack", "memory", "compute", "units", "slices",
        "overcommitted",
    }  # fmt: skip
    assert run("plan", "-f", path, "--json").stdout == run("plan", "-f", path, "-o", "json").stdout


# What would change


def changes(*arguments: str | Path, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plan_json(*arguments, code=code)["changes"]
    return found


def test_where_nothing_was_bound_there_is_nothing_to_change(tmp_path: Path) -> None:
    document = plan_json("-f", write(tmp_path / "m.yaml", t4("one"), model()))
    assert document["changes"] is None


def test_against_manifests_their_own_plan_is_taken_for_carried_out(tmp_path: Path) -> None:
    old = write(tmp_path / "old.yaml", t4("one"), t4("two"), model("a"), model("b"))
    assert changes("-f", old, "--against", old) == []
    text = run("plan", "-f", old, "--against", old).stdout
    assert "Changes\n  nothing changes\n" in text


def test_each_kind_of_change_is_told_with_its_cause(tmp_path: Path) -> None:
    stays, leaves, shrinks = model("stays"), model("leaves"), model("shrinks", replicas=2)
    old = write(tmp_path / "old.yaml", t4("one"), t4("two"), stays, leaves, shrinks)
    new = write(
        tmp_path / "new.yaml",
        stays,
        model("leaves", placement={"nodeSelector": {"rack": "7"}}),
        model("shrinks", slice={"memory": "1Gi", "compute": 25}),
        model("comes"),
        t4("three", rack="7"),
    )
    found = {each["object"]: each for each in changes("-f", new, "--against", old) if each["action"] != "stop"}
    assert {name: each["action"] for name, each in found.items()} == {
        "im/comes": "start", "im/leaves": "move", "im/shrinks": "change",
    }  # fmt: skip
    assert found["im/leaves"]["to"]["node"] == "three"
    assert "labels of nodeSelector" in found["im/leaves"]["cause"]
    assert found["im/shrinks"]["cause"] == "memory 2624Mi becomes 1600Mi"
    assert found["im/comes"]["cause"] == "first variant for t4"
    lines = run("plan", "-f", new, "--against", old).stdout
    assert "  + vision/comes: " in lines
    assert "  ~ vision/leaves: " in lines


def test_what_is_not_applied_stays_unless_it_is_pruned(tmp_path: Path) -> None:
    old = write(tmp_path / "old.yaml", t4("one"), model("a"), model("b"), reservation("room", "1Gi"))
    new = write(tmp_path / "new.yaml", model("a"))
    assert changes("-f", new, "--against", old) == []
    pruned = changes("-f", new, "--against", old, "--prune")
    assert [(each["object"], each["action"], each["cause"]) for each in pruned] == [
        ("im/b", "stop", "it is there no more")
    ]


def test_room_that_a_change_makes_is_used(tmp_path: Path) -> None:
    """What leaves has ended when the next round is planned: the end is shown, not the first step."""
    old = write(tmp_path / "old.yaml", t4("one", shares=1), model("a"), model("b"))
    assert plan_json("-f", old, code=1)["waiting"][0]["object"] == "vision/b"
    new = write(tmp_path / "new.yaml", model("a", replicas=0))
    found = changes("-f", new, "--against", old)
    assert [(each["object"], each["action"]) for each in found] == [("im/a", "stop"), ("im/b", "start")]


def test_another_catalogue_alone_changes_nothing(tmp_path: Path) -> None:
    """What a slice asks for was drawn from the model's figures; it stands until those change."""

    def catalogue(overhead: str) -> dict[str, Any]:
        profile = {
            "name": "mine", "family": "mine", "memory": "8Gi", "resources": ["e.x/npu"], "sharing": ["time-slicing"],
            "overhead": overhead, "stacks": [{"image": "i", "backends": {"onnx": "onnxruntime"}}],
        }  # fmt: skip
        return {
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"mine.yaml": json.dumps({"profiles": [profile]})},
            "metadata": {"name": "littoral-catalogue", "namespace": "littoral-system"},
        }  # fmt: skip

    mine = edge("one", accelerators=[{"profile": "mine", "sharing": {"mode": "time-slicing", "replicas": 2}}])
    old = write(tmp_path / "old.yaml", catalogue("100Mi"), mine, model())
    new = write(tmp_path / "new.yaml", catalogue("200Mi"))
    assert changes("-f", new, "--against", old) == []
    assert plan_json("-f", old, "-f", new)["models"][0]["replicas"][0]["granted"]["memory"] == 2248


def test_models_that_share_a_server_are_one_block_and_one_slice(tmp_path: Path) -> None:
    together: dict[str, Any] = {"server": {"group": "line"}, "slice": {"memory": "1Gi", "compute": 10}}
    path = write(tmp_path / "m.yaml", t4("one"), model("a", **together), model("b", **together), model("c"))
    document = plan_json("-f", path)
    assert [(each["name"], each["group"]) for each in document["models"]] == [("a", "line"), ("b", "line"), ("c", None)]
    assert len({each["replicas"][0]["slice"] for each in document["models"]}) == 2
    assert "  vision/line  1 of 1, one server for a, b\n" in run("plan", "-f", path).stdout
    assert changes("-f", path, "--against", path) == []
    joined = write(tmp_path / "c.yaml", model("c", **together))
    assert {each["object"]: each["action"] for each in changes("-f", joined, "--against", path)} == {
        "group/line": "change", "im/c": "stop",
    }  # fmt: skip


# A dump of a cluster


def dump(path: Path, *bodies: dict[str, Any]) -> Path:
    """What kubectl would print of the settled cluster: the manifests with uids, and each slice as it is bound."""
    admitted = [{**body, "metadata": {"uid": f"uid-{n}", **body["metadata"]}} for n, body in enumerate(bodies)]
    outcome = play([str(write(path, *admitted))]).outcome
    slices = [
        {"apiVersion": "littoral.dev/v1alpha1", "kind": "GPUSlice"}
        | slice_.model_dump(mode="json", by_alias=True, exclude_none=True)
        for slice_ in outcome.snapshot.slices.values()
    ]
    for each in slices:
        each["metadata"]["uid"] = f"uid-{each['metadata']['name']}"
    rest = [body for body in admitted if body["kind"] != "GPUSlice"]
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*rest, *slices]}))
    return path


def test_a_dump_of_a_settled_cluster_changes_nothing(tmp_path: Path) -> None:
    path = dump(tmp_path / "now.json", t4("one"), t4("two"), model(replicas=3), reservation("room", "1Gi"))
    assert changes("-f", path) == []
    assert changes("-f", path, "--against", path) == []


def test_a_dump_shows_what_the_operator_is_about_to_do(tmp_path: Path) -> None:
    path = dump(tmp_path / "now.json", t4("one"), t4("two"), model(replicas=2))
    content = json.loads(path.read_text())
    for item in content["items"]:
        if item["kind"] == "InferenceModel":
            item["spec"]["replicas"] = 3
    path.write_text(json.dumps(content))
    assert [(each["action"], each["object"]) for each in changes("-f", path)] == [("start", "im/plate")]


def test_a_replica_on_an_offline_node_stays(tmp_path: Path) -> None:
    path = dump(tmp_path / "now.json", t4("one"), model())
    offline = t4("one")
    offline["status"]["conditions"][0]["status"] = "Unknown"
    document = plan_json("-f", path, "-f", write(tmp_path / "off.yaml", offline))
    assert document["changes"] == []
    assert document["nodes"][0]["connected"] is False
    assert "one (offline)" in run("plan", "-f", path, "-f", tmp_path / "off.yaml").stdout


PLACEMENTS = st.sampled_from(
    [{}, {"mode": "PerNode"}, {"pools": ["mec"]}, {"spread": "topology.kubernetes.io/zone"}, {"pools": ["moon"]}]
)
MODELS = st.lists(
    st.builds(
        lambda memory, compute, replicas, placement, group: {
            "server": {"group": group} if group else {},
            "slice": {"memory": f"{memory}Mi", "compute": compute}, "replicas": replicas, "placement": placement,
        },
        st.integers(100, 9000), st.sampled_from([0, 10, 25, 50, 100]), st.integers(0, 4), PLACEMENTS,
        st.sampled_from([None, None, "line"]),
    ),
    max_size=5,
)  # fmt: skip
NODES = st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from(["a", "b"])), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NODES, MODELS)
def test_whatever_has_settled_changes_no_more(
    tmp_path: Path, nodes: list[tuple[int, str]], models: list[dict[str, Any]]
) -> None:
    machines = [
        t4(f"n{n}", shares=shares, **{"topology.kubernetes.io/zone": zone}) for n, (shares, zone) in enumerate(nodes)
    ]
    jetson = edge("jetson", accelerators=[{"profile": "jetson-orin-nx-16gb"}])
    bodies = [model(f"m{n}", **spec) for n, spec in enumerate(models)]
    path = dump(tmp_path / "now.json", *machines, jetson, *bodies, reservation("room", "1Gi"))
    again = play([str(path)])
    assert {key: s.status.allocation for key, s in again.outcome.snapshot.slices.items()} == {
        key: s.status.allocation for key, s in (again.before or {}).items()
    }
    assert again.outcome.causes == {}
