"""The container's input: what dump writes is what parse reads, and each wrong field is named."""

import json
from typing import Any

import pytest

from littoral.modelstore.errors import RequestInvalid
from littoral.modelstore.request import FetchRequest, ModelRequest, parse_request

MODEL: dict[str, Any] = {
    "name": "plate",
    "uri": "https://x/m",
    "sha256": "a" * 64,
    "size": 5,
    "format": "onnx",
    "config": None,
}


def test_a_request_survives_the_environment() -> None:
    request = FetchRequest(
        models=(ModelRequest(name="a.b-c_1", uri="file:///import/ü", sha256="0" * 64, config='name: "ü"'),),
        cache="/c",
    )

    assert parse_request(request.dump()) == request


def test_partial_is_written_only_where_it_is_asked_for() -> None:
    model = ModelRequest(name="a", uri="https://x/m", sha256="0" * 64)

    assert "partial" not in FetchRequest(models=(model,)).dump()
    assert parse_request(FetchRequest(models=(model,), partial=True).dump()).partial
    with pytest.raises(RequestInvalid, match="partial must be true or false"):
        parse_request(json.dumps({"models": [MODEL], "partial": 1}))


def test_the_mounts_have_defaults() -> None:
    request = parse_request(json.dumps({"models": [MODEL]}))

    assert (request.repository, request.cache) == ("/models", "/var/lib/littoral/cache")


WRONG = {
    "": "not JSON",
    "[]": "must be an object",
    "{}": "models",
    '{"models": []}': "at least one",
    '{"models": [1]}': r"models\[0\] must be an object",
}
WRONG_FIELDS: list[tuple[str, Any]] = [
    ("name", "../x"),
    ("name", ".hidden"),
    ("name", "a/b"),
    ("name", ""),
    ("name", "a\n"),
    ("name", 5),
    ("uri", ""),
    ("sha256", "A" * 64),
    ("sha256", "a" * 63),
    ("sha256", "../" + "a" * 61),
    ("size", 0),
    ("size", -1),
    ("size", True),
    ("size", "5"),
    ("format", 1),
    ("config", {}),
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(RequestInvalid, match=WRONG[text]):
        parse_request(text)


@pytest.mark.parametrize(("field", "value"), WRONG_FIELDS)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(RequestInvalid, match=rf"models\[0\]\.{field} must be"):
        parse_request(json.dumps({"models": [{**MODEL, field: value}]}))


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(RequestInvalid, match="two models have the same name: plate, plate"):
        parse_request(json.dumps({"models": [MODEL, MODEL]}))
