"""Whose turn it is: models by the value of their PriorityClass, then by age and name. Nobody is preempted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from littoral.api.group import PRIORITY_CLASS
from littoral.api.inferencemodel import InferenceModel
from littoral.placement.replicas import seniority
from littoral.placement.snapshot import Key
from littoral.slicing.provider import Refusal

_BUILT_IN: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""Those that every API server makes by itself."""


def rank(model: InferenceModel, priorities: Mapping[str, int]) -> tuple[int, datetime, Key]:
    """Sorts models: who comes first is placed first. Without a class of its own a model's pods have Littoral's."""
    name = model.spec.placement.priority_class_name or PRIORITY_CLASS
    value = priorities.get(name, _BUILT_IN.get(name, 0))
    return -value, *seniority(model.metadata)


def unknown(model: InferenceModel, priorities: Mapping[str, int]) -> Refusal | None:
    """The model names a class that there is not: the API server would refuse its pods."""
    name = model.spec.placement.priority_class_name
    if not name or name in priorities or name in _BUILT_IN:
        return None
    message = f"there is no PriorityClass {name}, and pods that name it are refused: make it, or correct"
    return Refusal("PriorityClassUnknown", f"{message} placement.priorityClassName")
