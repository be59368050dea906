"""What runs, or may run, for each slice: its pods and its Deployment."""

from collections.abc import Collection
from typing import Any

from littoral.api.gpuslice import Allocation
from littoral.api.workload import DeploymentFacts, PodFacts
from littoral.placement.snapshot import Key


class Workloads:
    """By slice."""

    def __init__(self) -> None:
        self._pods: dict[Key, dict[Key, PodFacts]] = {}
        self._deployments: dict[Key, dict[Key, DeploymentFacts]] = {}
        self._of: dict[Key, dict[Key, DeploymentFacts]] = {}

    def update_pod(self, key: Key, old: PodFacts | None, new: PodFacts | None) -> None:
        """A pod is not as it was."""
        if old is not None:
            _remove(self._pods, (old.namespace, old.slice), key)
        if new is not None:
            self._pods.setdefault((new.namespace, new.slice), {})[key] = new

    def update_deployment(self, key: Key, old: DeploymentFacts | None, new: DeploymentFacts | None) -> None:
        """A Deployment is not as it was."""
        if old is not None:
            _remove(self._deployments, (old.namespace, old.slice), key)
            _remove(self._of, (old.namespace, old.model), key)
        if new is not None:
            self._deployments.setdefault((new.namespace, new.slice), {})[key] = new
            self._of.setdefault((new.namespace, new.model), {})[key] = new

    def pods(self, key: Key) -> Collection[PodFacts]:
        """The slice's pods."""
        return self._pods.get(key, _NOTHING).values()

    def deployments(self, key: Key) -> Collection[DeploymentFacts]:
        """What stands on the slice; one Deployment, unless a stranger's has its label."""
        return self._deployments.get(key, _NOTHING).values()

    def deployment(self, key: Key) -> DeploymentFacts | None:
        """What stands on the slice."""
        return min(self.deployments(key), key=lambda each: each.name, default=None)

    def deployments_of(self, model: Key) -> list[DeploymentFacts]:
        """The model's Deployments, by the names of their slices."""
        return sorted(self._of.get(model, _NOTHING).values(), key=lambda each: each.slice)

    def started(self, key: Key, allocation: Allocation) -> bool:
        """Whether its server was ready once, or may have been: a start that nobody noted shows in its pods."""
        return allocation.started_at is not None or any(_ran(pod) for pod in self.pods(key))

    def ready(self, key: Key, model: str = "") -> bool:
        """Whether it answers, or did when its node was last seen; with `model`, whether that is what answers."""
        pods = self.pods(key)
        return any(pod.server.ready and not pod.deleting and model in ("", pod.model) for pod in pods)

    def refused(self, key: Key) -> bool:
        """Whether the scheduler or the kubelet refuses its pod."""
        return any(pod.scheduling_message and not pod.deleting for pod in self.pods(key))

    def existed(self, key: Key, allocation: Allocation | None) -> bool:
        """Whether anything of it may be on its node, where nobody can look."""
        started = allocation is not None and allocation.started_at is not None
        return started or key in self._pods or key in self._deployments


def _ran(pod: PodFacts) -> bool:
    """Whether one of its containers was ever seen to run. A pod that the kubelet refused is Failed, and never did."""
    containers = (pod.fetch, pod.server, *pod.model_containers.values())
    if any(c.running or c.exit_code is not None or c.restarts for c in containers):
        return True
    return pod.phase != "Pending" and not pod.scheduling_message


_NOTHING: dict[Key, Any] = {}


def _remove(groups: dict[Key, dict[Key, Any]], group: Key, key: Key) -> None:
    members = groups[group]
    del members[key]
    if not members:
        del groups[group]
