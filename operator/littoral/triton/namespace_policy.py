"""What a Namespace says of the models in it: whether they must be signed, and how much of a node's disk is theirs.

A ValidatingAdmissionPolicy refuses a model with an unsigned variant in such a namespace when it is written; this one
refuses to begin what was written, or even frozen, before the namespace was labelled. What serves goes on serving.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR
from typing import Final

from littoral.api import group
from littoral.api.inferencemodel import InferenceModel, Variant
from littoral.api.quantity import parse_quantity
from littoral.modelstore.request import ModelRequest
from littoral.triton.errors import Unservable


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacePolicy:
    """`quota` is in bytes; None is the fetch container's default."""

    require_signature: bool = False
    quota: int | None = None

    def check(self, model: InferenceModel, variant: Variant) -> None:
        """Raise Unservable where a revision of this variant may not be made here."""
        if self.require_signature and variant.source.signature is None:
            raise _required(model.metadata.namespace, f"variant {variant.name} of model {model.metadata.name}")


_MOST: Final = 2**63 - 1
"""Bytes; no file system has more."""
NONE: Final = NamespacePolicy()
"""Of a namespace that says nothing."""


def read(namespace: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> NamespacePolicy:
    """The policy of a namespace with these labels and annotations. Raises Unservable where one cannot be read."""
    return NamespacePolicy(require_signature=requires_signature(labels), quota=_quota(namespace, annotations))


def permit(namespace: str, labels: Mapping[str, str], models: Iterable[ModelRequest]) -> None:
    """Raise Unservable where a revision that was frozen earlier, and asks for these models, may not be begun."""
    unsigned = [model.name for model in models if not model.signed]
    if unsigned and requires_signature(labels):
        raise _required(namespace, f"what was made of model {', '.join(unsigned)} before that")


def requires_signature(labels: Mapping[str, str]) -> bool:
    """Whether a namespace with these labels asks for signatures."""
    return labels.get(group.LABEL_REQUIRE_SIGNATURE) == "true"


def _required(namespace: str, what: str) -> Unservable:
    return Unservable(
        "SignatureRequired",
        f"Namespace {namespace} has the label {group.LABEL_REQUIRE_SIGNATURE}, and {what} is not signed: sign its "
        "artifact and set spec.variants[].source.signature",
    )


def _quota(namespace: str, annotations: Mapping[str, str]) -> int | None:
    text = annotations.get(group.ANNOTATION_CACHE_QUOTA)
    if text is None:
        return None
    try:
        size = int(parse_quantity(text).to_integral_value(ROUND_FLOOR))
    except (ValueError, ArithmeticError):
        size = 0
    if not 1 <= size <= _MOST:
        raise Unservable(
            "QuotaInvalid",
            f"Namespace {namespace} has the annotation {group.ANNOTATION_CACHE_QUOTA}: {text!r}, which is no quantity "
            "of bytes such as 20Gi: correct or remove it",
        )
    return size
