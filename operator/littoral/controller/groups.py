"""One visit to a group of models: their shared servers, and for each model its Service and the addresses behind it.

A model that joins, leaves or changes is a planned restart of the server on each node, one node after the other. Changes
that come together make one restart: nothing is begun until the group has been as it is for a few seconds.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import PodFacts
from littoral.controller import kinds
from littoral.controller.endpoints import Endpoints
from littoral.controller.kinds import Key
from littoral.controller.model import Visit, subject
from littoral.controller.servers import Outcome, Servers
from littoral.controller.store import Store
from littoral.controller.writer import Writer, side_by_side
from littoral.placement.groups import Group, serving, share, unit_key
from littoral.placement.results import ModelPlan, Plan
from littoral.telemetry.events import EventRecorder
from littoral.triton import endpoints, revision, server_revision, service
from littoral.triton.diagnosis import stands_for
from littoral.triton.replica import Replica
from littoral.triton.revision import Frozen
from littoral.triton.rollout import Decision
from littoral.triton.tenant import Together

SETTLE: Final = 3.0
"""Seconds for which a group must have been as it is before anything is begun: `kubectl apply` of a folder takes one."""
GRACE: Final = 10.0
"""Seconds after a server is ready in which a model need not have been asked for yet: some periods of its probe."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a visit to a group found, for the status of each model, and when to look again (seconds)."""

    visits: tuple[Visit, ...]
    recheck: float | None = None
    error: BaseException | None = None


