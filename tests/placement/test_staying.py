"""Placement by example: what stays where it is, and with which figures."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import (
    model,
    node,
    places,
    settled,
    sure,
    t4,
    the,
)

from littoral.api.workload import Taint
from littoral.placement.plan import plan

KEY = ("ns", "m")


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

    def test_a_cutover_that_was_cut_short_after_its_first_write_is_gone_on_with(self) -> None:
        """The spec is written before the allocation: with the one done, the other is still owed."""
        asked = model("m", accelerators=["cpu"], memory="2Gi")
        after = settled([node("a")], [asked])
        (new,) = after.slices.values()
        (old,) = settled([node("a")], [model("m", accelerators=["cpu"], memory="1Gi")]).slices.values()
        between = new.model_copy(update={"status": old.status})
        (replica,) = the(replace(after, slices={new.metadata.key: between})).assignments
        assert sure(replica.current).memory == sure(old.status.allocation).memory
        assert sure(replica.target).memory == sure(new.status.allocation).memory

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
