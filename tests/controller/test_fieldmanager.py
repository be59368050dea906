"""From Update to Apply. What the API server makes of the patch is shown in test_client_contract.py."""

from typing import Any

from littoral.controller.fieldmanager import upgrade_to_apply


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


def upgraded(*entries: dict[str, Any]) -> list[dict[str, Any]] | None:
    patch = upgrade_to_apply({"managedFields": list(entries)}, "littoral")
    if patch is None:
        return None
    ((operation),) = patch
    assert (operation["op"], operation["path"]) == ("replace", "/metadata/managedFields")
    value: list[dict[str, Any]] = operation["value"]
    return value


def test_what_was_posted_becomes_applied() -> None:
    assert upgraded(entry("littoral", "Update", {"f:data": {"f:a": {}}})) == [
        entry("littoral", "Apply", {"f:data": {"f:a": {}}})
    ]


def test_several_entries_become_one_that_owns_what_all_owned() -> None:
    applied = entry("littoral", "Apply", {"f:data": {"f:a": {}}}, time="2026-02-02T00:00:00Z")
    patched = entry("littoral", "Update", {"f:data": {".": {}, "f:b": {}}, "f:metadata": {}})
    union: dict[str, Any] = {"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:metadata": {}}
    assert upgraded(applied, patched) == [entry("littoral", "Apply", union, time="2026-02-02T00:00:00Z")]


def test_strangers_and_the_status_stay_as_they_are() -> None:
    stranger = entry("kubectl-edit", "Update", {"f:data": {"f:c": {}}})
    status = entry("littoral", "Update", {"f:status": {}}, subresource="status")
    posted = entry("littoral", "Update", {"f:spec": {}})
    assert upgraded(stranger, status, posted) == [stranger, status, entry("littoral", "Apply", {"f:spec": {}})]


def test_nothing_is_to_be_done_twice_nor_for_others() -> None:
    status = entry("littoral", "Update", {"f:status": {}}, subresource="status")
    assert upgraded(entry("littoral", "Apply", {"f:spec": {}}), status) is None
    assert upgraded(entry("kubectl", "Update", {"f:spec": {}})) is None
    assert upgraded() is None
    assert upgrade_to_apply({}, "littoral") is None
