"""Models that share a server: one unit on each node, a variant for each, and a word to those that cannot share."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import EXTENSION, bound, granted, model, node, t4, world

from littoral.accelerators.catalogue import extend, load
from littoral.api.base import Metadata
from littoral.api.gpuslice import GPUSlice
from littoral.api.group import ANNOTATION_REFRESH, LABEL_GROUP
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import DeploymentFacts
from littoral.placement.groups import compose
from littoral.placement.plan import Plan, plan, why_not
from littoral.placement.snapshot import Snapshot

VISION = ("ns", "vision")


def member(name: str, group: str | None = "vision", **more: Any) -> InferenceModel:
    """A model of 512 MiB that names the group; the older the earlier in the alphabet."""
    made = model(name, **{"created": ord(name[0]), **more})
    spec = made.spec.model_copy(update={"server": made.spec.server.model_copy(update={"group": group})})
    return made.model_copy(update={"spec": spec})


def carried_out(snapshot: Snapshot, made: Plan) -> Snapshot:
    """The snapshot after the group's servers have come up."""
    slices, deployments = dict(snapshot.slices), dict(snapshot.deployments)
    for (namespace, _), its in made.groups.items():
        for name in its.releases:
            slices.pop((namespace, name))
        for assignment in its.assignments:
            at = (namespace, assignment.slice)
            lead = ("ns", assignment.members[0].model)
            its_slice = bound(snapshot, lead, assignment, slices.get(at), minute=1, started=True)
            owners = tuple(
                {"kind": "InferenceModel", "name": m.model, "uid": f"uid-{m.model}"} for m in assignment.members
            )
            meta = its_slice.metadata.model_copy(update={"labels": {LABEL_GROUP: "vision"}, "owner_references": owners})
            slices[at] = its_slice.model_copy(update={"metadata": meta})
            deployments[at] = DeploymentFacts(*at, "", at[1], "", "r1", granted(slices[at]))
    return replace(snapshot, slices=slices, deployments=deployments)


def test_one_slice_holds_what_all_of_them_need_and_the_overhead_once() -> None:
    asked = [
        member("a", memory="512Mi", compute=20),
        member("b", memory="1Gi", compute=30, isolation="None"),
        member("c", memory="256Mi"),
    ]
    made = plan(world([t4("n", shares=1)], asked))
    (assignment,) = made.groups[VISION].assignments
    assert (assignment.request.memory, assignment.request.compute) == ("1920Mi", 50)  # 512 + 1024 + 256 + 128
    assert [part.model for part in assignment.members] == ["a", "b", "c"]
    assert {made.models["ns", name].assignments[0].slice for name in "abc"} == {assignment.slice}


def test_the_strongest_isolation_that_one_asks_is_that_of_all() -> None:
    made = plan(world([t4("n", shares=1)], [member("a"), member("b", isolation="Hard")]))
    (assignment,) = made.groups[VISION].assignments
    assert assignment.request.isolation == "Hard"


ORIN = [{"name": "orin", "accelerators": ["jetson-orin"]}]
BOTH = [{"name": "t4", "accelerators": ["t4"]}, {"name": "any", "accelerators": ["*"]}]


def orin(name: str) -> Any:
    return node(name, labels={"littoral.dev/profile": "emulated-orin"}, resources={"nvidia.com/gpu": 1})


def test_each_takes_its_own_variant_and_one_without_is_left_out_there_and_says_so() -> None:
    asked = [member("a", variants=BOTH, mode="PerNode"), member("b", variants=ORIN, mode="PerNode")]
    made = plan(world([orin("n1"), t4("n2")], asked))
    first, second = made.groups[VISION].assignments
    assert [(part.model, part.variant) for part in first.members] == [("a", "any"), ("b", "orin")]
    assert [(part.model, part.variant) for part in second.members] == [("a", "t4")]
    assert [(left.model, left.reason) for left in second.left_out] == [("b", "NoVariant")]
    a, b = made.models["ns", "a"], made.models["ns", "b"]
    assert [each.variant for each in a.assignments] == ["any", "t4"]
    assert a.assignments[1].why == "first variant for emulated-t4 (family t4)"
    assert (b.wanted, [each.node for each in b.assignments]) == (1, ["n1"])
    assert b.message.endswith("; left out of group vision on n2, without a variant for emulated-t4")


def test_a_node_that_can_serve_more_of_them_is_preferred() -> None:
    made = plan(world([t4("n1"), orin("n2")], [member("a", variants=BOTH), member("b", variants=ORIN)]))
    assert [each.node for each in made.groups[VISION].assignments] == ["n2"]


