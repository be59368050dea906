"""Conditions as values: what is observed now, merged into what the object already says.

Polarity is positive; all of an object's conditions are present from the first visit. `Stalled` is the one exception:
True for what never heals by itself, absent otherwise (kstatus reads it so, and a condition that is always False
confuses Argo CD: kserve#4791).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from littoral.api.base import PENDING, Condition

READY: Final = "Ready"
PLACED: Final = "Placed"
FETCHED: Final = "Fetched"
LOADED: Final = "Loaded"
NODES_CONNECTED: Final = "NodesConnected"
CONNECTED: Final = "Connected"
CAPACITY_KNOWN: Final = "CapacityKnown"
BOUND: Final = "Bound"
OVERCOMMITTED: Final = "Overcommitted"
"""On an EdgeNode, like Stalled absent otherwise: more is bound to it than it has."""
STALLED: Final = "Stalled"

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition without its times: what a pure function can say."""

    type: str
    status: Status
    reason: str
    message: str = ""


def merge(
    existing: Sequence[Condition], findings: Iterable[Finding], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The object's new conditions, in the findings' order; a time moves only when its status does.

    What the CRD defaulted to has no time yet: the first finding gives it one, also where it says Unknown as well.
    """
    before = {condition.type: condition for condition in existing}
    merged = []
    for finding in findings:
        old = before.get(finding.type)
        moved = old is None or old.status != finding.status or old.last_transition_time == PENDING
        merged.append(
            Condition(
                type=finding.type,
                status=finding.status,
                reason=finding.reason,
                message=finding.message[:4096],
                observed_generation=generation,
                last_transition_time=now if moved or old is None else old.last_transition_time,
            )
        )
    return tuple(merged)


def find(conditions: Sequence[Condition], name: str) -> Condition | None:
    """The condition of this type, if the object has it."""
    return next((condition for condition in conditions if condition.type == name), None)
