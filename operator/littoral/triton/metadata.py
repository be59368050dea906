"""Metadata that all children share: whose they are, and who made them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from littoral.api import group
from littoral.api.base import Metadata

COMPONENT: Final = "server"
"""app.kubernetes.io/component of serving pods: a Service must not select what else runs for the model."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose children are: one model's, or those of a group's models together."""

    key: tuple[str, str]
    """(namespace, name), under which it is placed; no model has the key of a group."""
    labels: Mapping[str, str]
    """Of every child."""
    references: tuple[Mapping[str, Any], ...]
    """The ownerReferences of slices and ControllerRevisions."""

    @property
    def namespace(self) -> str:
        """Where it and its children are."""
        return self.key[0]


def alone(model: Metadata) -> Owner:
    """A model with servers of its own."""
    return Owner((model.namespace, model.name), labels(model.name), tuple(owned_by_model(model)))


def together(key: tuple[str, str], group_name: str, members: Iterable[Metadata]) -> Owner:
    """The models of a group. What is theirs goes with the last of them, so none of them is its controller."""
    references = [reference for member in members for reference in owned_by_model(member)]
    return Owner(key, group_labels(group_name), tuple(reference | {"controller": False} for reference in references))


def labels(model_name: str) -> dict[str, str]:
    """Labels of every child that belongs to one model."""
    return {
        group.LABEL_MANAGED_BY: group.MANAGER,
        group.LABEL_PART_OF: group.MANAGER,
        group.LABEL_INSTANCE: model_name,
        group.LABEL_MODEL: model_name,
    }


def group_labels(group_name: str) -> dict[str, str]:
    """Labels of every child that belongs to the models of a group together."""
    return {
        group.LABEL_MANAGED_BY: group.MANAGER,
        group.LABEL_PART_OF: group.MANAGER,
        group.LABEL_INSTANCE: group_name,
        group.LABEL_GROUP: group_name,
    }


def group_pod_selector(group_name: str) -> dict[str, str]:
    """The labels by which the pods of a group's servers are found. They carry no model's: no Service selects them."""
    return {group.LABEL_COMPONENT: COMPONENT, group.LABEL_GROUP: group_name}


def pod_selector(model_name: str) -> dict[str, str]:
    """The labels by which a model's serving pods are found."""
    return {group.LABEL_COMPONENT: COMPONENT, group.LABEL_MODEL: model_name}


def owned_by(kind: str, name: str, uid: str) -> list[dict[str, Any]]:
    """The ownerReferences of a child of one of our kinds.

    blockOwnerDeletion stays false: an offline node's pods may take days to go, and a foreground deletion of their owner
    would wait for them. It would also ask for a right on the owner's finalizers, which the operator does not have.
    """
    return [
        {
            "apiVersion": group.API_VERSION,
            "kind": kind,
            "name": name,
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]


def owned_by_model(model: Metadata) -> list[dict[str, Any]]:
    """The ownerReferences of a child that belongs to an InferenceModel."""
    return owned_by("InferenceModel", model.name, model.uid)
