"""The servers of one tenant: gather what is there, decide, write what differs.

The order of the writes is the safety of the whole: a slice is bound before anything runs on it, a revision is frozen
before a Deployment uses it, the time of a cutover is written before the cutover. Between any two of them the process
may die; the next visit goes on from what the API server holds.

One thing that goes wrong never holds up another: each phase is carried to its end, and the first failure is told.
"""

from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from littoral.api.inferencemodel import MAX_FAILED, InferenceModel
from littoral.controller import kinds
from littoral.controller.caches import Caches, TooManyCachesError
from littoral.controller.errors import Forbidden, Invalid
from littoral.controller.kinds import Child, LiveDeployment
from littoral.controller.namespace import Storage
from littoral.controller.prefetches import Prefetches, size
from littoral.controller.revisions import Revisions, fallbacks
from littoral.controller.slices import Slices
from littoral.controller.store import Store
from littoral.controller.work import utcnow
from littoral.controller.writer import NameConflictError, Writer, merge_patch, side_by_side
from littoral.placement.results import Assignment, ModelPlan
from littoral.triton import deployment, rollout
from littoral.triton.errors import Unservable
from littoral.triton.metadata import Owner
from littoral.triton.replica import Replica
from littoral.triton.revision import Frozen
from littoral.triton.rollout import Decision, Step
from littoral.triton.status import Problem
from littoral.triton.tenant import Tenant

Beside = Callable[[], list[Awaitable[Any]]]
"""What else a visit writes, made when the Deployments are written."""
Announce = Callable[[Replica, Frozen | None, Frozen], None]
"""Told of each update of a replica before it is begun: what it is at, where that is known, and what it will be at."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one visit found and decided."""

    replicas: tuple[Replica, ...]
    decision: Decision
    frozen: Mapping[str, Frozen]
    failed: Mapping[str, str]
    problem: Problem | None = None
    """What a person has to know of."""
    error: BaseException | None = None
    """What time may mend: the visit is to be repeated."""


