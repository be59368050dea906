"""What a kubelet has handed out, asked over its pod resources API: the truth that a ledger of units has to agree with.

The stubs are generated from api.proto in memory, as the device plugin's are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

_PROTO = "rig/podresources/api.proto"
_SECONDS = 10.0


@dataclass(frozen=True, order=True)
class Allocated:
    """The devices of one resource that a container holds, by the ids that their plugin gave them."""

    namespace: str
    pod: str
    container: str
    resource: str
    ids: tuple[str, ...]


def allocated(socket: Path) -> list[Allocated]:
    """What the containers of the pods that this kubelet runs hold, in order. Raises grpc.RpcError."""
    api, services = grpc.protos_and_services(_PROTO)
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        lister = services.PodResourcesListerStub(channel)
        answer = lister.List(api.ListPodResourcesRequest(), timeout=_SECONDS)
    return sorted(
        Allocated(pod.namespace, pod.name, container.name, held.resource_name, tuple(sorted(held.device_ids)))
        for pod in answer.pod_resources
        for container in pod.containers
        for held in container.devices
    )
