"""One visit to one InferenceModel: gather what is there, decide, write what differs, say how it is.

The order of the writes is the safety of the whole: a slice is bound before anything runs on it, a revision is frozen
before a Deployment uses it, the time of a cutover is written before the cutover. Between any two of them the process
may die; the next visit goes on from what the API server holds.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from littoral.accelerators.catalogue import Catalogue
from littoral.api.gpuslice import GPUSlice
from littoral.api.inferencemodel import MAX_FAILED, InferenceModel
from littoral.api.quantity import to_seconds
from littoral.controller import kinds
from littoral.controller.errors import Forbidden, Invalid
from littoral.controller.kinds import Child, LiveDeployment
from littoral.controller.namespace import Storage
from littoral.controller.slices import Slices
from littoral.controller.store import Refused, Store, utcnow
from littoral.controller.writer import NameConflictError, Writer, merge_patch, together
from littoral.placement.results import Assignment, ModelPlan
from littoral.triton import deployment, revision, rollout, service
from littoral.triton.errors import Unservable
from littoral.triton.revision import Frozen
from littoral.triton.rollout import Decision, Replica, Step
from littoral.triton.status import Problem

_HISTORY: Final = 10
"""ControllerRevisions kept of a model beyond those in use, as Deployments keep ReplicaSets by default."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit found and decided: the input of the model's status."""

    model: InferenceModel
    plan: ModelPlan
    replicas: tuple[Replica, ...]
    decision: Decision
    failed: Mapping[str, str]
    problem: Problem | None = None
    error: Exception | None = None
    """What kept the visit from its end and shall be tried again."""


