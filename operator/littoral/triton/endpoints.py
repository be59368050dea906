"""Where the models of shared servers are called: the EndpointSlices that the operator writes for a model's Service.

The pod of a shared server carries no model's label, so the Service of a model selects none of them and Kubernetes makes
no endpoints of its own. An address is ready here while the container that stands for the model is ready, its server is,
and the node is connected: a broken model, a starting server and an offline node drop out, each by itself, and the
others stay. With the operator down all stay as they were.

The Service is the same as that of a model with servers of its own, its selector included: a model that joins or leaves
a group keeps its address, and the addresses of its own servers are Kubernetes' to take away.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from littoral.api import group
from littoral.api.inferencemodel import InferenceModel, Serving
from littoral.api.workload import PodFacts
from littoral.triton import metadata, network

SERVICE_NAME: Final = "kubernetes.io/service-name"
ZONE: Final = "topology.kubernetes.io/zone"
"""A Node's label: its site."""
_LARGEST: Final = 1000
"""Endpoints that the API server takes in one EndpointSlice."""


@dataclass(frozen=True, slots=True)
class Server:
    """A pod of a shared server, and its node."""

    pod: PodFacts
    connected: bool
    zone: str = ""


def build(model: InferenceModel, servers: Iterable[Server], serving: Serving) -> list[dict[str, Any]]:
    """The EndpointSlices of one model; `serving` is that of its group, which decides the ports."""
    by_family: dict[str, list[Server]] = {}
    for server in servers:
        if server.pod.ip:
            by_family.setdefault(_family(server.pod.ip), []).append(server)
    built = []
    for family, its in sorted(by_family.items()):
        ordered = sorted(its, key=lambda server: (server.pod.node, server.pod.name))
        chunks = [ordered[start : start + _LARGEST] for start in range(0, len(ordered), _LARGEST)]
        built += [_slice(model, family, number, chunk, serving) for number, chunk in enumerate(chunks)]
    return built


def _slice(
    model: InferenceModel, family: str, number: int, servers: Sequence[Server], serving: Serving
) -> dict[str, Any]:
    name, ports = model.metadata.name, network.listens(serving)
    opened = (("http", ports.http), ("grpc", ports.grpc), ("metrics", ports.metrics))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-shared-{family.lower()}-{number}",
            "namespace": model.metadata.namespace,
            "labels": metadata.labels(name) | {SERVICE_NAME: name, group.LABEL_ENDPOINTS_BY: group.MANAGER},
            "ownerReferences": metadata.owned_by_model(model.metadata),
        },
        "addressType": family,
        "endpoints": [_endpoint(name, server) for server in servers],
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"} for port_name, port in opened],
    }


def _endpoint(model: str, server: Server) -> dict[str, Any]:
    pod = server.pod
    answers = server.connected and _answers(pod, model)
    ready = answers and not pod.deleting
    zone: Mapping[str, Any] = {"zone": server.zone} if server.zone else {}
    # What trafficDistribution comes to: with a hint at every ready endpoint, callers prefer those of their own zone.
    hints: Mapping[str, Any] = {"hints": {"forZones": [{"name": server.zone}]}} if ready and server.zone else {}
    return {
        "addresses": [pod.ip],
        "conditions": {"ready": ready, "serving": answers, "terminating": pod.deleting},
        "nodeName": pod.node,
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        **zone,
        **hints,
    }


def _answers(pod: PodFacts, model: str) -> bool:
    container = pod.model_containers.get(model)
    return pod.server.ready and container is not None and container.ready


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"