class Servers:
    """Makes the slices, revisions and Deployments of a tenant what they should be."""

    def __init__(
        self, store: Store, writer: Writer, *, slices: Slices, storage: Storage, caches: Caches, revisions: Revisions
    ) -> None:
        self._store = store
        self._writer = writer
        self._slices = slices
        self._storage = storage
        self._caches = caches
        self._revisions = revisions
        self._prefetches = Prefetches(store, writer)

    async def visit(
        self, tenant: Tenant, plan: ModelPlan, *, beside: Beside = list, announce: Announce = lambda *_: None
    ) -> Outcome:
        """Do what is due now. What fails is in the outcome, never raised."""
        owner = tenant.owner
        here = [a for a in plan.assignments if self._connected(a.node)]
        mine = [a for a in here if a.slice != tenant.reserved]
        self._slices.assume(owner, mine)  # before anything is awaited: a plan made meanwhile must see it
        errors = await side_by_side(self._storage.ensure(owner.namespace))
        refused: list[Unservable] = []

        async def freeze() -> None:
            refused.extend(await self._revisions.freeze(tenant, here))

        errors += await side_by_side(freeze(), *(self._slices.bound(owner, a) for a in mine))
        # Here or nowhere: what a namespace leaves on a node is found again by this note alone.
        errors += await side_by_side(*(self._caches.note(owner.namespace, a.node) for a in here))
        frozen = self._revisions.frozen(tenant)
        replicas = self._replicas(tenant, plan, frozen)
        barred = self._revisions.barred(tenant, replicas, frozen)
        refused += [why for name, why in barred.items() if why is not None]
        decision = self._decide(tenant, replicas, frozen, barred)
        if decision.failure is not None:
            errors += await side_by_side(*self._give_up(tenant, decision.failure))
        errors += await side_by_side(
            *self._writes(tenant, replicas, decision, frozen, announce),
            *self._prefetches.writes(tenant, replicas, decision.jobs, frozen, permit=self._revisions.permit),
            *beside(),
        )
        errors += await side_by_side(
            *(self.release(owner.namespace, name) for name in plan.releases),
            *(self.vacate(owner.key, name) for name in plan.vacated),
            *(self._slices.shown((owner.namespace, a.slice), a.lost) for a in here),
            *(self._slices.noted((owner.namespace, a.slice), a) for a in mine),
        )
        replicas = self._replicas(tenant, plan, frozen)
        errors += await side_by_side(
            *(self._start(replica) for replica in replicas), self._revisions.forget_old(tenant, replicas)
        )
        problem, error = _sorted_out([*refused, *errors])
        return Outcome(replicas, decision, frozen, self._revisions.given_up(tenant), problem, error)

    def gone(self, owner: kinds.Key) -> None:
        """The tenant is no more: nothing is assumed for it."""
        self._slices.settle(owner, keep=())

    # Gathering

    def _connected(self, node: str) -> bool:
        facts = self._store.node(node)
        return facts is not None and facts.connected

    def _replicas(self, tenant: Tenant, plan: ModelPlan, frozen: Mapping[str, Frozen]) -> tuple[Replica, ...]:
        return tuple(self._replica(tenant, assignment, frozen) for assignment in plan.assignments)

    def _replica(self, tenant: Tenant, assignment: Assignment, frozen: Mapping[str, Frozen]) -> Replica:
        key = (tenant.owner.namespace, assignment.slice)
        bound = self._slices.get(key)
        live = self._store.get(kinds.DEPLOYMENTS, key)
        node = self._store.node(assignment.node)
        facts = live.facts if isinstance(live, LiveDeployment) else None
        wanted = tenant.revision_name(assignment)
        return Replica(
            assignment=assignment,
            wanted=wanted,
            allocation=None if bound is None or not bound.metadata.uid else bound.status.allocation,
            deployment=facts,
            pods=self._store.pods_of(key),
            connected=node is not None and node.connected,
            address=node.address if node is not None else "",
            node_ready=node is not None and node.ready == "True",
            models=tenant.gate(facts, frozen),
            called={model.metadata.name: model.model_name for model in tenant.models},
            size=size(frozen.get(facts.revision)) if facts is not None else None,
            prefetch=self._prefetches.of(tenant, key, node, facts, wanted, frozen),
        )

    def _decide(
        self, tenant: Tenant, replicas: tuple[Replica, ...], frozen: Mapping[str, Frozen], barred: Container[str]
    ) -> Decision:
        failed = self._revisions.given_up(tenant)
        return rollout.decide(
            replicas,
            failed=failed,
            fallback=fallbacks(frozen, failed),
            paused=tenant.paused,
            timeout=tenant.timeout,
            now=utcnow(),
            barred=barred,
        )

    # Writing

    def _writes(
        self,
        tenant: Tenant,
        replicas: tuple[Replica, ...],
        decision: Decision,
        frozen: Mapping[str, Frozen],
        announce: Announce,
    ) -> list[Awaitable[Any]]:
        """The steps decided on, and for every other Deployment the repair of what somebody changed of it."""
        steps = {step.slice: step for step in decision.steps}
        writes: list[Awaitable[Any]] = []
        for replica in replicas:
            step = steps.get(replica.assignment.slice)
            if step is not None and step.revision in frozen:
                if step.kind == "Update":
                    before = frozen.get(replica.deployment.revision) if replica.deployment is not None else None
                    announce(replica, before, frozen[step.revision])
                writes.append(self._step(tenant, replica, step, frozen[step.revision]))
            elif step is None and replica.deployment is not None and replica.deployment.revision in frozen:
                mine = frozen[replica.deployment.revision]
                writes.append(self._deploy(tenant, replica, mine, replica.deployment.previous))
        return writes

    async def _step(self, tenant: Tenant, replica: Replica, step: Step, frozen: Frozen) -> None:
        """One change of a Deployment; the time of a cutover is written before it."""
        bound = self._slices.get((tenant.owner.namespace, step.slice))
        if bound is None or not self._connected(replica.assignment.node):
            return  # deleted or gone offline meanwhile: the plan sees to it
        if step.kind == "Update" and step.slice == tenant.reserved and bound.spec != replica.assignment.request:
            return  # its user, whose figures they are, has asked for others since: the plan comes first
        if step.kind != "Revert" and (replica.deployment is None or replica.deployment.revision != frozen.name):
            self._revisions.permit(tenant, frozen)
        if step.kind == "Revert":
            await self._slices.cut_over(bound, replace(replica.assignment, target=None))
        elif step.kind == "Update":
            await self._slices.cut_over(bound, replica.assignment)
        await self._deploy(tenant, replica, frozen, step.previous)

    async def _deploy(self, tenant: Tenant, replica: Replica, frozen: Frozen, previous: str) -> None:
        """Make the Deployment what the revision and the slice's allocation say, unless its node is offline."""
        owner = tenant.owner
        key = (owner.namespace, replica.assignment.slice)
        bound, live = self._slices.get(key), self._store.get(kinds.DEPLOYMENTS, key)
        if bound is None or not bound.metadata.uid or bound.status.allocation is None:
            return
        allocation = bound.status.allocation
        if not self._connected(allocation.node):
            return
        if isinstance(live, Child) and live.metadata.deletion_timestamp is not None:
            return  # made again when it is gone
        if live is None and not self._caches.noted(owner.namespace, allocation.node):
            return  # its EdgeNode, which wakes this visit, is yet to be made, or the write of the note has failed
        # A slice that a user wrote outlives the model; the Deployment must not.
        owners = [dict(reference) for reference in owner.references] if key[1] == tenant.reserved else None
        await self._writer.ensure(
            kinds.DEPLOYMENTS,
            key,
            (bound.metadata.uid, frozen.name, frozen.created, allocation, previous),
            lambda: deployment.build(key[1], bound.metadata.uid, owner, frozen, allocation, previous, owners=owners),
        )

    async def own(self, key: kinds.Key, owner: Owner) -> None:
        """Have a slice go with its present owners, the last of them."""
        existing = self._slices.get(key)
        if existing is None or not existing.metadata.uid:
            return
        there = {reference.get("uid") for reference in existing.metadata.owner_references}
        if there != {reference["uid"] for reference in owner.references}:
            await self._slices.own(existing, owner)

    async def release(self, namespace: str, name: str) -> None:
        """Delete a slice that is no longer wanted, unless its node went offline since the plan and it may run there."""
        key = (namespace, name)
        existing = self._slices.get(key)
        if existing is None:
            return
        allocation = existing.status.allocation
        runs = self._store.pods_of(key) or self._store.get(kinds.DEPLOYMENTS, key) is not None
        may_run = allocation is not None and (allocation.started_at is not None or bool(runs))
        node = "" if allocation is None else allocation.node
        retired = self._store.node(node) is None and self._store.get(kinds.EDGENODES, ("", node)) is None
        if not may_run or retired or self._connected(node):
            await self._slices.release(existing)

    async def vacate(self, model: kinds.Key, name: str) -> None:
        """Take what is the model's off a slice that is its user's, unless the node is offline."""
        key = (model[0], name)
        live, bound = self._store.get(kinds.DEPLOYMENTS, key), self._slices.get(key)
        mine = live if isinstance(live, LiveDeployment) and (key[0], live.facts.model) == model else None
        # It is where it was pinned to, which need not be where the slice is bound by now.
        pinned = None if mine is None else mine.facts.grant
        allocation = pinned or (None if bound is None else bound.status.allocation)
        if allocation is not None and not self._connected(allocation.node):
            return
        await self._prefetches.vacate(key, model[1])  # first: without a Deployment the plan does not come back to this
        if mine is not None:
            await self._writer.delete(kinds.DEPLOYMENTS, key, uid=mine.metadata.uid)

    def _give_up(self, tenant: Tenant, failure: rollout.Failed) -> list[Awaitable[Any]]:
        """Note the revision before anything is put back, so that neither this process nor another tries it again.

        It stands in the status of each model, not on the ControllerRevision: the API server refuses every patch of one
        whose data it would print in another order than it was sent.
        """
        before = self._revisions.given_up(tenant)
        kept = dict(list(before.items())[1 - MAX_FAILED :])
        notes = {**kept, failure.revision: f"node {failure.node}: {failure.message}"[:1024]}
        return [self._note(model, notes) for model in tenant.models]

    async def _note(self, model: InferenceModel, notes: Mapping[str, str]) -> None:
        patch = {"failedRevisions": merge_patch(dict(model.status.failed_revisions), notes)}
        await self._writer.patch_status(kinds.MODELS, model.metadata.key, patch, uid=model.metadata.uid)

    async def _start(self, replica: Replica) -> None:
        """Stamp the first time that a replica answers."""
        pod, allocation = replica.pod, replica.allocation
        if pod is None or not pod.server.ready or allocation is None or allocation.started_at is not None:
            return
        bound = self._slices.get((pod.namespace, replica.assignment.slice))
        if bound is not None and replica.connected:
            await self._slices.started(bound)


def _sorted_out(errors: list[BaseException]) -> tuple[Problem | None, BaseException | None]:
    """What to tell of a visit's failures, and what of them time may mend."""
    problem = None
    for error in errors:
        if isinstance(error, Unservable):
            problem = problem or Problem(error.reason, str(error), terminal=True)
        elif isinstance(error, NameConflictError):
            problem = problem or Problem("NameConflict", str(error))
        elif isinstance(error, TooManyCachesError):
            problem = problem or Problem("TooManyCaches", str(error))
        elif isinstance(error, Forbidden | Invalid) and not error.namespace_terminating:
            problem = problem or Problem("Refused", f"the API server refused a write: {error}"[:1024])
    mendable = [error for error in errors if not isinstance(error, Unservable)]
    return problem, mendable[0] if mendable else None
