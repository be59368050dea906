"""The objects of a live cluster that placement reads, as the manifests that a dump of it would hold. Only reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from littoral.api.group import CATALOGUE_CONFIGMAP, OPERATOR_NAMESPACE
from littoral.cli.documents import BadInputError, Document, Text
from littoral.controller import kinds
from littoral.controller.client import Client, Resource
from littoral.controller.errors import ApiError, Forbidden, NotFound
from littoral.controller.transport import ConfigurationError
from littoral.telemetry.metrics import Metrics

_NEEDED: Final[Mapping[Resource, str | None]] = {
    kinds.NODES: None,
    kinds.EDGENODES: None,
    kinds.MODELS: None,
    kinds.SLICES: None,
    kinds.PODS: kinds.OURS,
    kinds.DEPLOYMENTS: kinds.OURS,
}
"""What there is no plan without, with the selector."""
_USEFUL: Final = (kinds.NAMESPACES, kinds.PRIORITYCLASSES, kinds.RUNTIMECLASSES)
"""What a plan goes without where the user may not read it."""


async def dump(kubeconfig: Path | None, context: str | None) -> tuple[list[Document], list[str]]:
    """(the objects, what could not be read). Raises BadInputError where there is no plan without it."""
    try:
        async with await Client.connect(kubeconfig, metrics=Metrics(), context=context) as client:
            return await _dump(client)
    except NotFound as error:
        raise BadInputError([f"{error}: are Littoral's CRDs installed in this cluster?"]) from error
    except (ApiError, ConfigurationError) as error:
        raise BadInputError([str(error)]) from error


async def _dump(client: Client) -> tuple[list[Document], list[str]]:
    bodies: list[dict[str, Any]] = []
    notes: list[str] = []
    for resource, selector in _NEEDED.items():
        bodies += (await client.list(resource, label_selector=selector)).items
    for resource in _USEFUL:
        try:
            bodies += (await client.list(resource)).items
        except Forbidden as error:
            notes.append(f"without {resource.plural}: {error}")
    try:
        catalogue = await client.get(kinds.CONFIGMAPS, OPERATOR_NAMESPACE, CATALOGUE_CONFIGMAP)
        bodies.append({"apiVersion": "v1", "kind": "ConfigMap", **catalogue})
    except NotFound:
        pass  # nobody extends the catalogue
    except Forbidden as error:
        notes.append(f"without the ConfigMap {CATALOGUE_CONFIGMAP}: {error}")
    return [Document(body, _CLUSTER) for body in bodies], notes


_CLUSTER: Final = Text("the cluster", "")
