"""The one path through the program.

    watch / resync  ->  store.apply(event)  ->  queue.add(work)  ->  Reconciler(work)
                                                                        |
        Plan:      snapshot -> plan             -> enqueue what changed |  (snapshots.py, placement/planner.py)
        Model:     gather   -> decide -> write  -> status               |  (model.py, servers.py)
        Group:     the same, for models that share servers              |  (groups.py)
        EdgeNode:  gather   -> status                                   |
        Slice:     a user's reservation: bind   -> status               |
        Namespace: volume and claim                                     |
        Cleaning:  model caches of namespaces that are gone             |  (cleaning.py)

Level-triggered: a key says what to look at, never what happened. Placement is done for all models at once, under the
one key PLAN, on an immutable snapshot; what it decides is a value that the models' visits carry out. The first change
is planned at once, what follows within a short window together.
"""

import gc
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from littoral.api import conditions
from littoral.api.conditions import READY, STALLED, Finding, find
from littoral.api.inferencemodel import InferenceModel, InferenceModelStatus
from littoral.controller import kinds
from littoral.controller.cleaning import Cleaning
from littoral.controller.edgenode import EdgeNodes
from littoral.controller.groups import Groups
from littoral.controller.kinds import Key
from littoral.controller.model import Models, Visit, subject
from littoral.controller.namespace import Storage
from littoral.controller.reservation import Reservations, served
from littoral.controller.snapshots import Snapshots
from littoral.controller.store import Store
from littoral.controller.triggers import same_for_planning
from littoral.controller.work import PLAN, Refused, Work, utcnow
from littoral.controller.workqueue import Priority, WorkQueue
from littoral.controller.writer import Writer, status_patch
from littoral.placement.groups import compose, group_of
from littoral.placement.planner import Planner
from littoral.placement.results import ModelPlan, Move, Plan
from littoral.telemetry.events import EventRecorder
from littoral.triton import revision
from littoral.triton.status import View, status

K = TypeVar("K")
V = TypeVar("V")

_PLAN_WINDOW: Final = 0.1
"""Seconds between two plans at least; grows with what a plan takes, so that planning never fills the loop."""
_PLAN_SHARE: Final = 5
"""A plan that took t seconds is followed by none for this many times t."""
_PROGRESS_HOLD: Final = 2.0
"""Seconds for which a status that only says how far things have come is held back: several steps make one write."""
_PROBLEM_RETRY: Final = 60.0
"""Seconds until a write that was refused for its content is tried again."""
_SOON: Final = 0.01
"""Seconds until the next visit of what has just been given up: then it is put back."""
_PROGRESS: Final = frozenset({"Pending", "Starting", "Fetching", "Fetched", "Loading", "Updating"})


