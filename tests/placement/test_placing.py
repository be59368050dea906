"""Placement by example: where new replicas go."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import bound, edge, model, moment, node, places, reservation, settled, sure, t4, the, world

from littoral.api.group import ANNOTATION_ASKED
from littoral.api.workload import NodeFacts, Taint
from littoral.placement.plan import plan
from littoral.placement.replicas import slice_name

KEY = ("ns", "m")


class TestNewReplicas:
    def test_takes_the_first_variant_that_the_device_can_serve_and_says_so(self) -> None:
        variants: list[dict[str, Any]] = [
            {"name": "plan", "accelerators": ["t4"], "format": "tensorrt_plan"},
            {"name": "script", "accelerators": ["t4"], "slice": {"memory": "256Mi"}},
            {"name": "plain", "accelerators": ["cpu"]},
        ]
        found = the(world([t4("a")], [model("m", variants=variants)]))
        (replica,) = found.assignments
        assert (replica.variant, replica.why) == ("script", "second variant for emulated-t4 (family t4)")
        assert replica.request.memory == "384Mi"  # 256Mi, and the server's overhead of 128Mi once
        assert sure(replica.target).memory == "1Gi"  # a share of 4Gi cut in four
        assert sure(replica.target).resources == {"nvidia.com/gpu": "1"}
        assert (found.wanted, found.waiting, found.reason) == (1, 0, "Placed")

    def test_each_node_takes_its_own_variant(self) -> None:
        variants: list[dict[str, Any]] = [
            {"name": "small", "accelerators": ["jetson-orin"]},
            {"name": "large", "accelerators": ["t4"]},
        ]
        orin = node("orin", resources={"nvidia.com/gpu": 1}, labels={"littoral.dev/profile": "emulated-orin"})
        found = the(world([t4("a"), orin], [model("m", variants=variants, mode="PerNode")]))
        assert [(a.node, a.variant) for a in found.assignments] == [("a", "large"), ("orin", "small")]

    def test_spreads_a_model_before_it_packs(self) -> None:
        found = the(world([t4("a"), t4("b")], [model("m", replicas=2)]))
        assert [a.node for a in found.assignments] == ["a", "b"]

    def test_packs_different_models_on_the_fullest_node_that_has_room(self) -> None:
        snapshot = settled([t4("a"), t4("b")], [model("first", pools=["t4"], nodeSelector={})])
        grown = replace(snapshot, models={**snapshot.models, KEY: model("m", created=5)})
        assert places(the(grown)) == places(the(grown, "first"))

    def test_names_a_slice_after_its_node_and_ordinal(self) -> None:
        found = the(world([t4("a")], [model("m", replicas=2)]))
        assert {a.slice for a in found.assignments} == {slice_name("m", "a", 0), slice_name("m", "a", 1)}
        assert slice_name("m", "a", 0) == "m-d7e98967"

    def test_finishes_on_the_node_for_which_a_slice_was_made_already(self) -> None:
        # The operator died between the slice's creation and its bind: node b has the slice, node a would be packed.
        snapshot = world([t4("a"), t4("b")], [model("m")])
        slice_ = reservation(slice_name("m", "b", 0), "640Mi")
        meta = slice_.metadata.model_copy(
            update={
                "owner_references": ({"kind": "InferenceModel", "name": "m", "controller": True},),
                "labels": {"littoral.dev/node": "b"},
            }
        )
        orphan = slice_.model_copy(update={"metadata": meta})
        found = the(replace(snapshot, slices={meta.key: orphan}))
        assert [(a.slice, a.node) for a in found.assignments] == [(meta.name, "b")]
        assert found.releases == ()

    def test_deletes_a_slice_that_never_got_a_place_and_is_not_wanted(self) -> None:
        snapshot = world([t4("a")], [model("m", replicas=0)])
        slice_ = reservation(slice_name("m", "a", 0), "640Mi")
        owner = ({"kind": "InferenceModel", "name": "m", "controller": True},)
        meta = slice_.metadata.model_copy(update={"owner_references": owner})
        found = the(replace(snapshot, slices={meta.key: slice_.model_copy(update={"metadata": meta})}))
        assert found.releases == (meta.name,)
        assert [move.cause for move in found.moves] == ["it never got a place and is not needed"]

    def test_older_models_come_first(self) -> None:
        models = [model("young", compute=60, created=2, accelerators=["cpu"])]
        models.append(model("old", compute=60, created=1, accelerators=["cpu"]))
        found = plan(world([node("a")], models)).models
        assert (found["ns", "old"].waiting, found["ns", "young"].waiting) == (0, 1)

    def test_per_node_ignores_replicas_and_counts_the_nodes_that_fit(self) -> None:
        nodes = [t4("a"), t4("b"), t4("full"), node("plain"), t4("gone", ready="Unknown")]
        filler = model("filler", memory="800Mi", replicas=4, nodeSelector={"kubernetes.io/hostname": "full"})
        nodes[2] = replace(nodes[2], labels={**nodes[2].labels, "kubernetes.io/hostname": "full"})
        found = the(world(nodes, [filler, model("m", replicas=7, mode="PerNode", created=1)]))
        assert [a.node for a in found.assignments] == ["a", "b"]
        assert (found.wanted, found.waiting, found.reason) == (3, 1, "NoUnitLeft")

    def test_a_model_that_is_being_deleted_or_cannot_be_read_gets_no_plan(self) -> None:
        going = model("m")
        meta = going.metadata.model_copy(update={"deletion_timestamp": moment(1)})
        snapshot = world([t4("a")], [going.model_copy(update={"metadata": meta}), model("broken")])
        assert plan(replace(snapshot, refused={("ns", "broken"): "spec.variants: required"})).models == {}


@pytest.mark.parametrize(
    ("taint", "toleration"),
    [
        (Taint("line", "NoSchedule", "3"), {"key": "line", "value": "3"}),
        (Taint("line", "NoExecute", "3"), {"key": "line", "operator": "Exists"}),
        (Taint("line", "NoExecute"), {"operator": "Exists"}),
        (Taint("line", "PreferNoSchedule"), None),
        (Taint("node.kubernetes.io/unreachable", "NoExecute"), None),
        (Taint("node.kubernetes.io/disk-pressure", "NoSchedule"), None),
    ],
)
def test_taints_that_do_not_keep_a_model_away(taint: Taint, toleration: dict[str, str] | None) -> None:
    found = the(world([t4("a", taints=(taint,))], [model("m", tolerations=[toleration] if toleration else [])]))
    assert found.waiting == 0


def test_the_note_on_a_slice_names_its_variant() -> None:
    snapshot = settled([t4("a")], [model("m")])
    ((_, slice_),) = snapshot.slices.items()
    assert slice_.metadata.annotations[ANNOTATION_ASKED].startswith("any/")


class TestSpread:
    ZONE = "topology.kubernetes.io/zone"

    def zoned(self, name: str, zone: str | None, **more: Any) -> NodeFacts:
        return node(name, labels={} if zone is None else {self.ZONE: zone}, **more)

    def nodes_of(self, nodes: list[NodeFacts], replicas: int, **placement: Any) -> list[str]:
        asked = model("m", accelerators=["cpu"], replicas=replicas, **placement)
        return [a.node for a in the(world(nodes, [asked])).assignments]

    def test_the_domain_with_the_fewest_comes_before_best_fit(self) -> None:
        nodes = [self.zoned("a", "1", memory=2000), self.zoned("b", "1", memory=2000), self.zoned("c", "2")]
        assert self.nodes_of(nodes, 2) == ["a", "b"]
        assert self.nodes_of(nodes, 2, spread=self.ZONE) == ["a", "c"]

    def test_within_a_domain_the_node_with_the_fewest(self) -> None:
        nodes = [self.zoned("a", "1", memory=9000), self.zoned("b", "1", memory=9000), self.zoned("c", "2")]
        assert self.nodes_of(nodes, 4, spread=self.ZONE) == ["a", "b", "c", "c"]

    def test_nodes_without_the_label_are_one_domain(self) -> None:
        nodes = [self.zoned("a", None), self.zoned("b", None), self.zoned("c", "2")]
        assert self.nodes_of(nodes, 2, spread=self.ZONE) == ["a", "c"]

    def test_a_variant_is_worth_more_than_spread(self) -> None:
        rack = t4("rack", labels={self.ZONE: "1"})
        variants: list[dict[str, Any]] = [
            {"name": "best", "accelerators": ["t4"]},
            {"name": "any", "accelerators": ["cpu"]},
        ]
        asked = model("m", replicas=2, variants=variants, spread=self.ZONE)
        assert places(the(world([rack, self.zoned("b", "2")], [asked]))) == [("rack", "emulated-t4-0")] * 2

    def test_the_replicas_that_are_there_count(self) -> None:
        nodes = [self.zoned("a", "1"), self.zoned("b", "1"), self.zoned("c", "2")]
        asked: dict[str, Any] = {"accelerators": ["cpu"], "spread": self.ZONE}
        snapshot = settled(nodes, [model("m", nodeSelector={self.ZONE: "1"}, **asked)])
        grown = replace(snapshot, models={KEY: model("m", replicas=2, **asked)})
        assert [a.node for a in the(grown).assignments] == ["a", "c"]


class TestPriority:
    CLASSES: Mapping[str, int] = {"urgent": 7, "idle": 1, "littoral-serving": 5}

    def contending(self, one: dict[str, Any], two: dict[str, Any]) -> list[str]:
        models = [
            model("one", accelerators=["cpu"], compute=60, created=1, **one),
            model("two", accelerators=["cpu"], compute=60, created=2, **two),
        ]
        found = plan(world([node("a")], models, priorities=self.CLASSES)).models
        return sorted(key[1] for key, its in found.items() if not its.waiting)

    @pytest.mark.parametrize(
        ("one", "two", "first"),
        [
            ({}, {}, "one"),
            ({}, {"priorityClassName": "urgent"}, "two"),
            ({"priorityClassName": "idle"}, {}, "two"),
            ({"priorityClassName": "urgent"}, {"priorityClassName": "urgent"}, "one"),
            ({"priorityClassName": "urgent"}, {"priorityClassName": "system-node-critical"}, "two"),
        ],
    )
    def test_the_higher_value_comes_first_then_age(self, one: dict[str, Any], two: dict[str, Any], first: str) -> None:
        assert self.contending(one, two) == [first]

    def test_nobody_is_preempted(self) -> None:
        snapshot = settled([node("a")], [model("idle", accelerators=["cpu"], compute=60)], priorities=self.CLASSES)
        urgent = model("m", accelerators=["cpu"], compute=60, priorityClassName="urgent")
        found = plan(replace(snapshot, models={**snapshot.models, KEY: urgent})).models
        assert (found[KEY].reason, found["ns", "idle"].waiting) == ("InsufficientCompute", 0)

    def test_a_class_that_is_not_there_is_waited_for(self) -> None:
        asked = model("m", accelerators=["cpu"], priorityClassName="urgent")
        found = the(world([node("a")], [asked]))
        assert (found.waiting, found.reason) == (1, "PriorityClassUnknown")
        assert found.message == (
            "1 of 1 waiting: there is no PriorityClass urgent, and pods that name it are refused: make it, or correct "
            "placement.priorityClassName"
        )
        assert the(world([node("a")], [asked], priorities=self.CLASSES)).waiting == 0

    def test_what_serves_stays_when_its_class_goes(self) -> None:
        asked = model("m", accelerators=["cpu"], priorityClassName="urgent")
        snapshot = settled([node("a")], [asked], priorities=self.CLASSES)
        assert len(the(replace(snapshot, priorities={})).assignments) == 1


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        ({}, True),
        ({"matchLabels": {"kubernetes.io/metadata.name": "ns"}}, True),
        ({"matchLabels": {"kubernetes.io/metadata.name": "other"}}, False),
        ({"matchLabels": {"team": "vision"}}, True),
        ({"matchLabels": {"team": "vision", "stage": "prod"}}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["audio", "vision"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["vision"]}]}, False),
        ({"matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["prod"]}]}, True),
        ({"matchExpressions": [{"key": "stage", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "stage", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_an_edgenode_says_which_namespaces_may_use_it(selector: dict[str, Any], allowed: bool) -> None:
    closed = edge("a", allowedNamespaces={"selector": selector})
    labels = {"kubernetes.io/metadata.name": "ns", "team": "vision"}
    snapshot = world([node("a")], [model("m", accelerators=["cpu"])], edges=[closed], namespaces={"ns": labels})
    assert bool(the(snapshot).assignments) is allowed


def test_of_a_namespace_that_nobody_knows_its_name_is_known() -> None:
    for name, waiting in (("ns", 0), ("other", 1)):
        closed = edge("a", allowedNamespaces={"selector": {"matchLabels": {"kubernetes.io/metadata.name": name}}})
        assert the(world([node("a")], [model("m", accelerators=["cpu"])], edges=[closed])).waiting == waiting


def test_a_reservation_is_kept_out_as_a_model_is() -> None:
    closed = edge("a", allowedNamespaces={"selector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}})
    snapshot = world([node("a")], slices=[reservation("mine", "1Gi", accelerators=["cpu"])], edges=[closed])
    assert plan(snapshot).slices["ns", "mine"].message == "1 node: 1 closed to its namespace"


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "as required": ({"requires": {"jetpack": ">=6,<7"}}, {"stack": {"jetpack": "6.2"}}, "first"),
    "what refines it": ({"requires": {"jetpack": "6.2"}}, {"stack": {"jetpack": "6.2.1"}}, "first"),
    "older than required": ({"requires": {"jetpack": ">=6"}}, {"stack": {"jetpack": "5.1"}}, "second"),
    "quick enough": ({"latency": {"p99": "30ms", "atCompute": 40}}, {}, "first"),
    "quick enough with less": ({"latency": {"p99": "12ms", "atCompute": 10}}, {}, "first"),
    "too slow": ({"latency": {"p99": "31ms", "atCompute": 40}}, {}, "second"),
    "measured with more": ({"latency": {"p99": "12ms", "atCompute": 41}}, {}, "second"),
    "not measured": ({}, {}, "second"),
}


@pytest.mark.parametrize("case", VARIANTS)
def test_the_first_variant_that_meets_what_is_asked(case: str) -> None:
    its, spec, chosen = VARIANTS[case]
    latency = {"p99": "1ms", "atCompute": 1}
    first = {"name": "first", "accelerators": ["jetson-orin"], **its}
    if "requires" in its:
        first["latency"] = latency
    variants = [first, {"name": "second", "accelerators": ["jetson-orin"], "latency": latency}]
    nano = node("a", labels={"littoral.dev/profile": "emulated-nano"})
    asked = model("m", variants=variants, compute=40, maxLatency="30ms")
    (replica,) = the(world([nano], [asked], edges=[edge("a", **spec)])).assignments
    assert replica.variant == chosen


def test_of_a_users_own_image_only_the_machine_is_judged() -> None:
    variants = [{"name": "x", "accelerators": ["t4"], "requires": {"tensorrt": "10.3"}}]
    assert the(world([t4("a")], [model("m", variants=variants, serving={"image": "mine"})])).waiting == 0


def test_a_whole_device_is_all_of_its_compute() -> None:
    measured = {"name": "x", "accelerators": ["t4"], "latency": {"p99": "12ms", "atCompute": 100}}
    asked = model("m", variants=[measured], compute=25, maxLatency="30ms")
    assert the(world([t4("a", shares=1)], [asked])).waiting == 0
    assert the(world([t4("a", shares=4)], [asked])).reason == "LatencyUnproven"


def test_a_variant_built_for_it_runs_on_a_vnpu() -> None:
    om = {"name": "x", "accelerators": ["npu"], "format": "om", "virtualNPU": True}
    npu = node("a", labels={"littoral.dev/profile": "emulated-npu"}, resources={"example.com/chip-2c": 4})
    found = the(world([npu], [model("m", variants=[om], serving={"image": "mine"})]))
    assert sure(found.assignments[0].target).resources == {"example.com/chip-2c": "1"}
    whole = node("a", labels={"littoral.dev/profile": "emulated-npu"}, resources={"example.com/chip": 1})
    plain = {**om, "virtualNPU": False}
    assert the(world([whole], [model("m", variants=[plain], serving={"image": "mine"})])).waiting == 0


@pytest.mark.parametrize(
    ("shares", "at", "compute", "said"),
    [
        (4, 25, 25, "; its latency was measured at 25%, which counted does not hold it to"),
        (4, 10, 25, "; its latency was measured at 10%, which counted does not hold it to"),
        (1, 25, 25, "; its latency was measured at 25% and it has 100%"),
        (1, 100, 25, ""),
    ],
)
def test_a_latency_measured_at_another_share_is_no_secret(shares: int, at: int, compute: int, said: str) -> None:
    measured = {"name": "x", "accelerators": ["t4"], "latency": {"p99": "5ms", "atCompute": at}}
    asked = model("m", memory="100Mi", compute=compute, variants=[measured], maxLatency="30ms")
    (replica,) = the(world([t4("a", shares=shares)], [asked])).assignments
    assert replica.why == f"first variant for emulated-t4 (family t4){said}"


def test_a_model_for_each_node_that_is_half_placed_keeps_its_turn_among_those_of_its_age() -> None:
    """An operator died after some of its writes: what is left of the same plan must still fit."""
    models = [
        model("everywhere", memory="1Gi", mode="PerNode"),
        model("pair", memory="1Gi", replicas=2),
        model("single", memory="1Gi"),
    ]
    snapshot = world([t4(name, shares=2) for name in "abc"], models)
    (first, *_) = plan(snapshot).models["ns", "everywhere"].assignments
    begun = bound(snapshot, ("ns", "everywhere"), first, None, minute=1, started=True)
    after = plan(replace(snapshot, slices={begun.metadata.key: begun}))
    assert {key[1]: len(its.assignments) for key, its in after.models.items()} == {
        "everywhere": 3,
        "pair": 2,
        "single": 1,
    }
