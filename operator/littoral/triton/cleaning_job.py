"""The Job that removes the model cache of a namespace that is gone from one node.

Its pod is uid 0 with DAC_OVERRIDE alone, because the folders belong to root and what lies in them to anybody; that is
what the Pod Security level `restricted` refuses and `baseline` allows. It sees the folders of all namespaces on its
node and nothing else of it, by the claim `littoral-cleanup` (storage.py); which of them it removes is its one argument
(modelstore/clean.py). It has no token, needs no accelerator and tolerates everything: a node that takes no new work
still has a disk to give back.

It goes with its EdgeNode. It ends within LIMIT_SECONDS, whatever happens: what has failed is seen and tried again.
"""

import hashlib
from typing import Any, Final

from littoral.api import group
from littoral.api.base import Metadata
from littoral.modelstore.clean import REFUSED
from littoral.triton import metadata

COMPONENT: Final = "cleaning"
"""app.kubernetes.io/component of the Job and its pods. The pods are not watched: the Job says how they ended."""
LIMIT_SECONDS: Final = 3600
"""A pod that finds no place, or whose node went offline, does not hold up a later try for ever."""
_TRIES: Final = 4
"""Pods of one Job, each after a longer pause than the one before; they stay with the Job, for their logs."""

_CONTAINER: Final = "clean"
_HOPELESS: Final = {
    "action": "FailJob",
    "onExitCodes": {"containerName": _CONTAINER, "operator": "In", "values": [REFUSED]},
}
"""What no further try would change."""


def name(node: str, namespace_uid: str) -> str:
    """The name of the Job: the same for the same node and namespace, so that there are never two."""
    return f"littoral-cleaning-{hashlib.sha256(f'{node}/{namespace_uid}'.encode()).hexdigest()[:10]}"


def build(edge: Metadata, namespace_uid: str, *, namespace: str, image: str) -> dict[str, Any]:
    """The Job in the operator's `namespace` that removes the folder of `namespace_uid` on the EdgeNode's machine.

    `image` is that of the fetch container: a node with a model cache has it.
    """
    labels = {group.LABEL_PART_OF: group.MANAGER, group.LABEL_COMPONENT: COMPONENT}
    mine = {group.LABEL_MANAGED_BY: group.MANAGER, group.LABEL_NODE: edge.name, group.LABEL_CACHE: namespace_uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name(edge.name, namespace_uid),
            "namespace": namespace,
            "labels": labels | mine,
            "ownerReferences": metadata.owned_by("EdgeNode", edge.name, edge.uid),
        },
        "spec": {
            "activeDeadlineSeconds": LIMIT_SECONDS,
            "backoffLimit": _TRIES - 1,
            "podFailurePolicy": {"rules": [_HOPELESS]},
            "template": {"metadata": {"labels": labels}, "spec": _pod(edge.name, namespace_uid, image)},
        },
    }


def _pod(node: str, namespace_uid: str, image: str) -> dict[str, Any]:
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    container = {
        "name": _CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "littoral.modelstore.clean", namespace_uid],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # What people carried into import/ need not be root's; `baseline` allows it.
            "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "runAsGroup": 0,
        },
        "volumeMounts": [{"name": "caches", "mountPath": group.CACHE_ROOTS}],
    }
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}},
        "automountServiceAccountToken": False,
        "containers": [container],
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": "caches", "persistentVolumeClaim": {"claimName": group.CLEANUP_CLAIM}}],
    }
