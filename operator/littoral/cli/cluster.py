"""The objects of a live cluster that placement reads, as the manifests that a dump of it would hold. Only reads."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Dump:
    """What was read."""

    documents: tuple[Document, ...]
    notes: tuple[str, ...]
    """What could not be read."""
    complete: bool
    """Whether the RuntimeClasses are among what was read."""


async def dump(kubeconfig: Path | None, context: str | None) -> Dump:
    """Read the cluster. Raises BadInputError where something is missing that there is no plan without."""
    try:
        async with await Client.connect(kubeconfig, metrics=Metrics(), context=context) as client:
            return await _dump(client)
    except NotFound as error:
        raise BadInputError([f"{error}: are Littoral's CRDs installed in this cluster?"]) from error
    except (ApiError, ConfigurationError) as error:
        raise BadInputError([str(error)]) from error


async def _dump(client: Client) -> Dump:
    bodies: list[dict[str, Any]] = []
    notes: list[str] = []
    for resource, selector in _NEEDED.items():
        bodies += (await client.list(resource, label_selector=selector)).items
    hidden = set()
    for resource in _USEFUL:
        try:
            bodies += (await client.list(resource)).items
        except Forbidden as error:
            hidden.add(resource)
            notes.append(f"without {resource.plural}: {error}")
    try:
        catalogue = await client.get(kinds.CONFIGMAPS, OPERATOR_NAMESPACE, CATALOGUE_CONFIGMAP)
        bodies.append({"apiVersion": "v1", "kind": "ConfigMap", **catalogue})
    except NotFound:
        pass  # nobody extends the catalogue
    except Forbidden as error:
        notes.append(f"without the ConfigMap {CATALOGUE_CONFIGMAP}: {error}")
    return Dump(tuple(Document(body, _CLUSTER) for body in bodies), tuple(notes), kinds.RUNTIMECLASSES not in hidden)


_CLUSTER: Final = Text("the cluster", "")
