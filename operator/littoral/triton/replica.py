"""One replica of a model: where it shall be, what is there, and how far that has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from littoral.api.gpuslice import Allocation
from littoral.api.workload import DeploymentFacts, PodFacts
from littoral.modelstore.errors import REASONS, CacheFull
from littoral.placement.results import Assignment
from littoral.triton.diagnosis import Diagnosis, diagnose, last_attempt, stands_for
from littoral.triton.prefetch import Prefetch, Seen


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica: where it shall be, and what is there."""

    assignment: Assignment
    wanted: str
    """The revision that the spec asks for here."""
    allocation: Allocation | None = None
    """What its slice is bound to now."""
    deployment: DeploymentFacts | None = None
    pods: tuple[PodFacts, ...] = ()
    connected: bool = True
    node_ready: bool = True
    """The kubelet says so itself: what is begun there can become ready."""
    address: str = ""
    """The node's own, by which it is called where the server has ports of the node."""
    models: tuple[str, ...] = ()
    """Of a shared server: the models that must answer, beside the server itself."""
    called: Mapping[str, str] = field(default_factory=dict)
    """The names by which Triton knows its models."""
    size: int | None = None
    """Bytes that its Deployment's revision has to fetch, where that is declared."""
    prefetch: Prefetch = field(default_factory=Prefetch)
    """What brings the wanted revision to its node while it goes on serving."""

    @property
    def pod(self) -> PodFacts | None:
        """The newest pod of the Deployment's present revision and grant that is not on its way out."""
        if self.deployment is None:
            return None
        present = self.deployment.revision, self.deployment.grant
        mine = [p for p in self.pods if not p.deleting and (p.revision, p.grant) == present]
        return max(mine, key=lambda p: (p.phase != "Failed", p.created is not None, p.created, p.name), default=None)

    @property
    def ready(self) -> bool:
        """It answers at its Deployment's revision; on an offline node: it did when last seen."""
        return self.pod is not None and self._answers(self.pod)

    @property
    def serving(self) -> bool:
        """It answers at whatever revision."""
        return any(self._answers(p) and not p.deleting for p in self.pods)

    @property
    def answering(self) -> bool:
        """A server runs there that answers; of a shared one perhaps not each model."""
        return any(p.server.ready and not p.deleting for p in self.pods)

    @property
    def started(self) -> bool:
        """A server answered there once: there is something to lose, whether or not it answers at this moment."""
        stamped = self.allocation is not None and self.allocation.started_at is not None
        return stamped or self.answering or (self.deployment is not None and bool(self.deployment.previous))

    @property
    def broken(self) -> bool:
        """What it is at will not come back by itself: its fetch fails for good, or its server does again and again.

        One that starts, fetches or loads is not: it was restarted, evicted, or its machine was. Nor is one whose source
        is away; nor one without room in the cache, as long as a prefetch that makes room may still bring it back.
        """
        seen = self.diagnosis
        if seen.reason == CacheFull.__name__ and self.deployment is not None:
            return self.prefetch.seen(self.deployment.revision).reason in REASONS
        failing = self.pod is not None and self.pod.server.waiting_reason == "CrashLoopBackOff"
        return seen.terminal or (seen.loaded == "False" and failing)

    @property
    def lacks_room(self) -> bool:
        """It does not answer, and its last fetch found the cache full; perhaps it is being tried again."""
        if self.ready or self.pod is None:
            return False
        return CacheFull.__name__ in {self.diagnosis.reason, last_attempt(self.pod.fetch).reason}

    @property
    def updated(self) -> bool:
        """Its Deployment is at the revision and on the figures that the spec asks for."""
        deployed = self.deployment is not None and self.deployment.revision == self.wanted
        return deployed and not self.resized and not self.behind

    @property
    def behind(self) -> bool:
        """Its Deployment is not on what its slice is bound to: an operator died between the two, or somebody edited it.

        Drift repair puts it in line without a gate, and restarts it by that.
        """
        if self.deployment is None or self.allocation is None:
            return False
        return self.deployment.grant is None or not same_grant(self.deployment.grant, self.allocation)

    @property
    def on_trial(self) -> bool:
        """It was updated and has not answered since; there is something to put back."""
        return self.deployment is not None and self.deployment.previous not in {"", self.deployment.revision}

    @property
    def resized(self) -> bool:
        """The plan gives it other figures than it is bound to."""
        target = self.assignment.target
        return target is not None and self.allocation is not None and not same_grant(target, self.allocation)

    @property
    def revised(self) -> bool:
        """The spec asks for another revision than its Deployment is at."""
        return self.deployment is not None and self.deployment.revision != self.wanted

    @property
    def ahead(self) -> Seen | None:
        """How far the prefetch has come that its update waits for; None where that waits for none.

        Where none answered yet, or what did is broken, nothing is lost by an update: it brings the revision itself.
        """
        if not self.revised or not self.started or (self.broken and not self.answering):
            return None
        seen = self.prefetch.seen(self.wanted)
        return None if seen.arrived else seen

    @property
    def diagnosis(self) -> Diagnosis:
        """How far it has come."""
        refused = self.deployment.refused if self.deployment is not None else ""
        return diagnose(self.pod, self.models, refused, self.size, self.called)

    def _answers(self, pod: PodFacts) -> bool:
        return pod.server.ready and all(stands_for(pod, model).ready for model in self.models)


def same_grant(one: Allocation, other: Allocation) -> bool:
    """Whether two allocations give the same on the same device, whenever they were bound."""
    times = {"bound_at": None, "started_at": None, "updated_at": None}
    return one.model_copy(update=times) == other.model_copy(update=times)
