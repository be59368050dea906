"""What an API server would say of an object of ours: the types, bounds and field names of the CRDs, without one.

Rules that look at several fields at once (CEL) are the API server's alone.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from pydantic import ValidationError

from littoral.api import crd
from littoral.api.base import ApiModel
from littoral.api.group import API_VERSION
from littoral.cli.documents import Step

MODELS: Final[Mapping[str, type[ApiModel]]] = {model.__name__: model for model, *_ in crd.KINDS}
"""The types of the three resources by their kind."""

Complaint = tuple[tuple[Step, ...], str]
"""The way to a field, and what is wrong with it."""


class RefusedError(Exception):
    """An object that the API server would refuse."""

    def __init__(self, complaints: list[Complaint]) -> None:
        self.complaints = complaints
        super().__init__("; ".join(message for _, message in complaints))


def parse(body: Mapping[str, Any], *, strict: bool) -> Any:
    """The object as a value of its type. Raises RefusedError.

    `strict` refuses fields that there are not, as `kubectl apply` does; without, they are dropped, as they are from
    what another version of Littoral stored.
    """
    kind = str(body["kind"])
    if body["apiVersion"] != API_VERSION or kind not in MODELS:
        raise RefusedError([((), f"there is no {kind} in {body['apiVersion']}: {_nearest(kind)}")])
    pruned = _without_nulls(body)
    complaints = list(_strangers(_schema(kind), pruned, ())) if strict else []
    try:
        value = MODELS[kind].model_validate_json(json.dumps(pruned, default=str), strict=True)
    except ValidationError as error:
        details = {detail["loc"]: _sentence(detail) for detail in error.errors()}
        complaints += [(way, said) for way, said in details.items() if not _follows(way, details)]
    if complaints:
        raise RefusedError(complaints)
    return value


def _nearest(kind: str) -> str:
    close = difflib.get_close_matches(kind, MODELS, n=1)
    return f"write {close[0]} in {API_VERSION}" if close else f"{API_VERSION} has {', '.join(MODELS)}"


def _without_nulls(value: Any) -> Any:
    """A null is a field that is left out, as the API server has it."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _follows(way: tuple[Step, ...], others: Iterable[tuple[Step, ...]]) -> bool:
    """Whether what is wrong lies deeper: a list that is too short because its one item is refused."""
    return any(len(other) > len(way) and other[: len(way)] == way for other in others)


def _sentence(detail: Mapping[str, Any]) -> str:
    given = detail.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float) and not isinstance(given, bool) else ""
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{message.replace('Input should be', 'should be').replace('Tuple', 'List')}{shown}"


@cache
def _schema(kind: str) -> Mapping[str, Any]:
    """The OpenAPI schema in the kind's CRD."""
    found = next(each for each in crd.definitions().values() if each["spec"]["names"]["kind"] == kind)
    root: Mapping[str, Any] = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    top: dict[str, Any] = {"apiVersion": {}, "kind": {}, "metadata": {}}
    return {**root, "properties": {**root["properties"], **top}}


def _strangers(schema: Mapping[str, Any], value: Any, way: tuple[Step, ...]) -> Iterator[Complaint]:
    """Fields that there are not, and quantities that are none: what the types themselves let pass."""
    if isinstance(value, dict):
        known, others = schema.get("properties"), schema.get("additionalProperties")
        for key, each in value.items():
            if known is not None and key in known:
                yield from _strangers(known[key], each, (*way, key))
            elif isinstance(others, Mapping):
                yield from _strangers(others, each, (*way, key))
            elif known is not None:
                close = difflib.get_close_matches(str(key), known, n=1)
                yield (*way, str(key)), "there is no such field" + (f": is {close[0]} meant?" if close else "")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _strangers(schema.get("items", {}), each, (*way, index))
    elif schema.get("x-kubernetes-int-or-string") and not _is_quantity(schema, value):
        yield way, f"{value!r} is not a quantity: write a number with a suffix such as Mi or Gi"


def _is_quantity(schema: Mapping[str, Any], value: Any) -> bool:
    number = isinstance(value, str | int | float) and not isinstance(value, bool)
    return number and re.search(schema.get("pattern", ""), str(value)) is not None
