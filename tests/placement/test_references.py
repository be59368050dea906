"""spec.sliceRef: a model on a slice that its user reserved."""

from dataclasses import replace
from typing import Any

import pytest
from tests.placement.world import apply, edge, granted, model, moment, node, pod, reservation, settled, sure, the, world

from littoral.api.gpuslice import GPUSlice
from littoral.api.workload import ContainerFacts
from littoral.placement.plan import plan
from littoral.placement.snapshot import Snapshot

KEY = ("ns", "m")
MINE = ("ns", "mine")


def reserved(memory: str = "1Gi", **spec: Any) -> GPUSlice:
    return reservation("mine", memory, accelerators=["cpu"], **spec)


def naming(**more: Any) -> Snapshot:
    """A reservation that is bound on the machine `a`, and a model that names it."""
    snapshot = world([node("a")], slices=[reserved()])
    bound = apply(snapshot, plan(snapshot))
    return replace(bound, models={KEY: model("m", accelerators=["cpu"], slice_ref="mine", **more)})


def test_its_one_replica_is_on_the_slice_it_names() -> None:
    snapshot = naming()
    (replica,) = the(snapshot).assignments
    slice_ = snapshot.slices[MINE]
    assert (replica.slice, replica.node, replica.device, replica.variant) == ("mine", "a", "cpu", "any")
    assert (replica.request, replica.asked) == (slice_.spec, "")
    assert replica.current == replica.target == slice_.status.allocation


def test_nothing_is_charged_twice() -> None:
    snapshot = naming()
    before = plan(replace(snapshot, models={})).nodes["a"].devices
    serving = apply(snapshot, plan(snapshot))
    assert plan(snapshot).nodes["a"].devices == before
    assert plan(serving).nodes["a"].devices == before


def test_the_slice_and_the_model_may_come_together() -> None:
    snapshot = world([node("a")], [model("m", accelerators=["cpu"], slice_ref="mine")], [reserved()])
    (replica,) = the(snapshot).assignments
    assert (replica.slice, replica.current) == ("mine", None)
    assert sure(replica.target).memory == "1Gi"


