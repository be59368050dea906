"""Placement by example: where replicas go, what stays, what goes, and what a user is told."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import (
    apply,
    edge,
    granted,
    model,
    moment,
    node,
    pod,
    reservation,
    sure,
    t4,
    world,
)

from littoral.api.gpuslice import GPUSliceStatus
from littoral.api.group import ANNOTATION_ASKED
from littoral.api.workload import ContainerFacts, NodeFacts, Taint
from littoral.placement.plan import ModelPlan, SlicePlan, plan, why_not
from littoral.placement.replicas import slice_name
from littoral.placement.snapshot import Snapshot

KEY = ("ns", "m")


def the(snapshot: Snapshot, name: str = "m") -> ModelPlan:
    return plan(snapshot).models["ns", name]


def places(found: ModelPlan) -> list[tuple[str, str]]:
    return [(a.node, a.device) for a in found.assignments]


def settled(*args: Any, **kwargs: Any) -> Snapshot:
    """A world in which what was planned has come up."""
    snapshot = world(*args, **kwargs)
    return apply(snapshot, plan(snapshot))


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


REFUSALS: dict[str, tuple[list[NodeFacts], dict[str, Any], dict[str, Any], str, str]] = {
    "no node": ([], {}, {}, "NoNodes", "there is no EdgeNode: label a Node with littoral.dev/pool to make it one"),
    "pool": ([t4("a")], {"pools": ["line3"]}, {}, "OtherPool", "1 node: 1 in other pools"),
    "selector": (
        [t4("a")],
        {"nodeSelector": {"rack": "7"}},
        {},
        "SelectorMismatch",
        "1 node: 1 without the labels of nodeSelector",
    ),
    "offline": ([t4("a", ready="Unknown")], {}, {}, "Offline", "1 node: 1 offline"),
    "cordoned": ([t4("a", unschedulable=True)], {}, {}, "Cordoned", "1 node: 1 cordoned"),
    "cordoned by its EdgeNode": ([t4("a")], {}, {"cordoned": True}, "Cordoned", "1 node: 1 cordoned"),
    "not ready": ([t4("a", ready="False")], {}, {}, "NotReady", "1 node: 1 not ready"),
    "tainted": (
        [t4("a", taints=(Taint("line", "NoSchedule", "3"),))],
        {},
        {},
        "Tainted",
        "1 node: 1 with the taint line=3:NoSchedule",
    ),
    "architecture": (
        [node("a", resources={"nvidia.com/gpu": 1}, labels={"littoral.dev/profile": "jetson-orin-nx-16gb"})],
        {},
        {},
        "OtherArchitecture",
        "1 node: 1 of amd64, not the arm64 of jetson-orin-nx-16gb",
    ),
    "variant": (
        [t4("a")],
        {"accelerators": ["ascend-310p"]},
        {},
        "NoVariant",
        "1 node: 1 without a variant for emulated-t4",
    ),
    "image": (
        [node("a", resources={"example.com/npu": 1}, labels={"littoral.dev/profile": "imageless"})],
        {},
        {},
        "NoImage",
        "1 node: 1 whose imageless has no Triton image: nobody builds one",
    ),
    "backend": (
        [t4("a")],
        {"variants": [{"name": "x", "accelerators": ["t4"], "format": "om"}]},
        {},
        "NoBackend",
        "1 node: 1 whose emulated-t4 has no Triton backend for om",
    ),
    "isolation": (
        [t4("a")],
        {"isolation": "Hard"},
        {},
        "InsufficientIsolation",
        "1 node: 1 whose emulated-t4 (counted) has isolation None, not Hard",
    ),
    "share": (
        [t4("a")],
        {"memory": "3Gi"},
        {},
        "ShareTooSmall",
        "1 node: 1 whose emulated-t4 is cut into 4 shares of 1Gi, 3.1Gi needed",
    ),
    "memory": (
        [node("a", memory=1024), node("b", memory=2048), node("c", ready="Unknown")],
        {"accelerators": ["cpu"], "memory": "3Gi"},
        {},
        "InsufficientMemory",
        "3 nodes: 1 offline, 2 with 2Gi free of 3.1Gi needed at best",
    ),
    "compute": (
        [node("a")],
        {"accelerators": ["cpu"], "compute": 60, "replicas": 2},
        {},
        "InsufficientCompute",
        "1 node: 1 with 40% compute free of 60% needed",
    ),
    "capacity": (
        [replace(t4("a"), resources={"nvidia.com/gpu": 0})],
        {},
        {},
        "NoCapacity",
        "1 node: 1 without usable nvidia.com/gpu",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_sentence_a_user_reads_when_a_model_waits(case: str) -> None:
    nodes, wants, spec, reason, sentence = REFUSALS[case]
    snapshot = world(nodes, [model("m", **wants)], edges=[edge(each.name, **spec) for each in nodes if spec])
    found = the(snapshot)
    assert found.waiting == 1
    assert (found.reason, found.message) == (reason, f"1 of {found.wanted} waiting: {sentence}")
    assert {refusal.reason for _, refusal in why_not(snapshot, KEY)} >= ({reason} if nodes else set())


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


class TestWhatStays:
    def test_nothing_moves_when_nothing_changed(self) -> None:
        snapshot = settled([t4("a"), t4("b")], [model("m", replicas=3)])
        found = the(snapshot)
        assert all(a.target is a.current and not a.blocked for a in found.assignments)
        assert found.releases == found.held == ()

    @pytest.mark.parametrize(
        "change",
        [
            {"unschedulable": True},
            {"taints": (Taint("x", "NoExecute"),)},
            {"ready": "False"},
            {"resources": {}},
            {"labels": {"nvidia.com/gpu.product": "Emulated-T4", "nvidia.com/gpu.replicas": "2"}},
        ],
    )
    def test_a_cordon_a_taint_or_a_plugin_restart_moves_nothing_that_is_bound(self, change: dict[str, Any]) -> None:
        snapshot = settled([t4("a"), t4("b")], [model("m", replicas=8)])
        before = the(snapshot)
        after = the(replace(snapshot, nodes={**snapshot.nodes, "a": replace(snapshot.nodes["a"], **change)}))
        assert (places(after), after.releases) == (places(before), ())
        assert not any(assignment.blocked for assignment in after.assignments)

    def test_another_catalogue_changes_no_slice(self) -> None:
        snapshot = settled([t4("a")], [model("m")])
        dearer = snapshot.catalogue.profiles["emulated-t4"].model_copy(update={"overhead": "300Mi"})
        profiles = {**snapshot.catalogue.profiles, "emulated-t4": dearer}
        after = the(replace(snapshot, catalogue=type(snapshot.catalogue)(profiles)))
        (replica,) = after.assignments
        assert (replica.request.memory, replica.target) == ("640Mi", replica.current)

    def test_a_refresh_takes_the_present_catalogue(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"])])
        dearer = snapshot.catalogue.cpu.model_copy(update={"overhead": "100Mi"})
        meta = snapshot.models[KEY].metadata.model_copy(update={"annotations": {"littoral.dev/refresh": "1"}})
        refreshed = snapshot.models[KEY].model_copy(update={"metadata": meta})
        profiles = {**snapshot.catalogue.profiles, "cpu": dearer}
        after = the(replace(snapshot, catalogue=type(snapshot.catalogue)(profiles), models={KEY: refreshed}))
        (replica,) = after.assignments
        assert (sure(replica.current).memory, sure(replica.target).memory) == ("576Mi", "612Mi")

    def test_new_figures_are_granted_in_place_beside_the_old(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        grown = replace(snapshot, models={KEY: model("m", accelerators=["cpu"], memory="1Gi")})
        (replica,) = the(grown).assignments
        assert (sure(replica.current).memory, sure(replica.target).memory, replica.request.memory) == (
            "576Mi",
            "1088Mi",
            "1088Mi",
        )
        assert sure(replica.target).started_at == sure(replica.current).started_at
        assert plan(grown).nodes["a"].devices[-1].memory == 1088

    def test_smaller_figures_keep_the_old_charge_until_they_are_cut_over(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"], memory="1Gi")])
        shrunk = replace(snapshot, models={KEY: model("m", accelerators=["cpu"], memory="100Mi")})
        (replica,) = the(shrunk).assignments
        assert sure(replica.target).memory == "164Mi"
        assert plan(shrunk).nodes["a"].devices[-1].memory == 1088

    def test_new_figures_that_do_not_fit_leave_it_as_it_is(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        found = the(replace(snapshot, models={KEY: model("m", accelerators=["cpu"], memory="2Gi")}))
        (replica,) = found.assignments
        assert (replica.target, replica.node) == (None, "a")
        assert replica.blocked == "stays as it is: no room on a (with 1.2Gi free of 2.1Gi needed)"
        assert found.releases == ()

    def test_growing_replicas_come_before_new_ones(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        models = [model("m", accelerators=["cpu"], memory="1Gi"), model("older", accelerators=["cpu"], created=-1)]
        found = plan(replace(snapshot, models={each.metadata.key: each for each in models})).models
        assert sure(found["ns", "m"].assignments[0].target).memory == "1088Mi"
        assert found["ns", "older"].waiting == 1

    def test_an_earlier_variant_that_the_user_adds_is_taken_in_place(self) -> None:
        snapshot = settled([t4("a")], [model("m", variants=[{"name": "any", "accelerators": ["*"]}])])
        variants: list[dict[str, Any]] = [
            {"name": "best", "accelerators": ["t4"]},
            {"name": "any", "accelerators": ["*"]},
        ]
        (replica,) = the(replace(snapshot, models={KEY: model("m", variants=variants)})).assignments
        assert (replica.node, replica.variant) == ("a", "best")


class TestWhatGoes:
    def moved(self, snapshot: Snapshot, **changes: Any) -> ModelPlan:
        return the(replace(snapshot, models={KEY: model("m", **changes)}))

    def test_another_pool_replaces_a_replica_on_a_connected_node(self) -> None:
        nodes = [t4("a", labels={"littoral.dev/pool": "x"}), t4("b", labels={"littoral.dev/pool": "y"})]
        snapshot = settled(nodes, [model("m", pools=["x"])])
        found = self.moved(snapshot, pools=["y"])
        assert ([a.node for a in found.assignments], found.leaving) == (["b"], (slice_name("m", "a", 0),))

    def test_a_variant_that_is_gone_replaces_a_replica(self) -> None:
        snapshot = settled([t4("a")], [model("m", accelerators=["t4"])])
        found = self.moved(snapshot, accelerators=["cpu"])
        assert (places(found), found.leaving) == ([("a", "cpu")], (slice_name("m", "a", 0),))
        assert found.assignments[0].slice == slice_name("m", "a", 1)

    def test_scale_down_takes_what_never_started_then_the_youngest(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"])])
        grown = replace(snapshot, models={KEY: model("m", accelerators=["cpu"], replicas=2)})
        grown = apply(grown, plan(grown), minute=2)
        grown = replace(grown, models={KEY: model("m", accelerators=["cpu"], replicas=3)})
        grown = apply(grown, plan(grown), minute=0, started=False)
        names = [slice_name("m", "a", ordinal) for ordinal in range(3)]
        shrink = {n: self.moved(grown, accelerators=["cpu"], replicas=n).releases for n in (2, 1, 0)}
        assert shrink == {2: (names[2],), 1: tuple(sorted(names[1:])), 0: tuple(sorted(names))}

    def test_per_node_leaves_one_on_each_node(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"], replicas=3)])
        found = self.moved(snapshot, accelerators=["cpu"], mode="PerNode")
        assert (len(found.assignments), len(found.releases)) == (1, 2)

    def test_what_is_released_stays_charged_until_it_has_ended(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        models = [model("m", replicas=0), model("next", accelerators=["cpu"], memory="1Gi", created=1)]
        found = plan(replace(snapshot, models={each.metadata.key: each for each in models})).models
        assert len(found["ns", "m"].releases) == 1
        assert found["ns", "next"].waiting == 1


class TestOffline:
    def offline(self, snapshot: Snapshot, name: str = "a") -> Snapshot:
        return replace(snapshot, nodes={**snapshot.nodes, name: replace(snapshot.nodes[name], ready="Unknown")})

    def test_what_is_on_it_counts_as_placed(self) -> None:
        snapshot = self.offline(settled([t4("a"), t4("b")], [model("m", replicas=2)]))
        found = the(snapshot)
        assert ([a.node for a in found.assignments], found.waiting, found.releases) == (["a", "b"], 0, ())

    def test_a_node_that_is_gone_is_held_as_well(self) -> None:
        snapshot = settled([t4("a")], [model("m")])
        found = the(replace(snapshot, nodes={}))
        assert ([a.node for a in found.assignments], found.releases) == (["a"], ())

    def test_a_node_whose_edgenode_is_gone_too_is_retired(self) -> None:
        snapshot = settled([t4("a"), t4("b")], [model("m")])
        there = the(snapshot).assignments[0].node
        (other,) = {"a", "b"} - {there}
        nodes, edges = dict(snapshot.nodes), dict(snapshot.edge_nodes)
        del nodes[there], edges[there]
        found = the(replace(snapshot, nodes=nodes, edge_nodes=edges))
        assert ([a.node for a in found.assignments], len(found.releases)) == ([other], 1)

    def test_scale_down_releases_on_connected_nodes_and_owes_the_rest(self) -> None:
        snapshot = self.offline(settled([t4("a"), t4("b")], [model("m", replicas=2)]))
        one = the(replace(snapshot, models={KEY: model("m")}))
        assert (one.releases, one.held) == ((slice_name("m", "b", 0),), ())
        none = the(replace(snapshot, models={KEY: model("m", replicas=0)}))
        assert (none.releases, none.held) == ((slice_name("m", "b", 0),), (slice_name("m", "a", 0),))
        assert none.message == "0 of 0 placed; 1 to go when their nodes are back"

    def test_a_replica_in_the_wrong_pool_is_owed_and_not_replaced(self) -> None:
        nodes = [t4("a", labels={"littoral.dev/pool": "x"}), t4("b", labels={"littoral.dev/pool": "y"})]
        snapshot = self.offline(settled(nodes, [model("m", pools=["x"])]))
        found = the(replace(snapshot, models={KEY: model("m", pools=["y"])}))
        assert (found.assignments, found.releases, found.held) == ((), (), (slice_name("m", "a", 0),))
        assert found.waiting == 0

    def test_what_never_reached_it_is_placed_elsewhere(self) -> None:
        # Bound, and then the node went before anything was made of it.
        snapshot = settled([t4("a", labels={"littoral.dev/pool": "x"}), t4("b")], [model("m", pools=["x"])])
        bare = self.offline(replace(snapshot, pods={}, deployments={}))
        unstarted = {
            key: each.model_copy(
                update={"status": GPUSliceStatus(allocation=granted(each).model_copy(update={"started_at": None}))}
            )
            for key, each in bare.slices.items()
        }
        found = the(replace(bare, slices=unstarted, models={KEY: model("m", pools=["t4"])}))
        assert ([a.node for a in found.assignments], len(found.releases)) == (["b"], 1)

    def test_new_figures_wait(self) -> None:
        snapshot = self.offline(settled([node("a")], [model("m", accelerators=["cpu"])]))
        (replica,) = the(replace(snapshot, models={KEY: model("m", accelerators=["cpu"], memory="1Gi")})).assignments
        assert (replica.target, replica.blocked) == (None, "stays as it is: a is offline")


class TestLedger:
    def test_a_terminating_pod_is_charged_after_its_slice_is_gone(self) -> None:
        snapshot = settled([node("a", memory=1200)], [model("m", accelerators=["cpu"])])
        ending = {key: replace(each, deleting=True) for key, each in snapshot.pods.items()}
        later = replace(snapshot, slices={}, deployments={}, pods=ending, models={})
        later = replace(later, models={("ns", "n"): model("n", accelerators=["cpu"], memory="1Gi")})
        assert the(later, "n").message == "1 of 1 waiting: 1 node: 1 with 624Mi free of 1.1Gi needed"

    def test_a_pod_of_an_older_larger_grant_is_charged_in_place_of_the_slice(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"])])
        (key, mine), *_ = snapshot.pods.items()
        larger = replace(mine, grant=sure(mine.grant).model_copy(update={"memory": "2Gi"}))
        assert plan(replace(snapshot, pods={key: larger})).nodes["a"].devices[-1].memory == 2048

    def test_on_different_devices_both_are_charged(self) -> None:
        snapshot = settled([t4("a"), node("b")], [model("m", accelerators=["t4"])])
        (key, mine), *_ = snapshot.pods.items()
        elsewhere = sure(mine.grant).model_copy(
            update={"node": "b", "device": "cpu", "profile": "cpu", "resources": {}}
        )
        found = plan(replace(snapshot, pods={key: replace(mine, grant=elsewhere)})).nodes
        assert (found["a"].devices[0].memory, found["b"].devices[0].memory) == (1024, 1024)

    @pytest.mark.parametrize("witness", ["pods", "deployments"])
    def test_a_lost_status_is_adopted_from_the_workload(self, witness: str) -> None:
        snapshot = settled([t4("a"), t4("b")], [model("m", replicas=3)])
        lost = {key: each.model_copy(update={"status": GPUSliceStatus()}) for key, each in snapshot.slices.items()}
        other = {"pods", "deployments"} - {witness}
        gone: dict[str, Any] = {name: {} for name in other}
        blind = replace(snapshot, slices=lost, **gone)
        before, after = the(snapshot), the(blind)
        assert [a.current for a in after.assignments] == [None] * 3
        assert [a.target for a in after.assignments] == [
            sure(a.current).model_copy(update={"started_at": sure(a.target).started_at}) for a in before.assignments
        ]
        assert plan(blind).nodes == plan(snapshot).nodes

    def test_a_unified_device_and_the_cores_draw_on_one_account(self) -> None:
        orin = node("a", resources={"nvidia.com/gpu": 2}, labels={"littoral.dev/profile": "emulated-orin"})
        orin = replace(orin, labels={**orin.labels, "nvidia.com/gpu.replicas": "2"}, memory=2000)
        models = [model("m", memory="1000Mi"), model("n", accelerators=["cpu"], memory="900Mi", created=1)]
        found = plan(world([orin], models))
        assert found.models["ns", "m"].waiting == 0
        assert found.models["ns", "n"].message == "1 of 1 waiting: 1 node: 1 with 900Mi free of 964Mi needed"
        assert {load.memory for load in found.nodes["a"].devices} == {1100}

    def test_a_device_known_by_another_name_still_pays(self) -> None:
        snapshot = settled([t4("a")], [model("m", replicas=4)])
        second = t4("a", count=2)
        (load, _) = plan(replace(snapshot, nodes={"a": second})).nodes["a"].devices
        assert (load.device.id, load.units, load.device.units) == ("emulated-t4", 4, 8)


class TestOverCommitment:
    def twice(self, *, started: bool) -> Snapshot:
        """Two operators, each with half the picture, gave the same memory away."""
        one = settled([node("a", memory=1000)], [model("m", accelerators=["cpu"])])
        two = world([node("a", memory=1000)], [model("n", accelerators=["cpu"])])
        two = apply(two, plan(two), minute=2, started=started)
        merged: dict[str, Any] = {
            name: {**getattr(one, name), **getattr(two, name)} for name in ("slices", "pods", "deployments", "models")
        }
        return replace(one, **merged)

    def test_the_youngest_that_never_started_goes(self) -> None:
        found = plan(self.twice(started=False)).models
        assert found["ns", "n"].releases == (slice_name("n", "a", 0),)
        assert (found["ns", "n"].waiting, found["ns", "m"].releases) == (1, ())

    def test_what_started_stays_and_is_shown(self) -> None:
        found = plan(self.twice(started=True))
        assert [its.releases for its in found.models.values()] == [(), ()]
        assert found.nodes["a"].devices[-1].overcommitted

    def test_a_start_that_nobody_noted_shows_in_its_pods(self) -> None:
        snapshot = self.twice(started=False)
        key = ("ns", slice_name("n", "a", 0))
        seen = pod(key, granted(snapshot.slices[key]), fetch=ContainerFacts(running=True))
        assert plan(replace(snapshot, pods={**snapshot.pods, key: seen})).models["ns", "n"].releases == ()
        waiting = pod(
            key,
            granted(snapshot.slices[key]),
            phase="Pending",
            fetch=ContainerFacts(),
            server=ContainerFacts(),
        )
        assert plan(replace(snapshot, pods={**snapshot.pods, key: waiting})).models["ns", "n"].releases

    def test_an_offline_node_gives_nothing_up_that_may_run_there(self) -> None:
        snapshot = self.twice(started=False)
        cut = replace(snapshot, nodes={"a": replace(snapshot.nodes["a"], ready="Unknown")})
        assert [its.releases for its in plan(cut).models.values()] == [(), ()]

    def test_a_plugin_that_restarts_is_no_over_commitment(self) -> None:
        snapshot = world([t4("a")], [model("m", replicas=2)])
        starting = apply(snapshot, plan(snapshot), started=False)
        flapped = replace(starting, nodes={"a": replace(starting.nodes["a"], resources={"nvidia.com/gpu": 0})})
        assert the(flapped).releases == ()


class TestReservations:
    def test_is_bound_before_newcomers_and_kept(self) -> None:
        snapshot = world([t4("a", shares=1)], [model("m")], [reservation("mine", "2Gi", created=9)])
        found = plan(snapshot)
        mine = found.slices["ns", "mine"]
        assert (mine.node, mine.device, mine.reason, sure(mine.allocation).memory) == (
            "a",
            "emulated-t4-0",
            "Bound",
            "4Gi",
        )
        assert found.models["ns", "m"].waiting == 1
        again = plan(apply(snapshot, found))
        assert again.slices == found.slices

    def test_waits_with_a_reason(self) -> None:
        found = plan(world([t4("a")], slices=[reservation("mine", "2Gi")])).slices["ns", "mine"]
        assert (found.allocation, found.reason) == (None, "ShareTooSmall")

    def test_has_no_server_and_so_no_overhead(self) -> None:
        found = plan(world([node("a")], slices=[reservation("mine", "1Gi", accelerators=["cpu"])]))
        assert sure(found.slices["ns", "mine"].allocation).memory == "1Gi"

    def test_grows_in_place_or_says_why_not(self) -> None:
        snapshot = world([node("a", memory=2048)], slices=[reservation("mine", "1Gi", accelerators=["cpu"])])
        bound = apply(snapshot, plan(snapshot))

        def ask(memory: str) -> SlicePlan:
            spec = bound.slices["ns", "mine"].spec.model_copy(update={"memory": memory})
            slice_ = bound.slices["ns", "mine"].model_copy(update={"spec": spec})
            return plan(replace(bound, slices={("ns", "mine"): slice_})).slices["ns", "mine"]

        assert (sure(ask("2Gi").allocation).memory, sure(ask("512Mi").allocation).memory) == ("2Gi", "512Mi")
        assert (sure(ask("3Gi").allocation).memory, ask("3Gi").reason) == ("1Gi", "InsufficientMemory")
        assert ask("3Gi").message == "keeps 1Gi as before: no room on a (with 2Gi free of 3Gi needed)"


def test_the_note_on_a_slice_names_its_variant() -> None:
    snapshot = settled([t4("a")], [model("m")])
    ((_, slice_),) = snapshot.slices.items()
    assert slice_.metadata.annotations[ANNOTATION_ASKED].startswith("any/")