class Reconciler:
    """Carries out one key of work; see the module's text."""

    def __init__(
        self,
        store: Store,
        queue: WorkQueue[Work],
        writer: Writer,
        *,
        models: Models,
        groups: Groups,
        nodes: EdgeNodes,
        storage: Storage,
        cleaning: Cleaning,
        reservations: Reservations,
        snapshots: Snapshots,
        events: EventRecorder,
    ) -> None:
        self._store = store
        self._queue = queue
        self._writer = writer
        self._models = models
        self._groups = groups
        self._nodes = nodes
        self._storage = storage
        self._cleaning = cleaning
        self._reservations = reservations
        self._snapshots = snapshots
        self._planner = Planner()
        self._events = events
        self._plan = Plan({}, {}, {})
        self._planned_for: Mapping[Key, InferenceModel] = {}
        self._named: dict[Key, list[Key]] = {}
        """By group: the models that named it when it was planned."""
        self._next_plan = 0.0
        self._written: dict[Work, float] = {}
        self._told: dict[Key, frozenset[Move]] = {}
        self._unread: dict[Key, tuple[str, int, str]] = {}

    async def __call__(self, work: Work) -> float | None:
        """Reconcile one key; the seconds after which it wants to be looked at again, if it does."""
        match work.controller:
            case "Plan":
                return self._replan()
            case "Model":
                return await self._model(work)
            case "Group":
                return await self._group(work)
            case "EdgeNode":
                return await self._nodes.reconcile(work.name, self._plan)
            case "Slice":
                key = (work.namespace, work.name)
                if await self._reservations.reconcile(key, self._plan):
                    for model in served(key, self._plan):
                        self._queue.add(Work("Model", *model), Priority.HIGH)
            case "Namespace":
                await self._storage.reconcile(work.name)
            case "Cleaning":
                return await self._cleaning.reconcile()
        return None

    # Placement

    def _replan(self) -> float | None:
        """Plan for all, and enqueue whom the plan changes."""
        started = time.monotonic()
        if started < self._next_plan:
            return self._next_plan - started
        snapshot, again = self._snapshots.draw()
        with _collector_paused():
            new = self._planner.plan(snapshot)
        self._next_plan = time.monotonic() + max(_PLAN_WINDOW, _PLAN_SHARE * (time.monotonic() - started))
        old, self._plan = self._plan, new
        before, self._planned_for = self._planned_for, snapshot.models
        self._named = _members(snapshot.models)
        changed = {key for key, model in snapshot.models.items() if not same_for_planning(model, before.get(key))}
        changed |= _differing(new.models, old.models)
        work = [Work("Model", *key) for key in changed]
        shared = old.groups.keys() | new.groups.keys()
        work += [Work("Group", *key) for key in shared if new.groups.get(key) != old.groups.get(key)]
        work += [Work("Slice", *key) for key in _differing(new.slices, old.slices)]
        work += [Work("EdgeNode", "", name) for name in _differing(new.nodes, old.nodes)]
        for item in work:
            self._queue.add(item, Priority.HIGH)
        return again

    # Models

    async def _model(self, work: Work) -> float | None:
        key = (work.namespace, work.name)
        model: InferenceModel | Refused | None = self._store.get(kinds.MODELS, key)
        if isinstance(model, Refused):
            return await self._unreadable(key, model)
        if model is None or model.metadata.deletion_timestamp is not None:
            self._written.pop(work, None)
            self._told.pop(key, None)
            self._unread.pop(key, None)
            self._models.gone(key)
            return None  # what it owns is the garbage collector's
        shared = group_of(model)
        if shared is not None:
            self._models.gone(key)
            self._queue.add(Work("Group", *shared), Priority.HIGH)
            return None
        mine = self._plan.models.get(key)
        if mine is None or not same_for_planning(self._planned_for.get(key), model):
            self._queue.add(PLAN, Priority.HIGH)  # the plan enqueues the model again
            return None
        visit = await self._models.visit(model, mine)
        if mine.leaving:
            self._queue.add(PLAN, Priority.HIGH)  # what leaves may go once another answers: the plan says
        self._announce(model, mine)
        delay = await self._report(work, visit)
        if visit.error is None:
            return delay
        if visit.problem is None:
            raise visit.error  # time may mend it: again after the key's back-off
        return _PROBLEM_RETRY

    async def _group(self, work: Work) -> float | None:
        key = (work.namespace, work.name)
        models = {name: self._store.get(kinds.MODELS, name) for name in self._named.get(key, ())}
        if any(not same_for_planning(self._planned_for.get(name), model) for name, model in models.items()):
            self._queue.add(PLAN, Priority.HIGH)  # the plan enqueues the group again
            return None
        members = [model for model in models.values() if isinstance(model, InferenceModel)]
        its, group = self._plan.groups.get(key), compose(members).get(key)
        if its is None or group is None:
            self._groups.gone(key)
            if its is not None:
                await self._groups.disband(key, its)
            return None
        found = await self._groups.visit(group, self._plan)
        if its.leaving:
            self._queue.add(PLAN, Priority.HIGH)  # as of a model
        delays = [found.recheck]
        for visit in found.visits:
            self._announce(visit.model, visit.plan)
            delays.append(await self._report(Work("Model", *visit.model.metadata.key), visit))
        if found.error is not None:
            if not any(visit.problem for visit in found.visits):
                raise found.error  # time may mend it: again after the key's back-off
            delays.append(_PROBLEM_RETRY)
        return min((delay for delay in delays if delay is not None), default=None)

    async def _report(self, work: Work, visit: Visit) -> float | None:
        """Write the model's status where it changed; when to look again.

        It is about the spec that the visit saw: should another have come meanwhile, the next visit speaks of that.
        """
        model = visit.model
        latest = self._store.get(kinds.MODELS, (work.namespace, work.name))
        if not isinstance(latest, InferenceModel) or latest.metadata.uid != model.metadata.uid:
            return None
        model = model.model_copy(update={"status": latest.status})
        again = _SOON if visit.decision.failure is not None else visit.decision.recheck
        view = View(
            model, visit.plan, visit.replicas, visit.decision, visit.failed,
            revision.model_revision(visit.model), visit.problem,
        )  # fmt: skip
        new = status(view, utcnow())
        patch = status_patch(model.status, new)
        if not patch:
            return again
        hold = self._hold(work, new)
        if hold > 0:
            return hold if again is None else min(hold, again)
        key = model.metadata.key
        await self._writer.patch_status(kinds.MODELS, key, patch, uid=model.metadata.uid)
        self._written[work] = time.monotonic()
        self._tell(model, new)
        return again

    def _hold(self, work: Work, new: InferenceModelStatus) -> float:
        """The seconds for which this status may wait for the next step."""
        ready = find(new.conditions, READY)
        settled = ready is None or ready.status == "True" or ready.reason not in _PROGRESS
        if settled or find(new.conditions, STALLED) is not None:
            return 0.0
        since = self._written.setdefault(work, time.monotonic())
        return since + _PROGRESS_HOLD - time.monotonic()

    def _announce(self, model: InferenceModel, plan: ModelPlan) -> None:
        """An Event for each replica that goes, once, with why: what moves must never be a riddle."""
        told = self._told.get(model.metadata.key, frozenset())
        self._told[model.metadata.key] = frozenset(plan.moves)
        for move in plan.moves:
            if move not in told:
                sentence = f"slice {move.slice} leaves node {move.node}: {move.cause}"
                self._events.record(subject(model), "Normal", "Moving", sentence)

    def _tell(self, model: InferenceModel, new: InferenceModelStatus) -> None:
        """An Event for what somebody may have to do something about, once for each transition."""
        ready, before = find(new.conditions, READY), find(model.status.conditions, READY)
        if ready is None or ready.status == "True" or ready.reason in _PROGRESS:
            return
        if before is None or before.reason != ready.reason:
            self._events.record(subject(model), "Warning", ready.reason, ready.message)

    async def _unreadable(self, key: Key, model: Refused) -> float | None:
        """Say on the object, once for each of its states, what of it cannot be read."""
        meta = model.metadata
        if self._unread.get(key) == (meta.uid, meta.generation, model.message):
            return None
        findings = [Finding(READY, "False", "InvalidSpec", model.message)]
        others = (conditions.PLACED, conditions.FETCHED, conditions.LOADED, conditions.NODES_CONNECTED)
        findings += [Finding(name, "Unknown", "InvalidSpec", "the spec cannot be read") for name in others]
        findings.append(Finding(STALLED, "True", "InvalidSpec", model.message))
        merged = conditions.merge((), findings, generation=meta.generation, now=utcnow())
        dumped = [condition.model_dump(mode="json", by_alias=True) for condition in merged]
        patch = {"observedGeneration": meta.generation, "conditions": dumped}
        await self._writer.patch_status(kinds.MODELS, key, patch, uid=meta.uid)
        self._unread[key] = (meta.uid, meta.generation, model.message)
        return None


def _members(models: Mapping[Key, InferenceModel]) -> dict[Key, list[Key]]:
    """The models that name each group, without those that are being deleted."""
    found: dict[Key, list[Key]] = {}
    for key, model in models.items():
        shared = group_of(model)
        if shared is not None and model.metadata.deletion_timestamp is None:
            found.setdefault(shared, []).append(key)
    return found


def _differing(new: Mapping[K, V], old: Mapping[K, V]) -> set[K]:
    """The keys of what is new or not as it was; what the planner left alone is the same object."""
    return {key for key, value in new.items() if value is not (before := old.get(key)) and value != before}


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A plan makes many objects and few cycles: walking through the whole fleet meanwhile would take longer than it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def enqueue_all(queue: WorkQueue[Work], work: Iterable[Work], priority: Priority) -> None:
    """Add what a change or a listing makes worth looking at."""
    for item in work:
        queue.add(item, priority)
