"""Metadata that all children share: whose they are, and who made them."""

from typing import Any, Final

from littoral.api import group
from littoral.api.base import Metadata

COMPONENT: Final = "server"
"""app.kubernetes.io/component of serving pods: a Service must not select what else runs for the model."""


def labels(model_name: str) -> dict[str, str]:
    """Labels of every child that belongs to one model."""
    return {
        group.LABEL_MANAGED_BY: group.MANAGER,
        group.LABEL_PART_OF: group.MANAGER,
        group.LABEL_INSTANCE: model_name,
        group.LABEL_MODEL: model_name,
    }


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
