"""The model cache of a namespace: a folder of its own on every node, reached by a claim.

A pod may not mount a hostPath under Pod Security level `baseline`, but it may mount a claim. So each namespace with a
model has one PersistentVolume over a hostPath, bound beforehand to the one claim that its pods name; each pod sees the
folder of its own node. The folder is named by the namespace's UID: a namespace that is made anew, under the same name
and perhaps by others, finds nothing of the former one.

The operator's namespace has one more such pair, over the folder that holds the others: by it cleaning Jobs reach the
folders of namespaces that are gone. config/policy-volumes.yaml refuses the operator's account every other volume.
"""

from typing import Any, Final

from littoral.api import group

_ACCESS_MODES: Final = ["ReadWriteMany"]
_CAPACITY: Final = "1Gi"
"""Compulsory and without effect: nothing measures a hostPath. How full the disk is, the fetch container reports."""
_LABELS: Final = {group.LABEL_MANAGED_BY: group.MANAGER, group.LABEL_PART_OF: group.MANAGER}


def volume_name(namespace_uid: str) -> str:
    """The name of a namespace's PersistentVolume."""
    return f"littoral-{namespace_uid}"


def persistent_volume(namespace: str, namespace_uid: str) -> dict[str, Any]:
    """The namespace's volume, bound beforehand to its claim. It goes with the namespace; the folders on nodes stay."""
    path = f"{group.CACHE_ROOTS}/{namespace_uid}"
    return _volume(volume_name(namespace_uid), path, namespace, namespace_uid, group.CACHE_CLAIM)


def claim(namespace: str, namespace_uid: str) -> dict[str, Any]:
    """The namespace's claim on its volume; shared by its models, so none of them owns it."""
    return _claim(namespace, group.CACHE_CLAIM, volume_name(namespace_uid))


def cleanup_volume(namespace: str, namespace_uid: str) -> dict[str, Any]:
    """The operator's volume over the folders of all namespaces; `namespace` is the operator's own."""
    return _volume(group.CLEANUP_CLAIM, group.CACHE_ROOTS, namespace, namespace_uid, group.CLEANUP_CLAIM)


def cleanup_claim(namespace: str) -> dict[str, Any]:
    """The claim on it that cleaning Jobs name."""
    return _claim(namespace, group.CLEANUP_CLAIM, group.CLEANUP_CLAIM)


def _volume(name: str, path: str, namespace: str, namespace_uid: str, claim_name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": dict(_LABELS),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "name": namespace,
                    "uid": namespace_uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "capacity": {"storage": _CAPACITY},
            "accessModes": list(_ACCESS_MODES),
            "persistentVolumeReclaimPolicy": "Retain",
            # Empty, not absent: absent is the cluster's default class, which would provision a disk.
            "storageClassName": "",
            "hostPath": {"path": path, "type": "DirectoryOrCreate"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": claim_name,
            },
        },
    }


def _claim(namespace: str, name: str, volume: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(_LABELS)},
        "spec": {
            "accessModes": list(_ACCESS_MODES),
            "storageClassName": "",
            "volumeName": volume,
            "resources": {"requests": {"storage": _CAPACITY}},
        },
    }
