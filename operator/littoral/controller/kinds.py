"""The kinds the operator reads, each with its projection: the small value that the store keeps in place of the body.

A body in Python is ten times its JSON; a projection is what decisions read and nothing else. Of our own children the
written parts are kept too, compressed, because drift is a difference between what should be written and what is there.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from littoral.accelerators.discovery import annotations_read
from littoral.api import group
from littoral.api.base import Metadata
from littoral.api.edgenode import EdgeNode
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.inferencemodel import InferenceModel
from littoral.api.quantity import parse_quantity, to_mib
from littoral.api.workload import ContainerFacts, DeploymentFacts, JobFacts, NodeFacts, PodFacts, Taint
from littoral.controller.resource import Resource
from littoral.slicing import hami

Body = Mapping[str, Any]
Key = tuple[str, str]
"""(namespace, name); namespace is empty for cluster-scoped objects."""

NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
PODS: Final = Resource("", "v1", "pods", "Pod", namespaced=True)
SERVICES: Final = Resource("", "v1", "services", "Service", namespaced=True)
CONFIGMAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced=True)
VOLUMES: Final = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
RUNTIMECLASSES: Final = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
PRIORITYCLASSES: Final = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision", namespaced=True)
JOBS: Final = Resource("batch", "v1", "jobs", "Job", namespaced=True)
ENDPOINTSLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", namespaced=True)
EDGENODES: Final = Resource(group.GROUP, group.VERSION, "edgenodes", "EdgeNode", namespaced=False)
SLICES: Final = Resource(group.GROUP, group.VERSION, "gpuslices", "GPUSlice", namespaced=True)
MODELS: Final = Resource(group.GROUP, group.VERSION, "inferencemodels", "InferenceModel", namespaced=True)

OURS: Final = f"{group.LABEL_MANAGED_BY}={group.MANAGER}"
"""Selects our children: what others made is never watched."""
_CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
"""By which the Job controller labels a Job's pods, since Kubernetes 1.27."""
_DIGITS: Final = 10
"""A count on an annotation with more is none of ours."""


@dataclass(frozen=True, slots=True)
class Child:
    """One of our children: its metadata and, compressed, what of it we write (metadata and spec or data)."""

    metadata: Metadata
    packed: bytes

    @property
    def live(self) -> dict[str, Any]:
        """What stands in the API server now, less status and managedFields."""
        body: dict[str, Any] = json.loads(zlib.decompress(self.packed))
        return body


@dataclass(frozen=True, slots=True)
class LiveDeployment(Child):
    """A Deployment of ours, with what decisions read of it."""

    facts: DeploymentFacts


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A ConfigMap that extends the catalogue."""

    metadata: Metadata
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Priority:
    """A PriorityClass: who comes first where not all can."""

    metadata: Metadata
    value: int


@dataclass(frozen=True, slots=True)
class Kind:
    """A watched kind: how it is listed and what is kept of each object."""

    resource: Resource
    project: Callable[[Body], Any]
    selector: str | None = None
    """Label selector."""
    name: str | None = None
    """The only object of this kind that is read, in the operator's namespace."""


def metadata(body: Body) -> Metadata:
    """The object's metadata as a value."""
    return Metadata.model_validate(body["metadata"])


_NOT_OURS: Final = {"managedFields", "selfLink", "resourceVersion", "generation"}
"""With these left out, a child whose status alone has changed is the same child: nothing is looked at because of it."""


def _unversioned(body: Body) -> Metadata:
    """The metadata of a child, by which a change of its status makes no difference."""
    return metadata(body).model_copy(update={"resource_version": "", "generation": 0})


def pack(body: Body) -> bytes:
    """What we may have written of an object, compressed; see Child."""
    kept = {key: value for key, value in body.items() if key not in {"status", "metadata"}}
    meta = body["metadata"]
    kept["metadata"] = {key: value for key, value in meta.items() if key not in _NOT_OURS}
    return zlib.compress(json.dumps(kept, separators=(",", ":")).encode(), 1)


