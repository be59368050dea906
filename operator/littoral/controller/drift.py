"""Does an object still say what it should? Pure: two JSON trees in, the first difference out.

`desired` is what we apply; `live` is what the API server holds, which is always more: defaults, other managers' fields,
status. So the question is whether `live` holds all of `desired`:

- Maps: each key of `desired`, recursively. Other keys of `live` are not ours.
- Lists that the API merges by a key (containers by name, ports by number, mounts by path; see MERGE_KEYS): each element
  of `desired` by that key, in any order. Other elements are not ours, and a server-side apply would not remove them:
  to call them drift would write for ever.
- All other lists belong to one manager as a whole: equal length, element by element.
- Nothing ("", [], {} and maps of nothing) equals absent: the API server drops empty optional fields. False and 0 do
  not, since they differ from absent wherever the field is a pointer, automountServiceAccountToken for one. None in
  `desired` is no opinion at all.
- Scalars: equal and of the same kind (true is not 1). Quantities, known by where they stand, compare as numbers, for
  the API server writes 4096Mi as 4Gi.

What a write of ours cannot change must not be written again at each visit. Tolerated remembers it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from littoral.api.quantity import parse_quantity

logger = logging.getLogger(__name__)

MERGE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "port"),
    "ownerReferences": ("uid",),
}
"""By the list's field name, the candidates for the key that identifies an element."""

QUANTITY_MAPS: Final = frozenset({"limits", "requests", "capacity"})
"""Maps whose values are quantities."""
_QUANTITY: Final = "<quantity>"
"""The field name under which the values of these maps are compared."""
QUANTITY_FIELDS: Final = frozenset({"sizeLimit", _QUANTITY})

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where `live` is not as desired."""

    path: str
    """Dotted; elements of merged lists by their key: spec.template.spec.containers[triton].image."""
    desired: Any
    live: Any
    """None where `missing`."""
    missing: bool
    """Whether `live` has nothing there at all."""


def first_difference(desired: Mapping[str, Any], live: Mapping[str, Any]) -> str | None:
    """Return the path of the first difference, in the order of `desired`; None when there is none."""
    return next((difference.path for difference in differences(desired, live)), None)


def differences(desired: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield every place where `live` lacks or contradicts `desired`, at the deepest level that tells."""
    return _compare("", "", desired, live)


def _compare(path: str, within: str, desired: Any, live: Any) -> Iterator[Difference]:
    """Compare the values at `path`; `within` is the name of the field that the values are or are an element of."""
    if desired is None or (_empty(desired) and _empty(live)):
        return
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        for key, value in desired.items():
            name = _QUANTITY if within in QUANTITY_MAPS else key
            yield from _compare(f"{path}.{key}" if path else key, name, value, live.get(key, _ABSENT))
    elif _empty(live):
        yield Difference(path, desired, None, missing=True)
    elif _is_list(desired) and _is_list(live):
        yield from _compare_lists(path, within, desired, live)
    elif not _equal_scalars(within, desired, live):
        yield Difference(path, desired, live, missing=False)


def _compare_lists(path: str, within: str, desired: Sequence[Any], live: Sequence[Any]) -> Iterator[Difference]:
    key = _merge_key(within, desired, live)
    if key is not None:
        present = {element[key]: element for element in live}
        for element in desired:
            yield from _compare(f"{path}[{element[key]}]", "", element, present.get(element[key], _ABSENT))
    elif len(desired) != len(live):
        yield Difference(path, desired, live, missing=False)
    else:
        for index, (one, other) in enumerate(zip(desired, live, strict=True)):
            yield from _compare(f"{path}[{index}]", "", one, other)


def _merge_key(within: str, *lists: Sequence[Any]) -> str | None:
    """Return the key that tells the elements of these lists apart, if the API merges lists of this name by one."""
    for key in MERGE_KEYS.get(within, ()):
        if all(
            all(isinstance(element, Mapping) and key in element for element in elements)
            and len({element[key] for element in elements}) == len(elements)
            for elements in lists
        ):
            return key
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _empty(value: Any) -> bool:
    """Whether the API server would drop this value where it is optional."""
    if isinstance(value, Mapping):
        return all(map(_empty, value.values()))
    return value is _ABSENT or value is None or (isinstance(value, str | list | tuple) and not value)


def _equal_scalars(within: str, desired: Any, live: Any) -> bool:
    if within in QUANTITY_FIELDS:
        try:
            return parse_quantity(desired) == parse_quantity(live)
        except ValueError:
            return bool(desired == live)
    return isinstance(desired, bool) == isinstance(live, bool) and bool(desired == live)


class Tolerated:
    """What a write of ours did not change, and is therefore no reason to write again.

    Two causes, told apart by the answer to the write. A field that is *missing* from it is one that this server does
    not know (or drops, being false or zero): that holds for the kind, and is learned once. A field that has *another
    value* was overruled by something in between, a mutating webhook for one: that holds for this object and these two
    values only, so that it never hides what somebody changes elsewhere or later.

    Kept in memory: an operator that starts anew writes once more and learns again.
    """

    def __init__(self) -> None:
        self._dropped: set[tuple[str, str, bool]] = set()
        self._overruled: dict[str, dict[str, tuple[Any, Any]]] = {}

    def first_difference(self, kind: str, desired: Mapping[str, Any], live: Mapping[str, Any]) -> str | None:
        """Return the first difference that a write can be expected to mend; `live` carries metadata.uid."""
        overruled = self._overruled.get(live["metadata"]["uid"], {})
        for difference in differences(desired, live):
            if difference.missing and (kind, difference.path, bool(difference.desired)) in self._dropped:
                continue
            if overruled.get(difference.path) == (difference.desired, difference.live):
                continue
            return difference.path
        return None

    def learn(self, kind: str, desired: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Take note of what the API server's answer to a write of `desired` still lacks or contradicts."""
        uid = answer["metadata"]["uid"]
        overruled: dict[str, tuple[Any, Any]] = {}
        for difference in differences(desired, answer):
            known = (kind, difference.path, bool(difference.desired))
            if not difference.missing:
                overruled[difference.path] = (difference.desired, difference.live)
                logger.warning("%s %s: %s was overruled on its way", kind, _name(answer), difference.path)
            elif known not in self._dropped:
                self._dropped.add(known)
                logger.warning(
                    "this API server does not keep %s of a %s; it is no longer missed", difference.path, kind
                )
        if overruled:
            self._overruled[uid] = overruled
        else:
            self._overruled.pop(uid, None)

    def forget(self, uid: str) -> None:
        """Drop what was learned of one object, which is gone."""
        self._overruled.pop(uid, None)


def _name(body: Mapping[str, Any]) -> str:
    metadata = body["metadata"]
    return "/".join(part for part in (metadata.get("namespace"), metadata.get("name")) if part)
