"""Placement by example: where new replicas go."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import (
    model,
    moment,
    node,
    places,
    reservation,
    settled,
    sure,
    t4,
    the,
    world,
)

from littoral.api.group import ANNOTATION_ASKED
from littoral.api.workload import Taint
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
