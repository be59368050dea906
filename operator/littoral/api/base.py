"""What the three resources share: the pydantic base, field types with their bounds, metadata, conditions.

The models are both the parser of what the API server sends and the source of the CRDs (see crd.py). Unknown fields are
ignored on reading: a newer CRD beside an older operator must not stop it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
QUANTITY_PATTERN = r"^([0-9]{1,18}(\.[0-9]{0,9})?|\.[0-9]{1,9})(m|k|Ki|[MGTPE]i?)?$"


class ApiModel(BaseModel):
    """Base of every API type: camelCase on the wire, immutable in memory."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def _quantity_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _cel(rule: str, message: str) -> dict[str, str]:
    return {"rule": rule, "message": message}


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules, each (rule, message), for a model's or a field's json_schema_extra."""
    return {"x-kubernetes-validations": [_cel(rule, message) for rule, message in pairs]}


# Written as Kubernetes' own resource quantities are: a number or a string with a suffix.
Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    Field(json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN}),
]
Duration = Annotated[str, Field(max_length=32, pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
Vocabulary = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^(\*|[a-z0-9]([-a-z0-9._]*[a-z0-9])?)$")]
"""An open vocabulary's word (profile, family, format): new hardware must not need a new CRD."""
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class Condition(ApiModel):
    """metav1.Condition: one observation about the object, with the reason in a word and in a sentence."""

    type: Annotated[str, Field(max_length=64, description="What is observed, for example Ready.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="True, False or Unknown.")]
    observed_generation: Annotated[
        int | None, Field(ge=0, description="The metadata.generation it was drawn from.")
    ] = None
    last_transition_time: Annotated[datetime, Field(description="When the status last changed.")]
    reason: Annotated[str, Field(min_length=1, max_length=128, description="The cause in one CamelCase word.")]
    message: Annotated[str, Field(max_length=4096, description="The cause in one sentence.")] = ""


class Metadata(ApiModel):
    """The part of ObjectMeta that decisions rest on."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[Mapping[str, Any], ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name); namespace is empty for cluster-scoped objects."""
        return self.namespace, self.name

    def owner(self, kind: str) -> str | None:
        """The name of the controlling owner of this kind, if it has one."""
        return next((o["name"] for o in self.owner_references if o.get("controller") and o["kind"] == kind), None)


PENDING = datetime(1970, 1, 1, tzinfo=UTC)
"""The transition time of the conditions that the CRDs themselves default to (as Gateway API's do)."""


def pending_conditions(*types: str) -> dict[str, Any]:
    """The CRD's default status: all conditions Unknown from the first moment, for tools take silence for success."""
    return {
        "conditions": [
            {
                "type": name,
                "status": "Unknown",
                "reason": "Pending",
                "message": "Waiting for the operator",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }
            for name in types
        ]
    }