def test_one_that_is_served_nowhere_waits() -> None:
    made = plan(world([t4("n")], [member("a", variants=BOTH), member("b", variants=ORIN)]))
    waiting = made.models["ns", "b"]
    assert (waiting.wanted, waiting.waiting, waiting.reason) == (1, 1, "LeftOut")
    assert (made.models["ns", "a"].waiting, made.models["ns", "a"].reason) == (0, "Placed")


MISMATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "replicas": ({"replicas": 2}, "spec.replicas is not that of a"),
    "mode": ({"mode": "PerNode"}, "spec.placement.mode is not that of a"),
    "pools": ({"pools": ["other"]}, "spec.placement.pools is not that of a"),
    "selector": ({"nodeSelector": {"x": "y"}}, "spec.placement.nodeSelector is not that of a"),
    "tolerations": ({"tolerations": [{"operator": "Exists"}]}, "spec.placement.tolerations is not that of a"),
    "spread": ({"spread": "zone"}, "spec.placement.spread is not that of a"),
    "priority": ({"priorityClassName": "high"}, "spec.placement.priorityClassName is not that of a"),
    "network": ({"serving": {"network": "Host"}}, "spec.serving.network is not that of a"),
    "image": ({"serving": {"image": "mine:1"}}, "spec.serving.image is not that of a"),
    "name": ({"serving": {"modelName": "a"}}, "spec.serving.modelName a is that of a already"),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_a_member_that_cannot_share_is_told_the_field_and_the_model(what: str) -> None:
    change, sentence = MISMATCHES[what]
    made = plan(world([t4("n")], [member("a"), member("b", **change)]))
    refused = made.models["ns", "b"]
    assert (refused.reason, refused.assignments, refused.waiting) == ("GroupMismatch", (), 1)
    assert refused.message.startswith(f"cannot share the server of group vision: {sentence}")
    assert [part.model for part in made.groups[VISION].assignments[0].members] == ["a"]


def test_ports_of_the_node_must_be_the_same() -> None:
    host = {"network": "Host", "ports": {"http": 9000}}
    (found,) = compose([member("a", serving=host), member("b", serving={"network": "Host"})]).values()
    assert "spec.serving.ports is not that of a" in found.mismatched["ns", "b"]


def test_a_latency_and_a_startup_timeout_are_each_ones_own() -> None:
    (found,) = compose([member("a"), member("b", maxLatency="20ms", serving={"startupTimeout": "1m"})]).values()
    assert found.mismatched == {}


def test_who_asks_too_much_together_waits_with_the_sum() -> None:
    made = plan(world([t4("n")], [member("a", compute=70), member("b", compute=50)]))
    assert made.groups[VISION].reason == "TooMuchCompute"
    message = "1 node: 1 with 100% of a device, 120% needed by the models of the group together"
    assert message in made.models["ns", "a"].message


class TestAtRest:
    @pytest.fixture
    def settled(self) -> Snapshot:
        snapshot = world([t4("n", shares=2)], [member("a"), member("b")])
        return carried_out(snapshot, plan(snapshot))

    def test_a_plan_that_was_carried_out_gives_itself_again(self, settled: Snapshot) -> None:
        (before,) = plan(settled).groups[VISION].assignments
        assert before.current is before.target
        assert plan(carried_out(settled, plan(settled))).groups == plan(settled).groups

    def test_who_joins_or_leaves_changes_the_figures_in_place(self, settled: Snapshot) -> None:
        joined = replace(settled, models={**settled.models, ("ns", "c"): member("c")})
        (assignment,) = plan(joined).groups[VISION].assignments
        assert assignment.request.memory == "1664Mi"
        assert assignment.members[2].model == "c"
        alone = replace(settled, models={("ns", "b"): member("b")})
        (left,) = plan(alone).groups[VISION].assignments
        assert (left.slice, left.request.memory) == (assignment.slice, "640Mi")

    def test_for_whom_there_is_no_room_waits_and_the_others_stay(self, settled: Snapshot) -> None:
        joined = replace(settled, models={**settled.models, ("ns", "c"): member("c", memory="8Gi")})
        (assignment,) = plan(joined).groups[VISION].assignments
        assert assignment.blocked.startswith("stays as it is: no room on n")

    def test_who_asks_too_much_to_join_moves_nobody(self, settled: Snapshot) -> None:
        greedy = {("ns", name): member(name, compute=60) for name in "ab"}
        its = plan(replace(settled, models=greedy)).groups[VISION]
        assert (its.releases, len(its.assignments)) == ((), 1)
        assert [part.model for part in its.assignments[0].members] == ["a", "b"]

    def test_what_nobody_names_any_more_goes(self, settled: Snapshot) -> None:
        alone = {("ns", name): member(name, group=None) for name in "ab"}
        its = plan(replace(settled, models=alone)).groups[VISION]
        assert its.releases == tuple(key[1] for key in settled.slices)
        assert {move.cause for move in its.moves} == {f"no model names group {VISION[1]}"}
        assert plan(replace(settled, models=alone)).slices == {}

    def test_what_its_last_owner_left_is_the_garbage_collectors(self, settled: Snapshot) -> None:
        made = plan(replace(settled, models={}))
        assert made.slices == {}
        assert made.models == {}
        anew = member("a").model_copy(update={"metadata": Metadata(name="a", namespace="ns", uid="another")})
        (assignment,) = plan(replace(settled, models={("ns", "a"): anew})).groups[VISION].assignments
        assert assignment.current is None


