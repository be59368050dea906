"""Turning what we own by Update into what we own by Apply: the step between a POST and the first server-side apply.

The API server keeps, for each manager and operation, the set of fields it last wrote. An apply removes what this
manager's *Apply* entry held and the new body lacks. What a POST or a patch wrote stands in an *Update* entry, even
under the same manager's name, so that it would outlive every later apply. The remedy is client-go's (its package
util/csaupgrade): rewrite the entry's operation, once.
"""

from collections.abc import Mapping
from typing import Any

Entry = Mapping[str, Any]


def upgrade_to_apply(metadata: Mapping[str, Any], manager: str) -> list[dict[str, Any]] | None:
    """Return the JSON patch that makes this manager's Update entries Apply, or None when there are none.

    `metadata` is the live object's. Entries of other managers and of subresources (status) stay as they are. Send it
    with the resourceVersion that `metadata` carries, or somebody's ownership that was written meanwhile is lost.
    """
    entries: list[Entry] = metadata.get("managedFields") or []
    ours = [entry for entry in entries if entry.get("manager") == manager and not entry.get("subresource")]
    if all(entry["operation"] == "Apply" for entry in ours):
        return None
    newest = max(ours, key=lambda entry: str(entry.get("time", "")))
    fields: dict[str, Any] = {}
    for entry in ours:
        fields = _union(fields, entry.get("fieldsV1") or {})
    merged = {**newest, "operation": "Apply", "fieldsV1": fields}
    others = [entry for entry in entries if entry not in ours]
    return [{"op": "replace", "path": "/metadata/managedFields", "value": [*others, merged]}]


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Unite two field sets: nested maps whose keys are path elements and whose leaves are empty."""
    united = dict(one)
    for key, value in other.items():
        united[key] = _union(united.get(key, {}), value)
    return united
