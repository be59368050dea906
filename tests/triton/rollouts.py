"""Replicas as tables write them, and a simulated model over several nodes that does what the operator decides."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from littoral.api.gpuslice import Allocation, GPUSliceSpec
from littoral.api.workload import ContainerFacts, DeploymentFacts, JobFacts, PodFacts
from littoral.placement.results import Assignment
from littoral.triton.prefetch import Prefetch
from littoral.triton.prefetch_steps import JobStep
from littoral.triton.replica import Replica
from littoral.triton.rollout import Decision, Step, decide

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


def job(node: str, revision: str = "B", *, succeeded: bool = True, age: float = 60, **changes: Any) -> JobFacts:
    """A prefetch Job on the node as it is, made `age` seconds ago."""
    made = NOW - timedelta(seconds=age)
    facts = JobFacts(
        namespace="line", name=f"{node}-{revision}", uid="", slice=f"s-{node}", revision=revision,
        succeeded=succeeded, ended=made if succeeded else None, created=made, made_on="boot-0",
    )  # fmt: skip
    return replace(facts, **changes)


def job_pod(node: str, revision: str = "B", **changes: Any) -> PodFacts:
    """A prefetch Job's pod."""
    mine = {"slice": "", "prefetch": f"s-{node}", "grant": None, "phase": "Pending", "server": ContainerFacts()}
    return replace(pod(node, revision, ready=False, grant=allocation(node)), **{**mine, **changes})


def prefetched(node: str, *jobs: JobFacts, pods: tuple[PodFacts, ...] = (), **changes: Any) -> Prefetch:
    return Prefetch(jobs or (job(node),), pods, **{"node": "boot-0", **changes})


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
    there = prefetched(node, job(node, wanted))
    return replace(Replica(plan, wanted, bound, live, pods, prefetch=there), **changes)


def decided(*replicas: Replica, failed: dict[str, str] | None = None, **changes: Any) -> Decision:
    arguments = {"fallback": {}, "paused": False, "timeout": TIMEOUT, "now": NOW, **changes}
    return decide(replicas, failed=failed or {}, **arguments)


def steps(decision: Decision) -> list[tuple[str, str, str, str]]:
    return [(step.kind, step.slice.removeprefix("s-"), step.revision, step.previous) for step in decision.steps]


OFFLINE: dict[str, Any] = {"connected": False, "node_ready": False}
BAD_DIGEST = ContainerFacts(
    exit_code=1, termination_message='{"outcome":"failed","reason":"DigestMismatch","message":"not the bytes"}'
)
UNREACHABLE = ContainerFacts(
    exit_code=1, termination_message='{"outcome":"failed","reason":"SourceUnreachable","message":"nobody answers"}'
)


# A model over several nodes


Blip = Literal["not ready", "killed", "restarted", "evicted"]


