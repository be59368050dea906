"""The rules of an update as tables, and a simulated model over several nodes that must obey them whatever happens."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.triton.rollouts import BAD_DIGEST, OFFLINE, Blip, World, allocation, decided, plain, replica, steps

from littoral.api.workload import ContainerFacts
from littoral.triton.replica import Replica

CASES: dict[str, tuple[list[Replica], dict[str, Any], list[tuple[str, str, str, str]]]] = {
    "nothing to do": ([replica("a", wanted="A")], {}, []),
    "the first replica has no gate": (
        [replica("a", deployment=None, pods=()), replica("b", deployment=None, pods=())],
        {"paused": True},
        [("Create", "a", "B", ""), ("Create", "b", "B", "")],
    ),
    "nothing is created on an offline node": ([replica("a", deployment=None, pods=(), **OFFLINE)], {}, []),
    "nothing is created before its slice is bound": (
        [replica("a", deployment=None, pods=(), allocation=None)],
        {},
        [],
    ),
    "a new replica starts on the last good revision when the wanted one was given up": (
        [replica("a", deployment=None, pods=())],
        {"failed": {"B": "bad"}, "fallback": {"B": "A"}},
        [("Create", "a", "A", "")],
    ),
    "a new replica waits when there is no good revision": (
        [replica("a", deployment=None, pods=())],
        {"failed": {"B": "bad"}},
        [],
    ),
    "by name, one at a time": ([replica("b"), replica("a")], {}, [("Update", "a", "B", "A")]),
    "what does not answer anyway goes first": (
        [replica("a"), replica("b", ready=False)],
        {},
        [("Update", "b", "B", "A")],
    ),
    "the next waits until the last answers": ([replica("a", "B", ready=False), replica("b")], {}, []),
    "and goes when it does": (
        [replica("a", "B", previous="A"), replica("b")],
        {},
        [("Settle", "a", "B", "B"), ("Update", "b", "B", "A")],
    ),
    "paused starts nothing": ([replica("a")], {"paused": True}, []),
    "paused still puts back": (
        [replica("a", "B", ready=False, previous="A")],
        {"paused": True, "failed": {"B": "bad"}},
        [("Revert", "a", "A", "A")],
    ),
    "an offline node is not touched": ([replica("a", **OFFLINE)], {}, []),
    "an offline node holds up nobody": ([replica("a", **OFFLINE), replica("b")], {}, [("Update", "b", "B", "A")]),
    "a node that reports itself not ready is passed over": (
        [replica("a", ready=False, node_ready=False), replica("b")],
        {},
        [("Update", "b", "B", "A")],
    ),
    "one that vanished while it was updated stops the update": (
        [replica("a", "B", ready=False, previous="A", **OFFLINE), replica("b")],
        {},
        [],
    ),
    "so does one that broke down while it was updated": (
        [replica("a", "B", ready=False, previous="A", updated=1.0, node_ready=False), replica("b")],
        {},
        [],
    ),
    "but not for another revision": (
        [replica("a", "B", ready=False, previous="A", wanted="C", **OFFLINE), replica("b", wanted="C")],
        {},
        [("Update", "b", "C", "A")],
    ),
    "an offline node's failed revision is not put back": (
        [replica("a", "B", ready=False, previous="A", **OFFLINE)],
        {"failed": {"B": "bad"}},
        [],
    ),
    "a failed revision stops the update on every kind of node": (
        [replica("a", wanted="B-t4"), replica("b", wanted="B-orin")],
        {"failed": {"B-t4": "bad"}},
        [],
    ),
    "what failed too is no way back": (
        [replica("a", "C", ready=False, wanted="C", previous="B")],
        {"failed": {"C": "bad", "B": "bad"}},
        [],
    ),
    "a new spec goes straight over the failed one, and back to what answered": (
        [replica("a", "B", ready=False, previous="A", wanted="C")],
        {"failed": {"B": "bad"}},
        [("Update", "a", "C", "A")],
    ),
    "figures that wait leave the replica as it is": ([replica("a", wanted="A", target="2Gi", blocked="full")], {}, []),
    "other figures are an update": ([replica("a", wanted="A", target="2Gi")], {}, [("Update", "a", "A", "A")]),
    "while a Deployment is brought in line with its slice nobody else is taken away": (
        [replica("a"), replica("b", wanted="A", runs="512Mi")],
        {},
        [],
    ),
    "where nothing ever answered all move at once": (
        [
            replica("a", ready=False, started=False),
            replica("b", ready=False, started=False),
            replica("c", "B", ready=False),
        ],
        {},
        [("Update", "a", "B", ""), ("Update", "b", "B", "")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_rule_gives_its_steps(case: str) -> None:
    replicas, arguments, expected = CASES[case]
    assert steps(decided(*replicas, **arguments)) == expected


FAILURES: dict[str, tuple[Replica, tuple[str, str] | None, float | None]] = {
    "in time": (replica("a", "B", ready=False, previous="A", updated=100.0), None, 500.0),
    "timed out": (replica("a", "B", ready=False, previous="A", updated=600.0), ("B", "Loading"), None),
    "a fetch that fails for good": (
        replica("a", "B", ready=False, previous="A", updated=5.0, fetch=BAD_DIGEST),
        ("B", "DigestMismatch"),
        None,
    ),
    "one that answers": (replica("a", "B", previous="A", updated=9999.0), None, None),
    "one that answered and restarts later": (
        replica("a", "B", ready=False, previous="B", updated=9999.0),
        None,
        None,
    ),
    "new figures": (replica("a", "A", ready=False, wanted="A", previous="A", updated=9999.0), None, None),
    "the first revision: there is nothing to put back": (
        replica("a", "B", ready=False, updated=9999.0),
        None,
        None,
    ),
    "offline": (replica("a", "B", ready=False, previous="A", updated=9999.0, **OFFLINE), None, None),
}


@pytest.mark.parametrize("case", FAILURES)
def test_an_update_fails_when_it_has_not_answered_in_time(case: str) -> None:
    one, failure, recheck = FAILURES[case]
    decision = decided(one)
    found = decision.failure and (decision.failure.revision, decision.failure.reason)
    assert (found, decision.recheck) == (failure, recheck)


def test_a_wait_names_what_it_is_for() -> None:
    lost = replica("a", "B", ready=False, previous="A", **OFFLINE)
    assert "node a, which went offline" in decided(lost, replica("b")).waits_for
    assert decided(replica("a", "B", ready=False), replica("b")).waits_for == "node a: Triton is loading the model"
    assert decided(replica("a"), paused=True).waits_for == "paused"


def test_the_pod_of_former_figures_does_not_answer_for_the_new_ones() -> None:
    """Else the next node would be taken away while this one's server is only about to be replaced."""
    one = replica("a", wanted="A")
    assert one.ready
    assert one.deployment is not None
    grown = replace(one, deployment=replace(one.deployment, grant=plain(allocation("a", "2Gi"))))
    assert not grown.ready
    assert grown.serving


