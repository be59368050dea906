"""A fleet of fake nodes: KWOK plays kubelet for any number of Node objects, and their pods become Ready at once.

What is real: the API server, the scheduler, the controllers, every object and every write. What is not: containers.
dev/kwok/stages.yaml says what KWOK writes, the fetch container's termination message included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import kubernetes
import yaml

from rig import kube, paths
from rig.binaries import Binaries
from rig.controlplane import ControlPlane
from rig.errors import RigError, with_log
from rig.processes import ProcessTable
from rig.progress import Progress, silent
from rig.waiting import until

ANNOTATION = "kwok.x-k8s.io/node"
"""On the Nodes that KWOK plays; its value is `fake`."""
STAGES = paths.REPOSITORY / "dev" / "kwok" / "stages.yaml"
_READY_SECONDS = 120.0
_PARALLEL = 16
_NODE_INFO = (
    "architecture", "operatingSystem", "machineID", "bootID", "systemUUID", "osImage", "kernelVersion",
    "kubeletVersion", "kubeProxyVersion", "containerRuntimeVersion",
)  # fmt: skip
_ALLOCATABLE = {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "256Gi"}


class Kwok:
    """The KWOK controller of one control plane; ends with it, or with `stop`."""

    def __init__(self, plane: ControlPlane, binaries: Binaries | None = None) -> None:
        self._plane = plane
        self._binaries = binaries or Binaries()
        self._table = ProcessTable(plane.state / "processes")
        self._log = plane.state / "logs" / "kwok.log"

    def start(self, progress: Progress = silent) -> Self:
        """Start KWOK; Nodes may be added before or after."""
        program = self._binaries.ensure(["kwok"], progress)["kwok"]
        config = self._plane.state / "kwok.yaml"
        config.write_text(configuration(), encoding="utf-8")
        self._table.spawn("kwok", [str(program), *flags(self._plane, str(config))], log=self._log)
        return self

    def stop(self) -> None:
        """End KWOK; its nodes then go offline as real ones do."""
        self._table.stop(["kwok"])

    def add_nodes(
        self,
        count: int,
        *,
        prefix: str = "fake",
        labels: Callable[[int], Mapping[str, str]] = lambda _number: {},
        devices: Mapping[str, int] | None = None,
    ) -> list[str]:
        """Create `count` nodes PREFIX-0, PREFIX-1, … and wait until all are Ready; returns their names.

        `labels` is called with each node's number; each offers `devices` besides 8 CPUs and 32 GiB.
        """
        return self.add(
            [fake_node(f"{prefix}-{number}", number, labels(number), devices or {}) for number in range(count)]
        )

    def add(self, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
        """Create Nodes of any kind, play them, and wait until all are Ready; returns their names."""
        nodes = [played(node) for node in nodes]
        names = [str(node["metadata"]["name"]) for node in nodes]
        with kube.client(self._plane.kubeconfig) as api:
            core = kubernetes.client.CoreV1Api(api)
            with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
                list(pool.map(core.create_node, nodes))
            self._await_ready(core, names)
        return names

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await_ready(self, core: Any, names: Sequence[str]) -> None:
        wanted = set(names)

        def probe() -> bool:
            if not self._table.alive("kwok"):
                raise with_log("KWOK ended", self._log)
            ready = {node.metadata.name for node in core.list_node().items if kube.is_ready(node.status)}
            return wanted <= ready

        until(
            probe,
            timeout=_READY_SECONDS,
            interval=0.5,
            failure=lambda: RigError(f"fake nodes are not Ready after {_READY_SECONDS:.0f} s: {self._log}"),
        )


def flags(plane: ControlPlane, config: str) -> list[str]:
    """KWOK's command line."""
    return [
        f"--kubeconfig={plane.kubeconfig}",
        f"--config={config}",
        f"--config={STAGES}",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
        "--node-lease-duration-seconds=40",
        "--cidr=10.128.0.0/12",
    ]


def configuration() -> str:
    """KWOK's own configuration: enough workers that it is not what a benchmark of a thousand pods measures."""
    return yaml.safe_dump(
        {
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "kind": "KwokConfiguration",
            "options": {"podPlayStageParallelism": 16, "nodePlayStageParallelism": 16, "nodeLeaseParallelism": 16},
        }
    )


def played(node: Mapping[str, Any]) -> dict[str, Any]:
    """A Node with what makes KWOK play it, and with those of its facts that every Node must have."""
    metadata, status = node["metadata"], node.get("status", {})
    info = {**dict.fromkeys(_NODE_INFO, "kwok"), **status.get("nodeInfo", {})}
    annotations = {**metadata.get("annotations", {}), ANNOTATION: "fake"}
    return {
        **node,
        "metadata": {**metadata, "annotations": annotations},
        "status": {**status, "nodeInfo": info},
    }


def fake_node(name: str, number: int, labels: Mapping[str, str], devices: Mapping[str, int]) -> dict[str, Any]:
    """A Node object as its kubelet would register it."""
    resources = {**_ALLOCATABLE, **{resource: str(count) for resource, count in devices.items()}}
    own = {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
    third, fourth = divmod(number, 250)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**own, **labels}},
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "addresses": [
                {"type": "InternalIP", "address": f"10.127.{third}.{fourth + 1}"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "machineID": name,
                "bootID": name,
                "systemUUID": name,
            },
        },
    }
