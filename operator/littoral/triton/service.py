"""The Service by which clients inside the cluster call a model, on whichever node is nearest."""

from typing import Any

from littoral.api import group
from littoral.api.inferencemodel import InferenceModel
from littoral.triton import metadata


def build(model: InferenceModel) -> dict[str, Any]:
    """The Service, named as the model and owned by it."""
    name = model.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": model.metadata.namespace,
            "labels": metadata.labels(name),
            "ownerReferences": metadata.owned_by_model(model.metadata),
        },
        "spec": {
            "selector": metadata.pod_selector(name),
            # The caller's own zone, which is its site. A preference: with no server there, others are asked. API
            # servers before 1.31 drop the field; from 1.34 on PreferSameZone is another name for the same.
            "trafficDistribution": "PreferClose",
            "ports": [
                _port("http", group.HTTP_PORT),
                _port("grpc", group.GRPC_PORT),
                _port("metrics", group.METRICS_PORT),
            ],
        },
    }


def url(model: InferenceModel) -> str:
    """Where clients inside the cluster call the model over HTTP."""
    return f"http://{model.metadata.name}.{model.metadata.namespace}.svc:{group.HTTP_PORT}"


def selector(model: InferenceModel) -> str:
    """The label selector of the model's serving pods, for status.selector, which autoscalers read."""
    return ",".join(f"{key}={value}" for key, value in sorted(metadata.pod_selector(model.metadata.name).items()))


def _port(name: str, port: int) -> dict[str, Any]:
    # The protocol is part of the list's key in server-side apply, so it is written out.
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}
