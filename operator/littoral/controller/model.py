"""One visit to an InferenceModel that has servers of its own: they, and the Service that leads to them."""

from collections.abc import Mapping
from dataclasses import dataclass

from littoral.api.inferencemodel import InferenceModel
from littoral.controller import kinds
from littoral.controller.endpoints import Endpoints
from littoral.controller.servers import Servers
from littoral.controller.store import Store
from littoral.controller.writer import Writer
from littoral.placement.results import ModelPlan
from littoral.triton import service
from littoral.triton.rollout import Decision, Replica
from littoral.triton.status import Problem
from littoral.triton.tenant import Alone


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

    def __init__(self, store: Store, writer: Writer, servers: Servers) -> None:
        self._writer = writer
        self._servers = servers
        self._endpoints = Endpoints(store, writer)

    async def visit(self, model: InferenceModel, plan: ModelPlan) -> Visit:
        """Do what is due now. What fails is in the visit, never raised."""
        # Endpoints are Kubernetes' to make; ours are left from a group that it was in.
        found = await self._servers.visit(
            Alone(model), plan, beside=lambda: [self._service(model), self._endpoints.ensure(model)]
        )
        return Visit(model, plan, found.replicas, found.decision, found.failed, found.problem, found.error)

    def gone(self, key: kinds.Key) -> None:
        """The model is no more: nothing is assumed for it."""
        self._servers.gone(key)

    async def _service(self, model: InferenceModel) -> None:
        key = model.metadata.key
        await self._writer.ensure(kinds.SERVICES, key, model.metadata.uid, lambda: service.build(model))
