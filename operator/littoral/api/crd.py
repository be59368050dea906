"""The CustomResourceDefinitions, generated from the pydantic models.

A structural schema has no $ref, no anyOf null and no title; CEL costs are bounded only where lists, maps and strings
are. So the JSON schema that pydantic prints is inlined, and what Kubernetes has no word for is dropped.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

import yaml

from littoral.api import edgenode, gpuslice, inferencemodel
from littoral.api.base import ApiModel
from littoral.api.group import GROUP, VERSION

_DROPPED: Final = {"title", "$defs", "additionalProperties"}
_KEPT_FORMATS: Final = {"date-time"}

KINDS: Final[tuple[tuple[type[ApiModel], str, str, str, ModuleType], ...]] = (
    (edgenode.EdgeNode, "edgenodes", "en", "Cluster", edgenode),
    (gpuslice.GPUSlice, "gpuslices", "gs", "Namespaced", gpuslice),
    (inferencemodel.InferenceModel, "inferencemodels", "im", "Namespaced", inferencemodel),
)
"""Kind's model, plural, short name, scope, and the module with its columns, rules and default status."""


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """One node of pydantic's JSON schema as Kubernetes' structural schema."""
    node = dict(schema)
    if "$ref" in node:
        target = definitions[node.pop("$ref").rsplit("/", 1)[1]]
        node = {**target, **node}
    if "anyOf" in node:
        real = [option for option in node.pop("anyOf") if option.get("type") != "null"]
        return _structural({**real[0], **node}, definitions)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "patternProperties" in node:  # a structural schema says nothing of a map's keys
        (node["additionalProperties"],) = node.pop("patternProperties").values()
    extra = node.get("additionalProperties")
    node = {key: value for key, value in node.items() if key not in _DROPPED}
    if isinstance(extra, Mapping):
        node["additionalProperties"] = _structural(extra, definitions)
    if "properties" in node:
        node["properties"] = {
            key: _structural(value, definitions) for key, value in node["properties"].items() if key != "metadata"
        }
        node["required"] = [key for key in node.get("required", []) if key != "metadata"]
    if isinstance(node.get("items"), Mapping):
        node["items"] = _structural(node["items"], definitions)
    if node.get("format") not in _KEPT_FORMATS:
        node.pop("format", None)
    if node.pop("x-kubernetes-int-or-string", False):
        node.pop("type")
        node |= {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    if "default" in node:
        _default(node)
    if not node.get("required", True):
        node.pop("required")
    if "propertyNames" in node:
        node.pop("propertyNames")
    return node


def _default(node: dict[str, Any]) -> None:
    """Nested fields bring their own defaults, so an object's is {}; an empty string or list is no default at all."""
    if isinstance(node["default"], Mapping):
        node["default"] = {}
    elif node["default"] in (None, "", [], ()):
        del node["default"]


def _version(kind: type[ApiModel], module: ModuleType) -> dict[str, Any]:
    printed = kind.model_json_schema(mode="validation", by_alias=True)
    schema = _structural(printed, printed.get("$defs", {}))
    properties = schema["properties"]
    properties["status"]["default"] = module.DEFAULT_STATUS
    conditions = properties["status"]["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    description = (kind.__doc__ or "").strip()
    root = {"type": "object", "description": description, "properties": properties, **getattr(module, "RULES", {})}
    if "spec" in schema.get("required", []):
        root["required"] = ["spec"]
    columns = [
        {"name": name, "type": type_, "jsonPath": path, **({"priority": priority} if priority else {})}
        for name, type_, path, priority in module.COLUMNS
    ]
    subresources: dict[str, Any] = {"status": {}}
    if kind is inferencemodel.InferenceModel:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": root},
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: a manifest is read by people, and each field stands alone."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the base class's signature)
        return True


def render(definition: Mapping[str, Any]) -> str:
    """A definition as the text of its file below crds/."""
    header = "# Generated from operator/littoral/api by `make crds`. Change the models, not this file.\n"
    return header + yaml.dump(dict(definition), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def definitions() -> dict[str, dict[str, Any]]:
    """Each CustomResourceDefinition by its file's name below crds/."""
    crds = {}
    for kind, plural, short, scope, module in KINDS:
        crds[f"{plural}.yaml"] = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": scope,
                "names": {
                    "kind": kind.__name__,
                    "listKind": f"{kind.__name__}List",
                    "plural": plural,
                    "singular": kind.__name__.lower(),
                    "shortNames": [short],
                    "categories": ["littoral"],
                },
                "versions": [_version(kind, module)],
            },
        }
    return crds
