"""The rules of an update as tables, and a simulated model over several nodes that must obey them whatever happens."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from littoral.api.gpuslice import Allocation, GPUSliceSpec
from littoral.api.workload import ContainerFacts, DeploymentFacts, PodFacts
from littoral.placement.results import Assignment
from littoral.triton.rollout import Decision, Replica, Step, decide

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMEOUT = 600.0
REPORT = '{"outcome":"ok"}'
FETCHED = ContainerFacts(exit_code=0, termination_message=REPORT)
READY = ContainerFacts(ready=True, running=True)
LOADING = ContainerFacts(running=True)


def allocation(node: str, memory: str = "1Gi", *, updated: float | None = None, started: bool = True) -> Allocation:
    return Allocation(
        node=node,
        device="t4-0",
        profile="t4",
        provider="counted",
        memory=memory,
        started_at=NOW - timedelta(days=1) if started else None,
        updated_at=None if updated is None else NOW - timedelta(seconds=updated),
    )


def plain(one: Allocation) -> Allocation:
    """As pods and Deployments carry it: without times."""
    return one.model_copy(update={"bound_at": None, "started_at": None, "updated_at": None})


def pod(node: str, revision: str, *, ready: bool, grant: Allocation, **changes: Any) -> PodFacts:
    facts = PodFacts(
        namespace="line",
        name=f"{node}-{revision}",
        uid="",
        node=node,
        slice=f"s-{node}",
        revision=revision,
        phase="Running",
        deleting=False,
        fetch=FETCHED,
        server=READY if ready else LOADING,
        grant=plain(grant),
        created=NOW,
    )
    return replace(facts, **changes)


def replica(  # the state of one node in a line of a table
    node: str,
    revision: str = "A",
    *,
    ready: bool = True,
    wanted: str = "B",
    previous: str = "",
    updated: float | None = None,
    started: bool = True,
    target: str = "1Gi",
    runs: str = "1Gi",
    blocked: str = "",
    fetch: ContainerFacts = FETCHED,
    **changes: Any,
) -> Replica:
    bound = allocation(node, updated=updated, started=started)
    plan = Assignment(
        f"s-{node}", node, "t4-0", "t4", "v", "why", "", GPUSliceSpec(memory=target), bound,
        allocation(node, target), blocked=blocked,
    )  # fmt: skip
    grant = plain(allocation(node, runs))
    live = DeploymentFacts("line", f"s-{node}", "", f"s-{node}", "plate", revision, grant, previous)
    pods = (pod(node, revision, ready=ready, grant=grant, fetch=fetch),)
    return replace(Replica(plan, wanted, bound, live, pods), **changes)


def decided(*replicas: Replica, failed: dict[str, str] | None = None, **changes: Any) -> Decision:
    arguments = {"fallback": {}, "paused": False, "timeout": TIMEOUT, "now": NOW, **changes}
    return decide(replicas, failed=failed or {}, **arguments)


def steps(decision: Decision) -> list[tuple[str, str, str, str]]:
    return [(step.kind, step.slice.removeprefix("s-"), step.revision, step.previous) for step in decision.steps]


OFFLINE: dict[str, Any] = {"connected": False, "node_ready": False}
BAD_DIGEST = ContainerFacts(
    exit_code=1, termination_message='{"outcome":"failed","reason":"DigestMismatch","message":"not the bytes"}'
)

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


# A model over several nodes


@dataclass
class Site:
    """One node as it is, whatever the operator thinks."""

    name: str
    online: bool = True
    kubelet: bool = True
    allocation: Allocation | None = None
    deployment: DeploymentFacts | None = None
    pod: PodFacts | None = None

    @property
    def reachable(self) -> bool:
        return self.online and self.kubelet

    @property
    def serving(self) -> bool:
        return self.pod is not None and self.pod.server.ready

    @property
    def answers(self) -> bool:
        """It serves what its Deployment says."""
        told, runs = self.deployment, self.pod
        if told is None or runs is None or not self.serving:
            return False
        return (runs.revision, runs.grant) == (told.revision, told.grant)


@dataclass
class World:
    """Nodes, spec and memory of one model; `visit` does what controller/model.py does, write by write."""

    sites: list[Site] = field(default_factory=lambda: [Site(name) for name in "abc"])
    wanted: str = "r0"
    memory: str = "1Gi"
    paused: bool = False
    history: list[str] = field(default_factory=lambda: ["r0"])
    bad: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    now: datetime = NOW

    def replica(self, site: Site) -> Replica:
        target = allocation(site.name, self.memory, started=False)
        plan = Assignment(
            f"s-{site.name}", site.name, "t4-0", "t4", "v", "", "", GPUSliceSpec(memory=self.memory),
            site.allocation, target,
        )  # fmt: skip
        pods = (site.pod,) if site.pod is not None else ()
        return Replica(plan, self.wanted, site.allocation, site.deployment, pods, site.online, site.reachable)

    def visit(self, writes: int = 10_000) -> list[Step]:
        """Decide and write, but die after so many writes."""
        for site in self.sites:
            if site.online and site.allocation is None and writes > 0:
                site.allocation = allocation(site.name, self.memory, started=False)
                writes -= 1
        replicas = [self.replica(site) for site in self.sites]
        good = [name for name in self.history if name not in self.failed]
        fallback = {name: good[-1] for name in self.failed if good}
        decision = decide(
            replicas, failed=self.failed, fallback=fallback, paused=self.paused, timeout=TIMEOUT, now=self.now
        )
        for write in self._writes(replicas, decision)[:writes]:
            write()
        return list(decision.steps)

    def _writes(self, replicas: list[Replica], decision: Decision) -> list[Callable[[], None]]:
        writes: list[Callable[[], None]] = []
        failure = decision.failure
        if failure is not None:
            writes.append(lambda: self.failed.update({failure.revision: failure.message}))
        due = {step.slice: step for step in decision.steps}
        assert len(due) == len(decision.steps), "two steps for one slice"
        for site, one in zip(self.sites, replicas, strict=True):
            step = due.get(one.assignment.slice)
            if step is not None:
                if step.kind in {"Update", "Revert"}:
                    writes.append(lambda site=site, step=step: self._cut_over(site, step))  # type: ignore[misc]
                writes.append(lambda site=site, step=step: self._deploy(site, step))  # type: ignore[misc]
            elif one.deployment is not None and one.connected:
                repair = Step("Settle", one.assignment.slice, one.deployment.revision, one.deployment.previous)
                writes.append(lambda site=site, step=repair: self._deploy(site, step))  # type: ignore[misc]
            if one.ready and one.connected and one.allocation is not None and one.allocation.started_at is None:
                writes.append(lambda site=site: self._stamp(site, started_at=self.now))  # type: ignore[misc]
        return writes

    def _stamp(self, site: Site, **times: Any) -> None:
        assert site.allocation is not None
        site.allocation = site.allocation.model_copy(update=times)

    def _cut_over(self, site: Site, step: Step) -> None:
        assert site.online, "an offline node's slice was moved"
        figures = {"memory": self.memory} if step.kind == "Update" else {}
        self._stamp(site, updated_at=self.now, **figures)

    def _deploy(self, site: Site, step: Step) -> None:
        assert site.online, "an offline node's Deployment was changed"
        before = site.deployment
        if before is None or before.revision != step.revision:
            assert step.revision not in self.failed, "a revision that was given up was started again"
        if step.kind == "Update" and site.answers:  # a pod that its node is about to replace is lost already
            others = [s for s in self.sites if s is not site and s.reachable and s.deployment is not None]
            assert all(s.serving for s in others), "two replicas were unavailable at once"
        assert site.allocation is not None, "something runs on what is not bound"
        grant = plain(site.allocation)
        site.deployment = DeploymentFacts(
            "line", step.slice, "", step.slice, "plate", step.revision, grant, step.previous
        )

    def run(self, site: Site) -> None:
        """The node does what it was told, as far as it hears it."""
        live = site.deployment
        if not site.reachable or live is None or live.grant is None:
            return
        if site.pod is None or (site.pod.revision, site.pod.grant) != (live.revision, live.grant):
            site.pod = pod(site.name, live.revision, ready=False, grant=live.grant)
        else:
            site.pod = replace(site.pod, server=LOADING if live.revision in self.bad else READY)

    def revise(self, *, bad: bool) -> None:
        self.wanted = f"r{len(self.history)}"
        self.history.append(self.wanted)
        if bad:
            self.bad.add(self.wanted)

    def recover(self) -> None:
        for site in self.sites:
            site.online = site.kubelet = True
        self.paused = False

    def settle(self) -> None:
        """Time passes and everything does its work until nothing is left to do."""
        for _ in range(25):
            self.visit()
            for site in self.sites:
                self.run(site)
                self.run(site)
            self.now += timedelta(seconds=100)


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

    @rule(at=st.integers(0, 2))
    def a_server_restarts(self, at: int) -> None:
        site = self.world.sites[at]
        if site.pod is not None:
            site.pod = replace(site.pod, server=LOADING)

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

    @invariant()
    def what_a_node_remembers_answered_there(self) -> None:
        for site in self.world.sites:
            if site.deployment is not None:
                assert site.deployment.previous not in self.world.bad


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, print_blob=True)