class Models:
    """Makes an InferenceModel's children what they should be."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        *,
        slices: Slices,
        storage: Storage,
        catalogue: Callable[[], Catalogue],
        fetch_image: str,
    ) -> None:
        self._store = store
        self._writer = writer
        self._slices = slices
        self._storage = storage
        self._catalogue = catalogue
        self._fetch_image = fetch_image

    async def visit(self, model: InferenceModel, plan: ModelPlan) -> Visit:
        """Do what is due now. Never raises for what the model's content causes: that is the visit's problem."""
        try:
            return await self._visit(model, plan)
        except Unservable as error:
            problem = Problem(error.reason, str(error), terminal=True)
        except NameConflictError as error:
            problem = Problem("NameConflict", str(error))
            return self._stopped(model, plan, problem, error)
        except (Forbidden, Invalid) as error:
            problem = Problem("Refused", f"the API server refused a write: {error}")
            return self._stopped(model, plan, problem, error)
        return self._stopped(model, plan, problem, None)

    def _stopped(self, model: InferenceModel, plan: ModelPlan, problem: Problem, error: Exception | None) -> Visit:
        replicas = tuple(self._replica(model, a) for a in plan.assignments)
        return Visit(model, plan, replicas, Decision(), self._failed(model), problem, error)

    async def _visit(self, model: InferenceModel, plan: ModelPlan) -> Visit:
        connected = [a for a in plan.assignments if self._connected(a.node)]
        await self._storage.ensure(model.metadata.namespace)
        await together(*(self._slices.bound(model, a) for a in connected), self._freeze(model, connected))
        replicas = tuple(self._replica(model, a) for a in plan.assignments)
        failed = self._failed(model)
        decision = rollout.decide(
            replicas,
            failed=failed,
            fallback=self._fallback(model, failed),
            paused=model.spec.paused,
            timeout=to_seconds(model.spec.serving.startup_timeout),
            now=utcnow(),
        )
        if decision.failure is not None:
            await self._give_up(model, decision.failure)
        await together(*self._writes(model, replicas, decision), self._service(model))
        await together(*(self._slices.release((model.metadata.namespace, name)) for name in plan.releases))
        await together(*(self._start(r) for r in replicas), self._forget_old(model, replicas))
        replicas = tuple(self._replica(model, a) for a in plan.assignments)
        return Visit(model, plan, replicas, decision, self._failed(model))

    # Gathering

    def _connected(self, node: str) -> bool:
        facts = self._store.node(node)
        return facts is not None and facts.connected

    def _replica(self, model: InferenceModel, assignment: Assignment) -> Replica:
        key = (model.metadata.namespace, assignment.slice)
        bound: GPUSlice | None = self._store.get(kinds.SLICES, key)
        live: LiveDeployment | None = self._store.get(kinds.DEPLOYMENTS, key)
        node = self._store.node(assignment.node)
        variant = next(v for v in model.spec.variants if v.name == assignment.variant)
        return Replica(
            assignment=assignment,
            wanted=revision.revision_name(model, variant, assignment.profile),
            allocation=None if bound is None else bound.status.allocation,
            deployment=None if live is None or isinstance(live, Refused) else live.facts,
            pods=self._store.pods_of(key),
            connected=node is not None and node.connected,
            node_ready=node is not None and node.ready == "True",
        )

    def _frozen(self, model: InferenceModel) -> dict[str, Frozen]:
        children: dict[str, Child] = self._store.of_model(kinds.REVISIONS, model.metadata.key)
        return {name: revision.read(child.live) for name, child in children.items() if not isinstance(child, Refused)}

    def _failed(self, model: InferenceModel) -> dict[str, str]:
        """The revisions given up, as the status remembers them, less those that nothing keeps any more."""
        latest = self._store.get(kinds.MODELS, model.metadata.key)
        noted = (latest if isinstance(latest, InferenceModel) else model).status.failed_revisions
        kept = self._store.of_model(kinds.REVISIONS, model.metadata.key)
        return {name: why for name, why in noted.items() if name in kept}

    def _fallback(self, model: InferenceModel, failed: Mapping[str, str]) -> dict[str, str]:
        """For each revision given up: the newest of the same variant and profile that was not."""
        frozen = self._frozen(model)
        found = {}
        for name in failed:
            mine = frozen[name]
            same = [f for f in frozen.values() if (f.variant, f.profile) == (mine.variant, mine.profile)]
            good = [f for f in same if f.name not in failed and f.number < mine.number]
            if good:
                found[name] = max(good, key=lambda f: f.number).name
        return found

    # Writing

    async def _freeze(self, model: InferenceModel, assignments: Iterable[Assignment]) -> None:
        """Freeze, once, what each wanted revision resolves to with the present catalogue and fetch image."""
        known: dict[str, Child] = self._store.of_model(kinds.REVISIONS, model.metadata.key)
        number = max((child.live.get("revision", 0) for child in known.values()), default=0)
        variants = {variant.name: variant for variant in model.spec.variants}
        for name, assignment in sorted(
            {revision.revision_name(model, variants[a.variant], a.profile): a for a in assignments}.items()
        ):
            if name in known:
                continue
            profile = self._catalogue().get(assignment.profile)
            if profile is None:
                raise Unservable("UnknownProfile", f"the catalogue has no profile {assignment.profile!r} any more")
            number += 1
            variant = variants[assignment.variant]
            frozen = revision.freeze(model, variant, profile, fetch_image=self._fetch_image, number=number)
            await self._writer.create(kinds.REVISIONS, revision.controller_revision(model, frozen))

    def _writes(self, model: InferenceModel, replicas: Iterable[Replica], decision: Decision) -> list[Any]:
        frozen = self._frozen(model)
        steps = {step.slice: step for step in decision.steps}
        writes = []
        for replica in replicas:
            step = steps.get(replica.assignment.slice)
            if step is not None:
                writes.append(self._step(model, replica, step, frozen))
            elif replica.deployment is not None and replica.connected:
                writes.append(self._repair(model, replica, frozen))
        return writes

    async def _step(self, model: InferenceModel, replica: Replica, step: Step, frozen: Mapping[str, Frozen]) -> None:
        """One change of a Deployment; the time of a cutover is written before it."""
        bound: GPUSlice | None = self._store.get(kinds.SLICES, (model.metadata.namespace, step.slice))
        if bound is None:
            return  # deleted meanwhile: the plan sees to it
        if step.kind == "Revert":
            unchanged = replace(replica.assignment, target=None)
            bound = await self._slices.cut_over(bound, unchanged)
        elif step.kind == "Update":
            bound = await self._slices.cut_over(bound, replica.assignment)
        await self._deploy(model, bound, frozen[step.revision], step.previous)

    async def _repair(self, model: InferenceModel, replica: Replica, frozen: Mapping[str, Frozen]) -> None:
        """Put back what somebody changed of a Deployment."""
        assert replica.deployment is not None  # noqa: S101 - the caller chose those that have one
        mine = frozen.get(replica.deployment.revision)
        bound: GPUSlice | None = self._store.get(kinds.SLICES, (model.metadata.namespace, replica.assignment.slice))
        if mine is not None and bound is not None and bound.status.allocation is not None:
            await self._deploy(model, bound, mine, replica.deployment.previous)

    async def _deploy(self, model: InferenceModel, bound: GPUSlice, frozen: Frozen, previous: str) -> None:
        assert bound.status.allocation is not None  # noqa: S101 - nothing runs on what is not bound
        meta = bound.metadata
        desired = deployment.build(
            meta.name, meta.uid, meta.namespace, model.metadata.name, frozen, bound.status.allocation, previous=previous
        )
        live: LiveDeployment | None = self._store.get(kinds.DEPLOYMENTS, meta.key)
        if live is not None and not isinstance(live, Refused) and live.metadata.deletion_timestamp is not None:
            return  # made again when it is gone
        await self._writer.ensure(kinds.DEPLOYMENTS, desired, live)

    async def _service(self, model: InferenceModel) -> None:
        live: Child | None = self._store.get(kinds.SERVICES, model.metadata.key)
        await self._writer.ensure(kinds.SERVICES, service.build(model), live)

    async def _give_up(self, model: InferenceModel, failure: rollout.Failed) -> None:
        """Note the revision before anything is put back, so that neither this process nor another tries it again.

        It stands in the model's status, not on the ControllerRevision: the API server refuses every patch of one whose
        data it would print in another order than it was sent.
        """
        failed = list(self._failed(model).items())[1 - MAX_FAILED :]
        notes = {**dict(failed), failure.revision: f"node {failure.node}: {failure.message}"[:1024]}
        patch = merge_patch(dict(model.status.failed_revisions), notes)
        await self._writer.patch_status(
            kinds.MODELS, model.metadata.key, {"failedRevisions": patch}, uid=model.metadata.uid
        )

    async def _start(self, replica: Replica) -> None:
        """Stamp the first time that a replica answers."""
        pod = replica.pod
        if pod is None or not replica.ready or replica.allocation is None or replica.allocation.started_at is not None:
            return
        bound: GPUSlice | None = self._store.get(kinds.SLICES, (pod.namespace, replica.assignment.slice))
        if bound is not None and replica.connected:
            await self._slices.started(bound)

    async def _forget_old(self, model: InferenceModel, replicas: Iterable[Replica]) -> None:
        """Delete the oldest ControllerRevisions that nothing runs, wants or would be put back to."""
        used: set[str] = set()
        for replica in replicas:
            used.add(replica.wanted)
            if replica.deployment is not None:
                used |= {replica.deployment.revision, replica.deployment.previous}
        children: dict[str, Child] = self._store.of_model(kinds.REVISIONS, model.metadata.key)
        if len(children) <= _HISTORY:
            return
        unused = [c for name, c in children.items() if name not in used and not isinstance(c, Refused)]
        unused.sort(key=lambda child: int(child.live.get("revision", 0)), reverse=True)
        for child in unused[_HISTORY:]:
            await self._writer.delete(kinds.REVISIONS, child.metadata.key, uid=child.metadata.uid)
