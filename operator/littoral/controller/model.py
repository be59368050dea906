"""One visit to an InferenceModel that has servers of its own: they, and the Service that leads to them."""

from collections.abc import Mapping
from dataclasses import dataclass

from littoral.api import group
from littoral.api.inferencemodel import InferenceModel
from littoral.controller import kinds
from littoral.controller.endpoints import Endpoints
from littoral.controller.servers import Servers
from littoral.controller.store import Store
from littoral.controller.writer import Writer
from littoral.placement.results import ModelPlan
from littoral.telemetry.events import EventRecorder, Subject
from littoral.triton import service
from littoral.triton.replica import Replica
from littoral.triton.rollout import Decision
from littoral.triton.status import Problem
from littoral.triton.tenant import Alone


def subject(model: InferenceModel) -> Subject:
    """The model, for Events about it."""
    meta = model.metadata
    return Subject(group.API_VERSION, "InferenceModel", meta.namespace, meta.name, meta.uid)


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit found and decided: the input of the model's status."""

    model: InferenceModel
    plan: ModelPlan
    replicas: tuple[Replica, ...]
    decision: Decision
    failed: Mapping[str, str]
    problem: Problem | None = None
    """What a person has to know of."""
    error: BaseException | None = None
    """What time may mend: the visit is to be repeated."""


class Models:
    """Makes an InferenceModel's children what they should be."""

    def __init__(self, store: Store, writer: Writer, servers: Servers, events: EventRecorder) -> None:
        self._writer = writer
        self._events = events
        self._servers = servers
        self._endpoints = Endpoints(store, writer)

    async def visit(self, model: InferenceModel, plan: ModelPlan) -> Visit:
        """Do what is due now. What fails is in the visit, never raised."""
        # Endpoints are Kubernetes' to make; ours are left from a group that it was in.
        found = await self._servers.visit(
            Alone(model),
            plan,
            beside=lambda: [self._service(model), self._endpoints.ensure(model)],
            announce=lambda replica, _before, _after: self._announce(model, replica),
        )
        return Visit(model, plan, found.replicas, found.decision, found.failed, found.problem, found.error)

    def gone(self, key: kinds.Key) -> None:
        """The model is no more: nothing is assumed for it."""
        self._servers.gone(key)

    def _announce(self, model: InferenceModel, replica: Replica) -> None:
        """Say of other figures that they are taken over in place: nothing answers there meanwhile."""
        target, now = replica.assignment.target, replica.allocation
        if not replica.resized or target is None or now is None:
            return
        figures = f"{target.memory}, {target.compute}% in place of {now.memory}, {now.compute}%"
        sentence = (
            f"slice {replica.assignment.slice} on node {replica.assignment.node} gets {figures}: "
            "its server restarts, and nothing answers there until it is back"
        )
        self._events.record(subject(model), "Normal", "Resizing", sentence)

    async def _service(self, model: InferenceModel) -> None:
        key = model.metadata.key
        await self._writer.ensure(kinds.SERVICES, key, model.metadata.uid, lambda: service.build(model))
