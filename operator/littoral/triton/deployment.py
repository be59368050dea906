"""The Deployment of one slice: a revision pinned to a node, with what the slice was granted there.

One for each slice, with one replica and strategy Recreate, pinned as DaemonSet pods are: so each node moves by itself,
a node that is offline holds up nobody, and an accelerator never has to hold the old server beside the new.

Pods of one revision differ in slice, node and grant and in nothing else; the grant brings what its sharing mechanism
asks of the pod (runtime class, scheduler, environment, annotations). All the rest is the revision's; whatever is
written here in addition is the same in every version, for a change of it would restart every server in the field.
"""

import copy
import json
import re
from typing import Any, Final

from littoral.api import group
from littoral.api.gpuslice import Allocation, PodPatch
from littoral.slicing.pod import requirements
from littoral.triton import metadata
from littoral.triton.metadata import Owner
from littoral.triton.revision import Frozen

_TIMES: Final = {"bound_at", "started_at", "updated_at"}
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DEADLINE_MARGIN_SECONDS: Final = 60


def build(  # noqa: PLR0917 (whose it is, then what it runs: the order of a manifest)
    slice_name: str,
    slice_uid: str,
    owner: Owner,
    frozen: Frozen,
    allocation: Allocation,
    previous: str = "",
    *,
    owners: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The Deployment, named as the slice that pays for it and owned by it, unless `owners` says otherwise.

    `previous` is the revision that it is put back to if this one fails; empty while there is none.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": slice_name,
            "namespace": owner.namespace,
            "labels": dict(owner.labels)
            | {group.LABEL_SLICE: slice_name, group.LABEL_REVISION: frozen.name}
            | _node_label(allocation.node),
            **({"annotations": {group.ANNOTATION_PREVIOUS: previous}} if previous else {}),
            "ownerReferences": owners or metadata.owned_by("GPUSlice", slice_name, slice_uid),
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            # The history is in the ControllerRevisions; an old ReplicaSet would be a second one that nobody reads.
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": frozen.startup_timeout + _DEADLINE_MARGIN_SECONDS,
            # Immutable in the API server, hence the least that tells this Deployment's pods from all others.
            "selector": {"matchLabels": {group.LABEL_SLICE: slice_name}},
            "template": _pinned(frozen, slice_name, allocation),
        },
    }


def grant(allocation: Allocation) -> str:
    """The allocation as pods carry it: what the ledger charges for as long as the pod exists.

    Without times, which change while the pod does not; without fields at their default, so that a field that a later
    version adds to the allocation changes no pod.
    """
    fields = allocation.model_dump(mode="json", by_alias=True, exclude=_TIMES, exclude_defaults=True)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def _pinned(frozen: Frozen, slice_name: str, allocation: Allocation) -> dict[str, Any]:
    template: dict[str, Any] = copy.deepcopy(dict(frozen.template))
    template["metadata"]["labels"][group.LABEL_SLICE] = slice_name
    template["metadata"]["annotations"][group.ANNOTATION_GRANT] = grant(allocation)
    # Not spec.nodeName: that skips the scheduler, whose refusal is how a full node is found out before the kubelet's.
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [allocation.node]}]}
    template["spec"]["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}
    }
    server = next(c for c in template["spec"]["containers"] if c["name"] == group.SERVER_CONTAINER)
    asked = (server.get("resources") or {}).get("requests")
    server["resources"] = requirements(allocation, node_memory=frozen.node_memory, beside=asked)
    _patch(template, server, allocation.pod)
    return template


def _patch(template: dict[str, Any], server: dict[str, Any], patch: PodPatch) -> None:
    """Lay what the sharing mechanism asks over the revision's template; it knows the device, the revision does not."""
    template["metadata"]["annotations"].update(patch.annotations)
    if patch.runtime_class_name:
        template["spec"]["runtimeClassName"] = patch.runtime_class_name
    if patch.scheduler_name:
        template["spec"]["schedulerName"] = patch.scheduler_name
    if patch.env:
        env = {variable["name"]: variable for variable in server["env"]}
        env |= {name: {"name": name, "value": value} for name, value in patch.env.items()}
        server["env"] = [env[name] for name in sorted(env)]
    if patch.mounted:
        server["volumeMounts"] = [mount for mount in server["volumeMounts"] if mount["mountPath"] not in patch.mounted]


def _node_label(node: str) -> dict[str, str]:
    """For `kubectl get -l`; a Node's name may be longer than a label's value."""
    return {group.LABEL_NODE: node} if _LABEL_VALUE.fullmatch(node) else {}
