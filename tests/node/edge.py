"""The edge that the tests of the main job share: two unlike nodes, the operator, and what one asks of them."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import kubernetes
import psutil
import yaml
from tests.node import client
from tests.node.models import Artifact, manifest, variant
from tests.node.webserver import ModelServer

from littoral.api import group
from rig import cgroups, kube
from rig.binaries import Binaries
from rig.cluster import Cluster
from rig.errors import RigError
from rig.images import IMAGES
from rig.operator import NAMESPACE, Kubectl, Operator, install, service_account_kubeconfig
from rig.waiting import until

T4, JETSON = "edge-t4", "edge-jetson"
SECONDS = 90.0
Object = dict[str, Any]
_CLIENT = [sys.executable, client.__file__]


@dataclass(frozen=True)
class Edge:
    """The cluster with the operator beside it; `models` is the world outside the site."""

    cluster: Cluster
    kubectl: Kubectl
    operator: Operator
    models: ModelServer
    api: Any

    @cached_property
    def core(self) -> Any:
        """core/v1."""
        return kubernetes.client.CoreV1Api(self.api)

    @cached_property
    def apps(self) -> Any:
        """apps/v1."""
        return kubernetes.client.AppsV1Api(self.api)

    @cached_property
    def custom(self) -> Any:
        """The three resources."""
        return kubernetes.client.CustomObjectsApi(self.api)

    def node_folder(self, node: str, namespace: str) -> Any:
        """The namespace's model cache on a node, as the host sees it."""
        uid = self.core.read_namespace(namespace).metadata.uid
        return self.cluster.nodes[node].host_folder / "namespaces" / uid

    def serve(self, namespace: str, name: str, artifact: Artifact, *, node: str | None = None, **spec: Any) -> None:
        """Apply a model of one artifact that runs on the CPU, at `node` or everywhere."""
        only = variant("any", ["cpu"], self.models.add(artifact), artifact.sha256)
        self.apply(namespace, manifest(name, [only], node=node, **spec))

    def apply(self, namespace: str, body: Mapping[str, Any]) -> None:
        """What `kubectl apply --server-side` does with one of the three resources."""
        name, plural = body["metadata"]["name"], f"{body['kind'].lower()}s"
        self.custom.patch_namespaced_custom_object(
            group.GROUP,
            group.VERSION,
            namespace,
            plural,
            name,
            dict(body),
            field_manager="test",
            force=True,
            _content_type="application/apply-patch+yaml",
        )

    def patch(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """Merge into a model's spec."""
        self.custom.patch_namespaced_custom_object(
            group.GROUP, group.VERSION, namespace, "inferencemodels", name, {"spec": dict(spec)}
        )

    def delete(self, namespace: str, name: str) -> None:
        """Delete a model."""
        self.custom.delete_namespaced_custom_object(group.GROUP, group.VERSION, namespace, "inferencemodels", name)

    def model(self, namespace: str, name: str) -> Object:
        """The model as it stands."""
        found: Object = self.custom.get_namespaced_custom_object(
            group.GROUP, group.VERSION, namespace, "inferencemodels", name
        )
        return found

    def await_model(
        self, namespace: str, name: str, probe: Callable[[Object], Any], what: str, timeout: float = SECONDS
    ) -> Object:
        """The model once the controller has seen its spec and `probe` holds of it."""

        def seen() -> Object | None:
            found = self.model(namespace, name)
            current = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
            return found if current and probe(found) else None

        found = until(seen, timeout=timeout, interval=0.2, failure=lambda: self._failure(namespace, name, what))
        assert found is not None
        return found

    def await_ready(self, namespace: str, name: str, timeout: float = SECONDS) -> Object:
        """The model once it is Ready."""
        return self.await_model(namespace, name, lambda m: condition(m, "Ready")["status"] == "True", "Ready", timeout)

    def await_reason(self, namespace: str, name: str, reason: str, timeout: float = SECONDS) -> Object:
        """The model once it is not Ready for `reason`."""

        def probe(found: Object) -> bool:
            ready = condition(found, "Ready")
            return bool(ready["status"] == "False" and ready["reason"] == reason)

        return self.await_model(namespace, name, probe, f"Ready=False/{reason}", timeout)

    def pods(self, namespace: str, name: str, node: str | None = None) -> list[Any]:
        """A model's servers that are not on their way out."""
        selector = f"{group.LABEL_MODEL}={name},{group.LABEL_SLICE}"
        found = self.core.list_namespaced_pod(namespace, label_selector=selector).items
        return [p for p in found if p.metadata.deletion_timestamp is None and node in {None, p.spec.node_name}]

    def pod(self, namespace: str, name: str, node: str | None = None) -> Any:
        """The model's one pod there."""
        (found,) = self.pods(namespace, name, node)
        return found

    def deployment(self, namespace: str, name: str, node: str) -> Any:
        """The model's Deployment for a node."""
        selector = f"{group.LABEL_MODEL}={name},{group.LABEL_NODE}={node}"
        (found,) = self.apps.list_namespaced_deployment(namespace, label_selector=selector).items
        return found

    def events(self, namespace: str, name: str) -> list[Any]:
        """The Warning events about a model."""
        selector = f"involvedObject.kind=InferenceModel,involvedObject.name={name},type=Warning"
        found: list[Any] = self.core.list_namespaced_event(namespace, field_selector=selector).items
        return found

    def await_events(self, namespace: str, name: str) -> list[Any]:
        """The Warning events about a model once there is one: an Event is written after the status that it tells of."""
        found = until(
            lambda: self.events(namespace, name),
            timeout=SECONDS,
            interval=0.2,
            failure=lambda: self._failure(namespace, name, "told of by an Event"),
        )
        assert found is not None
        return found

    def exec(self, pod: Any, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside tritonserver, as the user that it runs as."""
        argv = ["exec", f"--namespace={pod.metadata.namespace}", pod.metadata.name, "-c", group.SERVER_CONTAINER, "--"]
        program = str(Binaries().kubectl(lambda _: None))
        return subprocess.run(
            [program, f"--kubeconfig={self.cluster.kubeconfig}", *argv, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def container_spec(self, pod: Any, container: str) -> Object:
        """What containerd was told to run for a container of a pod, ended or not: the truth below all manifests."""
        ctr = [str(Binaries().path("ctr")), "--namespace=k8s.io", "containers"]
        node = self.cluster.nodes[pod.spec.node_name]
        statuses = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
        status = next(s for s in statuses if s.name == container)
        info = json.loads(node.exec([*ctr, "info", status.container_id.partition("://")[2]]).stdout)
        spec: Object = info["Spec"]
        return spec

    def units(self, namespace: str) -> dict[str, dict[str, tuple[str, ...]]]:
        """By slice: the units of each resource that the kubelets say that they gave, all of them to the server.

        Each kubelet is asked once: it answers ten such questions in a row, and then refuses.
        """
        pods = self.core.list_namespaced_pod(namespace, label_selector=group.LABEL_SLICE).items
        owners = {pod.metadata.name: pod.metadata.labels[group.LABEL_SLICE] for pod in pods}
        found: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in owners.values()}
        for node in self.cluster.nodes.values():
            for each in node.allocated():
                if each.namespace == namespace and each.pod in owners and each.container == group.SERVER_CONTAINER:
                    found[owners[each.pod]][each.resource] = each.ids
        return found

    def granted(self, namespace: str) -> dict[str, dict[str, int]]:
        """By slice: the units of each resource that the ledger granted."""
        return {
            name: {resource: int(count) for resource, count in allocation.get("resources", {}).items()}
            for name, allocation in self.allocations(namespace).items()
        }

    def handed_out(self, namespace: str) -> dict[str, dict[str, int]]:
        """The same by the kubelets' accounts."""
        units = self.units(namespace)
        return {name: {resource: len(ids) for resource, ids in held.items()} for name, held in units.items()}

    def allocations(self, namespace: str) -> dict[str, Object]:
        """What each bound slice was given, by the slice's name."""
        listed = self.custom.list_namespaced_custom_object(group.GROUP, group.VERSION, namespace, "gpuslices")
        statuses = {item["metadata"]["name"]: item.get("status", {}) for item in listed["items"]}
        return {name: status["allocation"] for name, status in statuses.items() if "allocation" in status}

    def edge_node(self, name: str) -> Object:
        """An EdgeNode as it stands."""
        found: Object = self.custom.get_cluster_custom_object(group.GROUP, group.VERSION, "edgenodes", name)
        return found

    def processes(self, pod: Any) -> list[psutil.Process]:
        """What runs in a pod's containers, among the host's processes; nothing before it has a node."""
        if pod.spec.node_name is None:
            return []
        tops = [top / self.cluster.nodes[pod.spec.node_name].cgroup for top in cgroups.hierarchies()]
        trees = [Path(at, f"pod{pod.metadata.uid}") for top in tops for at, _, _ in os.walk(top)]
        pids = {pid for tree in trees if tree.is_dir() for pid in cgroups.processes(tree)}
        return [psutil.Process(pid) for pid in sorted(pids) if psutil.pid_exists(pid)]

    def server_process(self, pod: Any) -> psutil.Process:
        """The tritonserver of a pod."""
        (found,) = [p for p in self.processes(pod) if p.name() == "tritonserver"]
        return found

    def infer(self, pod: Any, name: str, value: int) -> int:
        """What the model makes of `value`, asked over HTTP at the pod's own address."""
        return client.ask(f"http://{pod.status.pod_ip}:{group.HTTP_PORT}", name, value)

    def infer_from(self, node: str, url: str, name: str, value: int) -> int:
        """The same, asked by a process on a node, where Services have addresses. Raises RigError."""
        said = json.loads(self.cluster.nodes[node].exec([*_CLIENT, url, name, str(value)]).stdout)
        if "error" in said:
            raise RigError(said["error"])
        return int(said["answer"])

    @contextmanager
    def traffic(self, node: str, url: str, name: str) -> Iterator[list[Object]]:
        """Requests with the value 1 from a process on a node, all the time; the list fills when the block has ended."""
        said: list[Object] = []
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
            stop = Path(folder, "stop")
            argv = [*_CLIENT, url, name, "1", f"--until={stop}"]
            process = pool.submit(self.cluster.nodes[node].exec, argv, timeout=600)
            try:
                yield said
            finally:
                stop.touch()
            said += [json.loads(line) for line in process.result().stdout.splitlines()]

    def _failure(self, namespace: str, name: str, what: str) -> AssertionError:
        pods = [f"{p.metadata.name}: {p.status.to_dict()}" for p in self.pods(namespace, name)]
        log = "\n".join(self.operator.log.read_text(encoding="utf-8").splitlines()[-20:])
        status = yaml.safe_dump(self.model(namespace, name).get("status"))
        return AssertionError(f"{namespace}/{name} did not become {what}:\n{status}\n{pods}\noperator's log:\n{log}")


def condition(found: Mapping[str, Any], name: str) -> Object:
    """A condition of an object, empty where it is absent."""
    conditions = found.get("status", {}).get("conditions", ())
    return next((dict(c) for c in conditions if c["type"] == name), {"status": "", "reason": "", "message": ""})


def at(found: Mapping[str, Any], node: str) -> Object:
    """What a model's status says of its replica on a node."""
    return next(dict(replica) for replica in found["status"]["nodes"] if replica["node"] == node)


def cpu_profile() -> Object:
    """An extension of the catalogue: the cpu profile on the Triton image that is on the nodes."""
    profile = {
        "name": "cpu",
        "family": "cpu",
        "sharing": ["cpu"],
        "overhead": "64Mi",
        "stacks": [
            {
                "image": IMAGES["triton-cpu"].tag,
                "arguments": ["--backend-directory=/opt/tritonserver/backends", "--allow-gpu-metrics=false"],
                "backends": {"python": "python"},
                "instanceKind": "KIND_CPU",
                "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
            }
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": group.CATALOGUE_CONFIGMAP, "namespace": NAMESPACE},
        "data": {"cpu.yaml": yaml.safe_dump({"profiles": [profile]})},
    }


def installed(kubeconfig: Path) -> None:
    """Put Littoral on a cluster whose controllers are yet to start: what is deleted then is collected at once."""
    install(Kubectl(kubeconfig))


@contextmanager
def running(cluster: Cluster, objects: Iterable[str], *, options: Sequence[str] = ()) -> Iterator[Edge]:
    """The operator beside `cluster`, with a server of models and what is applied beforehand: manifests, each a text."""
    kubectl = Kubectl(cluster.kubeconfig)
    for manifests in (*objects, json.dumps(cpu_profile())):
        # Each by a manager of its own: several fill the catalogue's ConfigMap, and none takes another's entry away.
        manager = f"test-{hashlib.sha256(manifests.encode()).hexdigest()[:8]}"
        kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=manifests)
    kubeconfig = service_account_kubeconfig(kubectl, cluster.state / "operator.kubeconfig")
    models = ModelServer(cluster.host_address)
    models.start()
    try:
        with Operator(cluster.state, kubeconfig, options=options) as operator, kube.client(cluster.kubeconfig) as api:
            yield Edge(cluster, kubectl, operator, models, api)
    finally:
        models.stop()
