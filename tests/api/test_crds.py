from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from littoral.api.base import ApiModel, pending_conditions
from littoral.api.crd import definitions, render
from littoral.api.edgenode import EdgeNode
from littoral.api.gpuslice import GPUSlice
from littoral.api.inferencemodel import InferenceModel

CRDS = Path(__file__).parents[2] / "crds"
DEFINITIONS = definitions()
EACH = pytest.mark.parametrize("name", sorted(DEFINITIONS))
EXAMPLES = {
    "a string without a length": {"type": "string"},
    "a list without a length": {"type": "array", "items": {"type": "boolean"}},
    "a map without a size": {"type": "object", "additionalProperties": {"type": "boolean"}},
}


def version(name: str) -> dict[str, Any]:
    only: dict[str, Any]
    (only,) = DEFINITIONS[name]["spec"]["versions"]
    return only


def schema(name: str) -> dict[str, Any]:
    root: dict[str, Any] = version(name)["schema"]["openAPIV3Schema"]
    return root


def walk(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each node of a schema with its path, `[]` for what stands in lists and `{}` for what stands in maps."""
    yield path, node
    for key, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{key}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), Mapping):
        yield from walk(node["additionalProperties"], f"{path}{{}}")


def unbounded(node: Mapping[str, Any]) -> str | None:
    """What bound the node lacks: CEL's cost is estimated from bounds, and etcd's objects have a size limit."""
    if node.get("type") == "string" and not {"maxLength", "enum", "format"} & node.keys():
        return "maxLength"
    if node.get("type") == "array" and "maxItems" not in node:
        return "maxItems"
    if "additionalProperties" in node and "maxProperties" not in node:
        return "maxProperties"
    if node.get("x-kubernetes-int-or-string") and "pattern" not in node:
        return "pattern"
    return None


@EACH
def test_the_committed_file_is_what_the_models_generate(name: str) -> None:
    assert (CRDS / name).read_text() == render(DEFINITIONS[name]), "run `make crds` and commit the result"


def test_the_kustomization_lists_each_crd_and_nothing_else_lies_there() -> None:
    listed = yaml.safe_load((CRDS / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(DEFINITIONS)
    assert sorted(path.name for path in CRDS.iterdir()) == sorted([*DEFINITIONS, "kustomization.yaml"])


@EACH
def test_no_word_of_json_schema_that_kubernetes_refuses(name: str) -> None:
    refused = {"$ref", "$defs", "const", "definitions", "patternProperties", "propertyNames", "prefixItems"}
    assert {path: refused & node.keys() for path, node in walk(schema(name)) if refused & node.keys()} == {}


@EACH
def test_every_string_list_and_map_is_bounded(name: str) -> None:
    assert {path: missing for path, node in walk(schema(name)) if (missing := unbounded(node))} == {}


@pytest.mark.parametrize("node", EXAMPLES.values(), ids=EXAMPLES)
def test_what_has_no_bound_is_found(node: Mapping[str, Any]) -> None:
    assert unbounded(node) is not None


@EACH
def test_every_field_says_what_it_is(name: str) -> None:
    """`kubectl explain` prints these; list items and map values are explained by the field that holds them."""
    silent = {path for path, node in walk(schema(name)) if "description" not in node and path[-1:] not in "]}"}
    assert silent == set()


@EACH
def test_the_schema_is_structural(name: str) -> None:
    """No reference, no null among the types, and a type everywhere but on int-or-string."""
    for path, node in walk(schema(name)):
        assert not {"$ref", "$defs", "title", "nullable", "oneOf", "allOf", "not", "const"} & node.keys(), path
        assert isinstance(node.get("type"), str) or node.get("x-kubernetes-int-or-string"), path
        if "anyOf" in node:
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path


@EACH
def test_the_file_stays_below_200_kib(name: str) -> None:
    """kubectl apply keeps the whole manifest in an annotation of at most 256 KiB."""
    assert (CRDS / name).stat().st_size < 200 * 1024


def test_names_scopes_and_categories() -> None:
    told = {
        spec["names"]["kind"]: (
            spec["scope"],
            spec["names"]["plural"],
            spec["names"]["shortNames"],
            spec["names"]["categories"],
        )
        for spec in (definition["spec"] for definition in DEFINITIONS.values())
    }
    assert told == {
        "EdgeNode": ("Cluster", "edgenodes", ["en"], ["littoral"]),
        "GPUSlice": ("Namespaced", "gpuslices", ["gs"], ["littoral"]),
        "InferenceModel": ("Namespaced", "inferencemodels", ["im"], ["littoral"]),
    }


def test_every_kind_has_a_status_and_models_a_scale_subresource() -> None:
    assert {name: set(version(name)["subresources"]) for name in DEFINITIONS} == {
        "edgenodes.yaml": {"status"},
        "gpuslices.yaml": {"status"},
        "inferencemodels.yaml": {"status", "scale"},
    }
    known = {path for path, _ in walk(schema("inferencemodels.yaml"))}
    assert set(version("inferencemodels.yaml")["subresources"]["scale"].values()) <= known


@EACH
def test_printer_columns_show_fields_that_exist(name: str) -> None:
    known = {path for path, _ in walk(schema(name))} | {".metadata.creationTimestamp"}
    defaults = {condition["type"] for condition in schema(name)["properties"]["status"]["default"]["conditions"]}
    for column in version(name)["additionalPrinterColumns"]:
        path, bracket, rest = column["jsonPath"].partition("[?(@.type=='")
        assert path in known, column
        if bracket:
            condition, _, leaf = rest.partition("')]")
            assert condition in defaults, f"{column}: no object has this condition from its first moment"
            assert f"{path}[]{leaf}" in known, column


@EACH
def test_conditions_are_unknown_from_the_first_moment(name: str) -> None:
    status = schema(name)["properties"]["status"]["default"]
    assert {c["status"] for c in status["conditions"]} == {"Unknown"}
    assert {c["reason"] for c in status["conditions"]} == {"Pending"}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (EdgeNode, {}),
        (GPUSlice, {"memory": "1Gi"}),
        (
            InferenceModel,
            {
                "variants": [
                    {
                        "name": "a",
                        "accelerators": ["*"],
                        "format": "onnx",
                        "source": {"uri": "https://a/b", "sha256": "0" * 64},
                    }
                ],
                "slice": {"memory": 1024},
            },
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_models_read_what_a_newer_crd_may_hold(kind: type[ApiModel], spec: dict[str, Any]) -> None:
    """An operator that is older than its CRDs goes on."""
    body = {"metadata": {"name": "a", "later": 1}, "spec": {**spec, "later": {"a": 1}}, "status": {"later": []}}
    read = kind.model_validate(body)
    assert "later" not in read.model_dump()["spec"]


@given(st.lists(st.text("abcXYZ", min_size=1), unique=True, max_size=8))
def test_default_conditions_keep_their_order(types: list[str]) -> None:
    assert [c["type"] for c in pending_conditions(*types)["conditions"]] == types