@dataclass
class Site:
    """One node as it is, whatever the operator thinks."""

    name: str
    online: bool = True
    kubelet: bool = True
    allocation: Allocation | None = None
    deployment: DeploymentFacts | None = None
    pod: PodFacts | None = None
    boot: int = 0
    job: JobFacts | None = None
    job_pod: PodFacts | None = None
    there: set[str] = field(default_factory=set)
    """The revisions that are on it, verified since it was last restarted."""
    cached: set[str] = field(default_factory=set)
    """The revisions that it need not ask their source for."""
    answered: set[str] = field(default_factory=set)
    """The revisions that answered on it."""

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
    """Revisions that arrive and do not load."""
    damaged: set[str] = field(default_factory=set)
    """Revisions whose bytes are not what was promised."""
    source: bool = True
    """Whether it can be reached."""
    failed: dict[str, str] = field(default_factory=dict)
    now: datetime = NOW

    def replica(self, site: Site) -> Replica:
        target = allocation(site.name, self.memory, started=False)
        plan = Assignment(
            f"s-{site.name}", site.name, "t4-0", "t4", "v", "", "", GPUSliceSpec(memory=self.memory),
            site.allocation, target,
        )  # fmt: skip
        pods = (site.pod,) if site.pod is not None else ()
        ahead = Prefetch(
            (site.job,) if site.job is not None else (),
            (site.job_pod,) if site.job_pod is not None else (),
            f"boot-{site.boot}",
        )
        return Replica(
            plan, self.wanted, site.allocation, site.deployment, pods, site.online, site.reachable, prefetch=ahead
        )

    def visit(self, writes: int = 10_000) -> list[Step | JobStep]:
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
        return [*decision.steps, *decision.jobs]

    def _writes(self, replicas: list[Replica], decision: Decision) -> list[Callable[[], None]]:
        writes: list[Callable[[], None]] = []
        failure = decision.failure
        if failure is not None:
            writes.append(lambda: self.failed.update({failure.revision: failure.message}))
        named = {f"s-{site.name}": site for site in self.sites}
        writes += [lambda step=step: self._change(named[step.slice], step) for step in decision.jobs]  # type: ignore[misc]
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

    def _change(self, site: Site, step: JobStep) -> None:
        if step.kind == "Interrupt":
            assert not site.online
            assert site.job is not None
            site.job = replace(site.job, interrupted=True)
            return
        assert site.online, "a Job of an offline node was touched"
        if step.kind == "Forget":
            site.job = site.job_pod = None
            return
        assert site.job == step.job, "two prefetches at once on one node"
        assert step.revision not in self.failed, "a revision that was given up was fetched again"
        boot = f"boot-{site.boot}"
        site.job = job(site.name, step.revision, succeeded=False, made_on=boot, created=self.now)
        site.job_pod = job_pod(site.name, step.revision, created=self.now, fetch=ContainerFacts())

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
        if step.kind == "Update" and before is not None and before.revision in site.answered:
            # Whether it answers at this moment or is only starting anew: it comes back by itself.
            ahead = before.revision == step.revision or step.revision in site.there
            assert ahead, "what served was stopped for what is not there yet"
        assert site.allocation is not None, "something runs on what is not bound"
        grant = plain(site.allocation)
        site.deployment = DeploymentFacts(
            "line", step.slice, "", step.slice, "plate", step.revision, grant, step.previous
        )

    def run(self, site: Site) -> None:
        """The node does what it was told, as far as it hears it."""
        live = site.deployment
        if not site.reachable:
            return
        self._fetch(site)
        if live is None or live.grant is None:
            return
        if site.pod is None or (site.pod.revision, site.pod.grant) != (live.revision, live.grant):
            site.pod = pod(site.name, live.revision, ready=False, grant=live.grant)
            return
        fetched = FETCHED if live.revision in site.cached else self._loaded(live.revision)
        if fetched is not FETCHED:
            site.pod = replace(site.pod, fetch=fetched, server=ContainerFacts())
            return
        site.cached.add(live.revision)
        works = live.revision not in self.bad
        site.pod = replace(site.pod, fetch=fetched, server=READY if works else LOADING)
        if works:
            site.answered.add(live.revision)

    def _loaded(self, revision: str) -> ContainerFacts:
        """What a fetch from the source ends with."""
        return BAD_DIGEST if revision in self.damaged else FETCHED if self.source else UNREACHABLE

    def _fetch(self, site: Site) -> None:
        if site.job is None or site.job_pod is None or site.job.ended is not None:
            return
        fetched = FETCHED if site.job.revision in site.cached else self._loaded(site.job.revision)
        if fetched is not FETCHED:
            site.job_pod = replace(site.job_pod, fetch=replace(fetched, waiting_reason="CrashLoopBackOff"))
            return
        site.job = replace(site.job, succeeded=True, ended=self.now)
        site.job_pod = replace(site.job_pod, fetch=FETCHED, phase="Succeeded")
        site.there.add(site.job.revision)
        site.cached.add(site.job.revision)

    def restart(self, site: Site) -> None:
        """The machine is switched off and on: what is on its disk has to be looked at again, and its server starts."""
        site.boot += 1
        site.there.clear()
        self.blip(site, "restarted")

    @staticmethod
    def blip(site: Site, how: Blip) -> None:
        """The server answers no more, for a moment that its node ends by itself."""
        if site.pod is None or how == "evicted":
            site.pod = None
        elif how == "killed":
            site.pod = replace(site.pod, server=ContainerFacts(running=True, exit_code=137))
        elif how == "restarted":
            site.pod = replace(site.pod, fetch=ContainerFacts(running=True), server=ContainerFacts(exit_code=255))
        else:
            site.pod = replace(site.pod, server=LOADING)

    def revise(self, *, bad: bool) -> None:
        self.wanted = f"r{len(self.history)}"
        self.history.append(self.wanted)
        if bad:
            self.bad.add(self.wanted)

    def recover(self) -> None:
        for site in self.sites:
            site.online = site.kubelet = True
        self.paused = False
        self.source = True

    def settle(self) -> None:
        """Time passes and everything does its work until nothing is left to do."""
        for _ in range(25):
            self.visit()
            for site in self.sites:
                self.run(site)
                self.run(site)
            self.now += timedelta(seconds=100)
