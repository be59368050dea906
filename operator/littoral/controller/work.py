"""Keys of work, and what stands in the store for an object that cannot be read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from littoral.api.base import Metadata


class Work(NamedTuple):
    """A key of the workqueue: what is to be reconciled."""

    controller: Literal["Plan", "Model", "Group", "Slice", "EdgeNode", "Namespace", "Cleaning"]
    namespace: str = ""
    name: str = ""


PLAN: Final = Work("Plan")
CLEANING: Final = Work("Cleaning")


@dataclass(frozen=True, slots=True)
class Refused:
    """An object that cannot be read: why, in a sentence."""

    metadata: Metadata
    message: str


def utcnow() -> datetime:
    """The clock of the controllers, to the second, as the API server keeps times."""
    return datetime.now(UTC).replace(microsecond=0)