REFUSALS: dict[str, tuple[dict[str, Any], GPUSlice | None, str, str]] = {
    "no such slice": ({}, None, "SliceNotFound", "there is no GPUSlice mine in the namespace ns"),
    "not bound": (
        {},
        reserved("99Gi"),
        "SliceNotBound",
        "GPUSlice mine is not bound: 1 node: 1 with 16Gi free of 99Gi needed",
    ),
    "too small": (
        {"memory": "1Gi"},
        reserved(),
        "SliceTooSmall",
        "GPUSlice mine grants 1Gi, 1.1Gi needed by variant any, Triton's own memory included",
    ),
    "too little compute": (
        {"compute": 40},
        reserved(compute=25),
        "SliceTooSmall",
        "GPUSlice mine grants 25% compute, 40% needed by variant any",
    ),
    "too weak": ({"isolation": "Hard"}, reserved(), "SliceTooSmall", "GPUSlice mine has isolation None, not Hard"),
    "another pool": (
        {"pools": ["line3"]},
        reserved(),
        "SliceElsewhere",
        "GPUSlice mine lies on a, a node in other pools",
    ),
    "other labels": (
        {"nodeSelector": {"rack": "7"}},
        reserved(),
        "SliceElsewhere",
        "GPUSlice mine lies on a, a node without the labels of nodeSelector",
    ),
    "no variant": (
        {"accelerators": ["t4"]},
        reserved(),
        "NoVariant",
        "GPUSlice mine lies on a, a node without a variant for cpu",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_sentence_a_user_reads_when_the_slice_will_not_do(case: str) -> None:
    wants, slice_, reason, sentence = REFUSALS[case]
    asked = model("m", slice_ref="mine", **{"accelerators": ["cpu"], **wants})
    found = the(world([node("a")], [asked], [] if slice_ is None else [slice_]))
    assert (found.assignments, found.waiting, found.reason) == ((), 1, reason)
    assert found.message == f"1 of 1 waiting: {sentence}"


def test_a_slice_that_somebody_deletes_is_no_place() -> None:
    snapshot = naming()
    meta = snapshot.slices[MINE].metadata.model_copy(update={"deletion_timestamp": moment(1)})
    going = {MINE: snapshot.slices[MINE].model_copy(update={"metadata": meta})}
    found = the(replace(snapshot, slices=going))
    assert found.reason == "SliceNotFound"
    assert found.message == "1 of 1 waiting: somebody deletes the GPUSlice mine in the namespace ns"


def test_a_node_that_takes_nothing_new_takes_no_server_either() -> None:
    cordoned = replace(naming(), edge_nodes={"a": edge("a", cordoned=True)})
    assert the(cordoned).message == "1 of 1 waiting: GPUSlice mine lies on a, a node cordoned"
    serving = apply(naming(), plan(naming()))
    assert the(replace(serving, edge_nodes={"a": edge("a", cordoned=True)})).waiting == 0


def test_the_older_model_has_the_slice_unless_another_serves_there() -> None:
    snapshot = naming(created=5)
    older = model("older", accelerators=["cpu"], slice_ref="mine", created=1)
    both = replace(snapshot, models={**snapshot.models, older.metadata.key: older})
    assert the(both).message == "1 of 1 waiting: GPUSlice mine serves the InferenceModel older"
    serving = apply(snapshot, plan(snapshot))
    both = replace(serving, models={**serving.models, older.metadata.key: older})
    assert the(both).waiting == 0
    assert the(both, "older").reason == "SliceInUse"


def test_a_replicas_slice_is_nobodys_to_name() -> None:
    snapshot = settled([node("a")], [model("other", accelerators=["cpu"])])
    (theirs,) = snapshot.slices
    found = the(replace(snapshot, models={**snapshot.models, KEY: model("m", slice_ref=theirs[1])}))
    assert found.message.endswith(f"GPUSlice {theirs[1]} is a replica's of the InferenceModel other")


def test_what_ends_on_the_slice_ends_first() -> None:
    snapshot = naming()
    late = pod(MINE, granted(snapshot.slices[MINE]), deleting=True, model="gone")
    found = the(replace(snapshot, pods={MINE: late}))
    assert found.message.endswith("GPUSlice mine is not free yet: an earlier server's pod is still ending")


class TestLeaving:
    def serving(self) -> Snapshot:
        snapshot = naming()
        return apply(snapshot, plan(snapshot))

    def test_without_the_reference_the_server_leaves_when_another_answers(self) -> None:
        snapshot = replace(self.serving(), models={KEY: model("m", accelerators=["cpu"])})
        found = the(snapshot)
        assert (len(found.assignments), found.leaving, found.vacated, found.releases) == (1, ("mine",), (), ())
        after = the(apply(snapshot, plan(snapshot)))
        assert (after.leaving, after.vacated, after.releases) == ((), ("mine",), ())
        assert [(move.slice, move.cause) for move in after.moves] == [("mine", "spec.sliceRef names it no longer")]
        snapshot = apply(snapshot, plan(snapshot))
        snapshot = apply(snapshot, plan(snapshot))
        assert MINE in snapshot.slices
        assert the(snapshot).vacated == ()

    def test_a_server_that_never_answered_leaves_at_once(self) -> None:
        snapshot = self.serving()
        starting = {key: replace(each, server=ContainerFacts()) for key, each in snapshot.pods.items()}
        found = the(replace(snapshot, pods=starting, models={KEY: model("m", accelerators=["cpu"])}))
        assert (found.leaving, found.vacated) == ((), ("mine",))

    def test_on_an_offline_node_it_is_owed(self) -> None:
        snapshot = self.serving()
        cut = {"a": replace(snapshot.nodes["a"], ready="Unknown")}
        found = the(replace(snapshot, nodes=cut, models={KEY: model("m", accelerators=["cpu"])}))
        assert (found.held, found.vacated, found.waiting) == (("mine",), (), 0)

    def test_what_no_longer_fits_serves_on_and_says_why(self) -> None:
        grown = model("m", accelerators=["cpu"], slice_ref="mine", memory="2Gi")
        found = the(replace(self.serving(), models={KEY: grown}))
        assert (found.reason, found.leaving, found.vacated) == ("SliceTooSmall", ("mine",), ())

    def test_slices_of_its_own_leave_when_it_answers_on_the_one_it_names(self) -> None:
        snapshot = settled([node("a")], [model("m", accelerators=["cpu"])], [reserved()])
        (own,) = (name for name in snapshot.slices if name != MINE)
        snapshot = replace(snapshot, models={KEY: model("m", accelerators=["cpu"], slice_ref="mine")})
        found = the(snapshot)
        assert ([a.slice for a in found.assignments], found.leaving) == (["mine"], (own[1],))
        after = the(apply(snapshot, plan(snapshot)))
        assert (after.leaving, after.releases) == ((), (own[1],))

    def test_into_a_group_it_goes_as_all_that_the_model_had_before(self) -> None:
        snapshot = self.serving()
        own = snapshot.models[KEY].spec
        spec = own.model_copy(update={"slice_ref": None, "server": own.server.model_copy(update={"group": "vision"})})
        joined = {KEY: snapshot.models[KEY].model_copy(update={"spec": spec})}
        found = the(replace(snapshot, models=joined))
        assert (found.vacated, [move.slice for move in found.moves]) == (("mine",), ["mine"])

    @pytest.mark.parametrize(("ready", "held", "vacated"), [("True", (), ("mine",)), ("Unknown", ("mine",), ())])
    def test_it_goes_though_somebody_has_deleted_the_slice_under_it(
        self, ready: Any, held: tuple[str, ...], vacated: tuple[str, ...]
    ) -> None:
        snapshot = self.serving()
        alone = {MINE: replace(snapshot.deployments[MINE], models=True)}
        snapshot = replace(
            snapshot, slices={}, deployments=alone, nodes={"a": replace(snapshot.nodes["a"], ready=ready)}
        )
        assert the(snapshot).message.endswith("there is no GPUSlice mine in the namespace ns")
        assert the(snapshot).vacated == ()  # what serves goes on while its model wants it there
        unwanted = replace(snapshot, models={KEY: model("m", accelerators=["cpu"], slice_ref="mine", replicas=0)})
        assert (the(unwanted).held, the(unwanted).leaving, the(unwanted).vacated) == (held, (), vacated)

    def test_a_model_that_is_no_more_leaves_the_slice_as_it_was(self) -> None:
        before = self.serving()
        found = plan(replace(before, models={}))
        assert found.slices[MINE].allocation == before.slices[MINE].status.allocation


def test_other_figures_of_the_slice_are_the_models_to_take_over() -> None:
    snapshot = naming()
    snapshot = apply(snapshot, plan(snapshot))
    old = snapshot.slices[MINE]
    larger = old.model_copy(update={"spec": old.spec.model_copy(update={"memory": "2Gi"})})
    (replica,) = the(replace(snapshot, slices={MINE: larger})).assignments
    assert (sure(replica.current).memory, sure(replica.target).memory, replica.request.memory) == ("1Gi", "2Gi", "2Gi")


def test_the_servers_ports_and_memory_are_asked_of_the_slices_node() -> None:
    host = {"network": "Host"}
    other = model("other", accelerators=["cpu"], serving=host)
    snapshot = settled([node("a")], [other], [reserved()])
    asked = model("m", accelerators=["cpu"], slice_ref="mine", serving=host, created=1)
    found = the(replace(snapshot, models={**snapshot.models, KEY: asked}))
    assert found.message == "1 of 1 waiting: GPUSlice mine lies on a, a node with port 8000 in use"
