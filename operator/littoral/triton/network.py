"""How a server is reached on its node: serving.network and serving.ports.

Pod: its own address alone, on the usual ports. HostPort: the node's ports lead to it as well. Host: it runs in the
node's network and listens on the node's ports itself. Services and probes name ports by name and so need not know.

Pod Security `baseline` refuses the node's ports and its network: a namespace that wants them must allow `privileged`.
"""

from typing import Any, Final

from littoral.api.inferencemodel import Ports, Serving

_IN_THE_POD: Final = Ports()


def listens(serving: Serving) -> Ports:
    """The ports that Triton itself opens."""
    return serving.ports if serving.network == "Host" else _IN_THE_POD


def container_ports(serving: Serving) -> list[dict[str, Any]]:
    """The server container's `ports`, by the names that Services and probes use."""
    opened, outside = listens(serving), serving.ports
    pairs = (
        ("http", opened.http, outside.http),
        ("grpc", opened.grpc, outside.grpc),
        ("metrics", opened.metrics, outside.metrics),
    )
    # The host's port is written out in its own network too: the scheduler counts by it, and not every API server
    # fills it in for a template.
    on_host = serving.network != "Pod"
    return [
        {"name": name, "containerPort": port, "protocol": "TCP", **({"hostPort": host} if on_host else {})}
        for name, port, host in pairs
    ]


def pod_fields(serving: Serving) -> dict[str, Any]:
    """What the pod's spec says of its network; in the node's own, names of the cluster must still resolve."""
    if serving.network != "Host":
        return {}
    return {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