class Groups:
    """Makes what the models of a group share what it should be."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        servers: Servers,
        events: EventRecorder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._writer = writer
        self._servers = servers
        self._endpoints = Endpoints(store, writer)
        self._events = events
        self._clock = clock
        self._settled: dict[Key, tuple[Any, float]] = {}
        """By group: what it was when it was last looked at, and since when it is that."""
        self._up: dict[Key, dict[str, float]] = {}
        """By group and uid of a pod: since when its server is seen ready."""

    async def visit(self, group: Group, plan: Plan) -> Shared:
        """Do what is due now. What fails is in the result, never raised."""
        its = plan.groups[group.key]
        wait = self._unsettled(group)
        if wait > 0:
            errors = await side_by_side(*self._addresses(group, its))
            return Shared((), wait, errors[0] if errors else None)
        found = await self._servers.visit(
            Together(group),
            its,
            beside=lambda: [*self._addresses(group, its), *self._own(group, its), *self._former(group, plan)],
            announce=lambda replica, before, after: self._announce(group, replica, before, after),
        )
        fresh = self._fresh(group.key, found.replicas)
        visits = [self._visit(group, model, plan.models[model.metadata.key], found, fresh) for model in group.members]
        return Shared((*visits, *self._mismatched(group, plan)), min(fresh.values(), default=None), found.error)

    async def disband(self, key: Key, its: ModelPlan) -> None:
        """No model names the group any more: what it had goes. Raises the first of what went wrong."""
        errors = await side_by_side(*(self._servers.release(key[0], name) for name in its.releases))
        if errors:
            raise errors[0]

    def gone(self, key: Key) -> None:
        """The group is no more: nothing is remembered or assumed for it."""
        self._settled.pop(key, None)
        self._up.pop(key, None)
        self._servers.gone(unit_key(key))

    def _unsettled(self, group: Group) -> float:
        """The seconds until the group has been as it is for long enough."""
        what = tuple((model.metadata.uid, revision.model_revision(model)) for model in group.members)
        now = self._clock()
        before = self._settled.get(group.key)
        if before is None or before[0] != what:
            before = self._settled[group.key] = (what, now)
        return before[1] + SETTLE - now

    # What is written beside the servers

    def _addresses(self, group: Group, its: ModelPlan) -> list[Awaitable[Any]]:
        """Each model's Service and what stands behind it."""
        servers = [
            endpoints.Server(pod, connected=self._connected(pod.node), zone=self._zone(pod.node))
            for name in (*(assignment.slice for assignment in its.assignments), *its.leaving)
            for pod in self._store.pods_of((group.key[0], name))
        ]
        how = serving(group.members)
        behind = [self._endpoints.ensure(model, endpoints.build(model, servers, how)) for model in group.members]
        return [*(self._service(model) for model in group.members), *behind]

    async def _service(self, model: InferenceModel) -> None:
        key = model.metadata.key
        await self._writer.ensure(kinds.SERVICES, key, model.metadata.uid, lambda: service.build(model))

    def _own(self, group: Group, its: ModelPlan) -> list[Awaitable[Any]]:
        """Slices go with the last of those who own them: whoever joins must be among them."""
        owner = Together(group).owner
        return [self._servers.own((group.key[0], assignment.slice), owner) for assignment in its.assignments]

    def _former(self, group: Group, plan: Plan) -> list[Awaitable[Any]]:
        """What its models had before they joined goes."""
        former = [(model.metadata.key, plan.models[model.metadata.key]) for model in group.members]
        return [
            *(self._servers.release(key[0], name) for key, its in former for name in its.releases),
            *(self._servers.vacate(key, name) for key, its in former for name in its.vacated),
        ]

    def _connected(self, node: str) -> bool:
        facts = self._store.node(node)
        return facts is not None and facts.connected

    def _zone(self, node: str) -> str:
        facts = self._store.node(node)
        return "" if facts is None else facts.labels.get(endpoints.ZONE, "")

    def _announce(self, group: Group, replica: Replica, before: Frozen | None, after: Frozen) -> None:
        """Say to everybody on the server why it restarts."""
        why = server_revision.announcement(before.members if before is not None else {}, after.members)
        sentence = f"server {group.key[1]} on node {replica.assignment.node} restarts: {why}"
        for model in group.members:
            self._events.record(subject(model), "Normal", "ServerRestarts", sentence)

    # What each model sees of it

    def _visit(
        self, group: Group, model: InferenceModel, plan: ModelPlan, found: Outcome, fresh: Collection[str]
    ) -> Visit:
        replicas = _seen_by(group, model.metadata.name, found, fresh)
        return Visit(model, plan, replicas, found.decision, found.failed, found.problem)

    def _mismatched(self, group: Group, plan: Plan) -> list[Visit]:
        """The models that the server cannot serve: they have nothing of it, and their status says why."""
        models = (self._store.get(kinds.MODELS, key) for key in group.mismatched)
        return [
            Visit(model, plan.models[model.metadata.key], (), Decision(), {})
            for model in models
            if isinstance(model, InferenceModel)
        ]

    def _fresh(self, key: Key, replicas: Iterable[Replica]) -> dict[str, float]:
        """The pods, by uid, whose server has not been ready for the grace, with the seconds that are left of it."""
        now, before = self._clock(), self._up.get(key, {})
        ready = {pod.uid for replica in replicas for pod in replica.pods if pod.server.ready}
        self._up[key] = up = {uid: before.get(uid, now) for uid in ready}
        return {uid: since + GRACE - now for uid, since in up.items() if since + GRACE > now}


def _seen_by(group: Group, name: str, found: Outcome, fresh: Collection[str]) -> tuple[Replica, ...]:
    """The shared servers as one of their models sees them: with its own variant, revision and readiness."""
    seen = []
    for replica in found.replicas:
        mine = share(replica.assignment, name)
        if mine is None:
            continue
        deployed = found.frozen.get(replica.deployment.revision) if replica.deployment is not None else None
        at = server_revision.members(group, replica.assignment).get(name)
        caught_up = deployed is not None and deployed.members.get(name) == at
        seen.append(
            replace(
                replica,
                # Others on the server may still wait for theirs; what this one asks for is there.
                assignment=replace(mine, target=None, blocked="" if caught_up else mine.blocked),
                wanted=deployed.name if caught_up and deployed is not None else replica.wanted,
                pods=tuple(_shown(pod, name) if pod.uid in fresh else pod for pod in replica.pods),
                models=(name,),
            )
        )
    return tuple(seen)


def _shown(pod: PodFacts, name: str) -> PodFacts:
    """A pod whose server was ready a moment ago: a model that was hardly asked for since has not failed."""
    return pod if stands_for(pod, name).ready else replace(pod, server=replace(pod.server, ready=False))