def test_a_refused_pod_does_not_stand_for_one_that_runs() -> None:
    one = replica("a", wanted="A")
    refused = replace(one.pods[0], name="z", phase="Failed", server=ContainerFacts())
    assert replace(one, pods=(*one.pods, refused)).ready


BLIPS: st.SearchStrategy[Blip] = st.sampled_from(get_args(Blip))


class Model(RuleBasedStateMachine):
    """Everything that happens to a model, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(bad=st.booleans())
    def the_user_changes_the_spec(self, bad: bool) -> None:
        self.world.revise(bad=bad)

    @rule(memory=st.sampled_from(["1Gi", "2Gi"]))
    def the_user_changes_the_figures(self, memory: str) -> None:
        self.world.memory = memory

    @rule(paused=st.booleans())
    def the_user_pauses(self, paused: bool) -> None:
        self.world.paused = paused

    @rule(at=st.integers(0, 2), online=st.booleans(), kubelet=st.booleans())
    def a_node_goes_or_comes(self, at: int, online: bool, kubelet: bool) -> None:
        self.world.sites[at].online, self.world.sites[at].kubelet = online, kubelet

    @rule(at=st.integers(0, 2))
    def a_node_does_its_work(self, at: int) -> None:
        self.world.run(self.world.sites[at])

    @rule(at=st.integers(0, 2), how=BLIPS)
    def a_server_does_not_answer_for_a_moment(self, at: int, how: Blip) -> None:
        self.world.blip(self.world.sites[at], how)

    @rule(reachable=st.booleans())
    def the_source_goes_or_comes(self, reachable: bool) -> None:
        self.world.source = reachable

    @rule(at=st.integers(0, 2))
    def a_machine_restarts(self, at: int) -> None:
        self.world.restart(self.world.sites[at])

    @rule(seconds=st.sampled_from([1, 60, 601]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(writes=st.one_of(st.integers(0, 6), st.just(10_000)))
    def the_operator_visits_and_may_die(self, writes: int) -> None:
        self.world.visit(writes)

    @rule()
    def a_good_spec_is_served_everywhere_in_the_end(self) -> None:
        world = self.world
        world.recover()
        world.revise(bad=False)
        world.settle()
        for site in world.sites:
            one = world.replica(site)
            assert one.ready
            assert one.updated
        assert world.wanted not in world.failed
        assert not [site.job for site in world.sites if site.job is not None], "a prefetch outlived its update"
        assert not world.visit(), "at rest something is still to be done"

    @rule()
    def a_bad_spec_ends_on_the_last_good_one(self) -> None:
        world = self.world
        self.a_good_spec_is_served_everywhere_in_the_end()
        good = world.wanted
        world.revise(bad=True)
        world.settle()
        assert world.wanted in world.failed
        assert [site.deployment.revision for site in world.sites if site.deployment] == [good] * 3
        assert all(site.serving for site in world.sites)
        assert not world.visit(), "the update did not stop"

    @rule()
    def a_damaged_artifact_stops_nothing(self) -> None:
        world = self.world
        self.a_good_spec_is_served_everywhere_in_the_end()
        before = [(site.deployment, site.pod) for site in world.sites]
        world.revise(bad=False)
        world.damaged.add(world.wanted)
        world.settle()
        assert world.wanted in world.failed
        assert [(site.deployment, site.pod) for site in world.sites] == before, "what serves was touched"
        assert not world.visit(), "the prefetch did not stop"

    @rule(data=st.data())
    def a_source_that_is_away_costs_nothing_whatever_restarts_meanwhile(self, data: st.DataObject) -> None:
        world = self.world
        self.a_good_spec_is_served_everywhere_in_the_end()
        before = [site.deployment for site in world.sites]
        world.source = False
        world.revise(bad=False)
        for _ in range(data.draw(st.integers(1, 4), label="blips")):
            site = data.draw(st.sampled_from(world.sites), label="where")
            if data.draw(st.booleans(), label="the whole machine"):
                world.restart(site)
            else:
                world.blip(site, data.draw(BLIPS, label="how"))
            for _ in range(data.draw(st.integers(1, 3), label="visits")):
                world.visit()
            world.settle()
            assert [each.deployment for each in world.sites] == before, "what serves was touched"
            assert all(each.serving for each in world.sites)
            assert world.wanted not in world.failed
        world.source = True
        world.settle()
        assert all(site.deployment is not None and site.deployment.revision == world.wanted for site in world.sites)

    @invariant()
    def what_a_node_remembers_answered_there(self) -> None:
        for site in self.world.sites:
            if site.deployment is not None:
                assert site.deployment.previous not in self.world.bad


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, print_blob=True)
