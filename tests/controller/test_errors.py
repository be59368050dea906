"""Which error an answer of the API server becomes. The bodies are as kube-apiserver 1.36 sends them."""

from typing import Any

import pytest

from littoral.controller.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)


def answer(code: int, reason: str, **details: Any) -> ApiError:
    body = {"kind": "Status", "code": code, "reason": reason, "message": "sentence", "details": details}
    return ApiError.from_answer("patch configmaps n/a", code, body)


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", ApiError),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Gone),
        (410, "Gone", Gone),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (504, "Timeout", Unavailable),
    ],
)
def test_the_class_follows_the_status(code: int, reason: str, expected: type[ApiError]) -> None:
    error = answer(code, reason)
    assert type(error) is expected
    assert (error.status, error.reason, str(error)) == (code, reason, "patch configmaps n/a: sentence")


def test_an_immutable_uid_means_that_the_object_is_another_one() -> None:
    cause = {"reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid"}
    error = answer(422, "Invalid", causes=[cause])
    assert type(error) is Conflict
    assert "made again" in str(error)


def test_the_fields_that_were_refused_are_named() -> None:
    cause = {"reason": "FieldValueInvalid", "message": "too long", "field": "spec.version"}
    (found,) = answer(422, "Invalid", causes=[cause]).causes
    assert (found.field, found.reason, found.message) == ("spec.version", "FieldValueInvalid", "too long")


def test_a_namespace_that_is_going_away_is_told_apart_from_missing_rights() -> None:
    cause = {
        "reason": "NamespaceTerminating",
        "message": "namespace n is being terminated",
        "field": "metadata.namespace",
    }
    assert answer(403, "Forbidden", causes=[cause]).namespace_terminating
    assert not answer(403, "Forbidden").namespace_terminating


def test_the_servers_wish_to_wait_is_read_from_the_header_or_the_body() -> None:
    assert answer(429, "TooManyRequests", retryAfterSeconds=4).retry_after == 4.0
    assert ApiError.from_answer("get", 429, None, 2.0).retry_after == 2.0


@pytest.mark.parametrize(
    "body", [None, "<html>", [], {"message": "x"}, {"kind": "Status"}, {"kind": "Status", "details": None}]
)
def test_any_body_makes_an_error(body: Any) -> None:
    error = ApiError.from_answer("get nodes", 502, body)
    assert str(error) == "get nodes: HTTP 502 with no explanation"
    assert isinstance(error, Unavailable)