def parse_grant(annotations: Mapping[str, str]) -> Allocation | None:
    """The allocation that a pod or a Deployment says it runs on; None where there is none or it is unreadable."""
    text = annotations.get(group.ANNOTATION_GRANT)
    if text is None:
        return None
    try:
        return Allocation.model_validate_json(text)
    except ValueError:
        return None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _node(body: Body) -> NodeFacts:
    status, spec, meta = body.get("status", {}), body.get("spec", {}), body["metadata"]
    ready: Body = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
    allocatable = status.get("allocatable") or {}
    return NodeFacts(
        name=meta["name"],
        uid=meta.get("uid", ""),
        labels=meta.get("labels") or {},
        annotations=annotations_read(meta.get("annotations") or {}),
        taints=tuple(Taint(t["key"], t["effect"], t.get("value", "")) for t in spec.get("taints") or ()),
        unschedulable=bool(spec.get("unschedulable")),
        ready=ready.get("status", "Unknown"),
        ready_since=_time(ready.get("lastTransitionTime")),
        architecture=(status.get("nodeInfo") or {}).get("architecture", ""),
        boot_id=(status.get("nodeInfo") or {}).get("bootID", ""),
        memory=to_mib(allocatable.get("memory", "0")),
        cpu=int(parse_quantity(allocatable.get("cpu", "0")) * 1000),
        resources={name: int(parse_quantity(value)) for name, value in allocatable.items() if "/" in name},
        pods=int(parse_quantity(allocatable.get("pods", "0"))),
        disk=to_mib(allocatable.get("ephemeral-storage", "0")),
        address=next((a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"), ""),
        kubelet=(status.get("nodeInfo") or {}).get("kubeletVersion", ""),
    )


def _container(statuses: list[Body] | None, name: str) -> ContainerFacts:
    status: Body = next((s for s in statuses or () if s["name"] == name), {})
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return ContainerFacts(
        ready=bool(status.get("ready")),
        running="running" in state,
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=ended.get("exitCode"),
        termination_message=ended.get("message", ""),
        restarts=status.get("restartCount", 0),
        started=_time((state.get("running") or {}).get("startedAt")),
    )


def _model_containers(statuses: list[Body] | None) -> dict[str, ContainerFacts]:
    """The containers that stand for the models of a shared server, by the models' names."""
    names = [status["name"] for status in statuses or () if status["name"].startswith(group.MODEL_CONTAINER_PREFIX)]
    return {name.removeprefix(group.MODEL_CONTAINER_PREFIX): _container(statuses, name) for name in names}


def _pod(body: Body) -> PodFacts:
    meta, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    grant = parse_grant(annotations)
    scheduled: Body = next((c for c in status.get("conditions") or () if c["type"] == "PodScheduled"), {})
    refused = scheduled.get("message", "") if scheduled.get("status") == "False" else ""
    if status.get("phase") == "Failed" and not refused:
        refused = f"{status.get('reason', '')}: {status.get('message', '')}".strip(": ")
    return PodFacts(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=spec.get("nodeName", ""),
        slice=labels.get(group.LABEL_SLICE, ""),
        revision=labels.get(group.LABEL_REVISION, ""),
        phase=status.get("phase", ""),
        deleting="deletionTimestamp" in meta,
        fetch=_container(status.get("initContainerStatuses"), group.FETCH_CONTAINER),
        server=_container(status.get("containerStatuses"), group.SERVER_CONTAINER),
        grant=grant,
        scheduling_message=refused,
        refused_at=_refused_at(status, scheduled) if refused else None,
        ip=status.get("podIP", ""),
        model=labels.get(group.LABEL_MODEL, ""),
        unlimited=_unlimited(grant, annotations, spec),
        reported=hami.reported(annotations),
        created=_time(meta.get("creationTimestamp")),
        model_containers=_model_containers(status.get("containerStatuses")),
        prefetch=labels.get(group.LABEL_PREFETCH, ""),
        job=labels.get(_CONTROLLER_UID, ""),
    )


def _unlimited(grant: Allocation | None, annotations: Mapping[str, str], spec: Body) -> str:
    """Whether HAMi, which only a pod's annotations and scheduler show, keeps this pod to what it was granted."""
    if grant is None or grant.provider != hami.Hami.name or not spec.get("nodeName"):
        return ""
    return hami.bypassed(annotations, spec.get("schedulerName", ""))


def _refused_at(status: Body, scheduled: Body) -> datetime | None:
    """Since when the scheduler or the kubelet refuses the pod: one that was evicted ran until it was not ready."""
    if scheduled.get("status") == "False":
        return _time(scheduled.get("lastTransitionTime"))
    ready: Body = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
    times = (_time(status.get("startTime")), _time(ready.get("lastTransitionTime")))
    return max((time for time in times if time is not None), default=None)


def _deployment(body: Body) -> LiveDeployment:
    meta = _unversioned(body)
    template = (body["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    conditions = (body.get("status") or {}).get("conditions") or ()
    return LiveDeployment(
        metadata=meta,
        packed=pack(body),
        facts=DeploymentFacts(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            slice=meta.labels.get(group.LABEL_SLICE, ""),
            model=meta.labels.get(group.LABEL_MODEL, ""),
            revision=meta.labels.get(group.LABEL_REVISION, ""),
            grant=parse_grant(template),
            previous=meta.annotations.get(group.ANNOTATION_PREVIOUS, ""),
            refused=next((c.get("message", "") for c in conditions if c["type"] == "ReplicaFailure"), ""),
            deleting=meta.deletion_timestamp is not None,
            models=meta.owner("InferenceModel") is not None,
        ),
    )


def _count(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < _DIGITS else 0


def _job(body: Body) -> JobFacts:
    meta, status = body["metadata"], body.get("status") or {}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    # The Job controller writes these once no pod of it runs any more.
    ends = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    end: Body | None = ends.get("Complete") or ends.get("Failed")
    failed: Body = ends.get("Failed", {})
    return JobFacts(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        slice=labels.get(group.LABEL_PREFETCH, ""),
        revision=labels.get(group.LABEL_REVISION, ""),
        model=labels.get(group.LABEL_MODEL, ""),
        succeeded="Complete" in ends,
        failed=failed.get("message") or failed.get("reason", ""),
        ended=_time(end.get("lastTransitionTime")) if end is not None else None,
        created=_time(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        made_on=annotations.get(group.ANNOTATION_MADE_ON, ""),
        room=annotations.get(group.ANNOTATION_ROOM, ""),
        attempt=_count(annotations.get(group.ANNOTATION_ATTEMPT, "")),
        interrupted=group.ANNOTATION_INTERRUPTED in annotations,
        node=labels.get(group.LABEL_NODE, ""),
        cache=labels.get(group.LABEL_CACHE, ""),
    )


def _child(body: Body) -> Child:
    return Child(_unversioned(body), pack(body))


def _priority(body: Body) -> Priority:
    return Priority(metadata(body), int(body.get("value", 0)))


def _configmap(body: Body) -> Catalogued:
    return Catalogued(metadata(body), body.get("data") or {})


KINDS: Final[tuple[Kind, ...]] = (
    Kind(NODES, _node),
    Kind(NAMESPACES, metadata),
    Kind(RUNTIMECLASSES, metadata),
    Kind(PRIORITYCLASSES, _priority),
    Kind(CONFIGMAPS, _configmap, name=group.CATALOGUE_CONFIGMAP),
    Kind(EDGENODES, EdgeNode.model_validate),
    Kind(MODELS, InferenceModel.model_validate),
    Kind(SLICES, GPUSlice.model_validate),
    Kind(REVISIONS, _child, selector=OURS),
    Kind(DEPLOYMENTS, _deployment, selector=OURS),
    Kind(SERVICES, _child, selector=OURS),
    Kind(ENDPOINTSLICES, _child, selector=f"{group.LABEL_ENDPOINTS_BY}={group.MANAGER}"),
    Kind(JOBS, _job, selector=OURS),
    Kind(PODS, _pod, selector=OURS),
    Kind(CLAIMS, _child, selector=OURS),
    Kind(VOLUMES, _child, selector=OURS),
)
"""In the order in which they are listed: what owns comes before what is owned."""