ONNX = [{"name": "only", "accelerators": ["*"], "format": "onnx"}]


def test_who_was_left_out_is_let_in_by_its_user_and_not_by_a_catalogue() -> None:
    asked = {("ns", "a"): member("a"), ("ns", "b"): member("b", variants=ONNX)}
    snapshot = world([t4("n", shares=1)], asked.values())
    settled = carried_out(snapshot, plan(snapshot))
    assert [left.reason for left in plan(settled).groups[VISION].assignments[0].left_out] == ["NoBackend"]
    more, problems = extend(load(), "tests", EXTENSION.replace("{python: python}", "{python: python, onnx: onnx}"))
    assert not problems
    upgraded = replace(settled, catalogue=more)
    (assignment,) = plan(upgraded).groups[VISION].assignments
    assert [part.model for part in assignment.members] == ["a"]
    assert (
        plan(upgraded)
        .models["ns", "b"]
        .message.endswith("which can serve it since the catalogue changed: `littoral rollout refresh` lets it in")
    )
    meta = asked["ns", "b"].metadata.model_copy(update={"annotations": {ANNOTATION_REFRESH: "now"}})
    refreshed = {**asked, ("ns", "b"): asked["ns", "b"].model_copy(update={"metadata": meta})}
    (assignment,) = plan(replace(upgraded, models=refreshed)).groups[VISION].assignments
    assert [part.model for part in assignment.members] == ["a", "b"]


def test_who_joins_leaves_the_servers_of_its_own() -> None:
    alone = model("b")
    snapshot = world([t4("n")], [member("a"), alone])
    (own,) = plan(snapshot).models["ns", "b"].assignments
    mine: GPUSlice = bound(snapshot, ("ns", "b"), own, None, minute=1, started=True)
    joined = replace(
        snapshot, models={("ns", "a"): member("a"), ("ns", "b"): member("b")}, slices={mine.metadata.key: mine}
    )
    its = plan(joined).models["ns", "b"]
    assert its.releases == (mine.metadata.name,)
    assert [move.cause for move in its.moves] == ["the model joined group vision"]
    mismatched = replace(joined, models={**joined.models, ("ns", "b"): member("b", replicas=2)})
    assert plan(mismatched).models["ns", "b"].releases == ()


@pytest.mark.parametrize(
    ("serving", "sentence"),
    [
        ({"network": "HostPort"}, "with port 8000 in use"),
        ({"resources": {"cpu": "3"}}, "with 2 cores free of 3 needed"),
    ],
)
def test_what_a_shared_server_has_of_its_machine_is_nobody_elses(serving: dict[str, Any], sentence: str) -> None:
    snapshot = world([t4("n")], [member(name, memory="256Mi", serving=serving) for name in "ab"])
    snapshot = carried_out(snapshot, plan(snapshot))
    late = model("z", created=999, serving=serving)
    found = plan(replace(snapshot, models={**snapshot.models, ("ns", "z"): late})).models["ns", "z"]
    assert found.message == f"1 of 1 waiting: 1 node: 1 {sentence}"


def test_the_same_group_of_another_namespace_is_another() -> None:
    made = plan(world([t4("n")], [member("a"), member("b", namespace="other")]))
    assert set(made.groups) == {("ns", "vision"), ("other", "vision")}


def test_a_groups_slice_never_has_the_name_of_a_models() -> None:
    named = member("vision")
    made = plan(world([t4("n")], [named, model("vision", namespace="other")]))
    (shared,), (own,) = made.groups[VISION].assignments, made.models["other", "vision"].assignments
    assert shared.slice != own.slice


def test_why_not_is_asked_for_the_whole_group() -> None:
    snapshot = world([t4("n", shares=4)], [member("a"), member("b", memory="3Gi")])
    (refused,) = why_not(snapshot, ("ns", "a"))
    assert "needed" in refused[1].message
