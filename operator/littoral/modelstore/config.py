"""The config.pbtxt that a model is loaded with: what its maker wrote, completed by what the hardware asks for.

What the artifact says stands, field by field; of the generated text it gets the fields that it lacks, and of the
backend's parameters the keys. Two things are never added: an instance group to an ensemble, for which Triton refuses
one, and parameters to another backend than the one that they were generated for.
"""

from collections.abc import Iterator
from typing import Final

from littoral.modelstore import pbtxt
from littoral.modelstore.pbtxt import Field, scalar

ACCELERATOR: Final = frozenset({"instance_group", "parameters"})
"""What the hardware asks for: all that is added to a model which is not the one that was generated for."""
_PARAMETERS: Final = "parameters"


def complete(own: str, generated: str, *, only: frozenset[str] | None = None) -> tuple[str, tuple[str, ...]]:
    """Return `own` with what it lacks of `generated`, and what that is, such as "parameters device_ids".

    `only` bounds what may be added, None is everything. Raises pbtxt.Malformed where `own` cannot be read.
    """
    fields = pbtxt.parse(own)
    added = tuple(_missing(fields, pbtxt.parse(generated), only))
    if not added:
        return own, ()
    lines = "".join(f"{field.text}\n" for field in added)
    names = tuple(f"{field.name} {_key(field)}" if field.name == _PARAMETERS else field.name for field in added)
    return f"{own.rstrip()}\n{lines}" if own.strip() else lines, names


def is_ensemble(text: str) -> bool:
    """Return whether it configures an ensemble. Raises pbtxt.Malformed."""
    return _ensemble(pbtxt.parse(text))


def name(text: str) -> str | None:
    """Return the model's own name, or None. Raises pbtxt.Malformed."""
    return scalar(pbtxt.parse(text), "name")


def _missing(own: tuple[Field, ...], generated: tuple[Field, ...], only: frozenset[str] | None) -> Iterator[Field]:
    if _ensemble(own):
        return
    has = {field.name for field in own}
    if "platform" in has:
        has.add("backend")  # the older way to say it
    backend = scalar(own, "backend")
    if backend is None and "backend" not in has and only is None:
        backend = scalar(generated, "backend")
    keys = {_key(field) for field in own if field.name == _PARAMETERS}
    for field in generated:
        if only is not None and field.name not in only:
            continue
        if field.name == _PARAMETERS:
            if backend == scalar(generated, "backend") and _key(field) not in keys:
                yield field
        elif field.name not in has:
            yield field


def _ensemble(fields: tuple[Field, ...]) -> bool:
    return scalar(fields, "platform") == "ensemble" or any(field.name == "ensemble_scheduling" for field in fields)


def _key(parameter: Field) -> str | None:
    return parameter.scalar("key")
