"""The Job of `littoral node probe`: one small pod on one node that reads what only the node's own files tell.

What it may see there is as little as the question needs:

- /sys/firmware, read-only: the device tree lies below it on a Jetson, and every Linux has the folder, so that the mount
  never fails. It is mounted elsewhere, because container runtimes hide /sys/firmware itself, and with it
  /proc/device-tree, which is a link there.
- /etc/nv_tegra_release, read-only, alone: to mount /etc would show the host's secrets, and a missing file cannot be
  mounted without being created. So it is mounted only where the Node's kernel is Jetson Linux's own (5.15.148-tegra),
  whose packages bring the file.

The pod has no token, no capability and no root; it tolerates everything and needs no accelerator. A hostPath volume is
what Pod Security's baseline level refuses, so the Job's namespace must be one without it, as kube-system is. It does
not carry the label by which the operator watches its own.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from littoral.accelerators import jetson
from littoral.accelerators.jetson import Report
from littoral.api.group import LABEL_COMPONENT, LABEL_PART_OF, MANAGER
from littoral.controller.client import Client
from littoral.controller.errors import ApiError, NotFound
from littoral.controller.kinds import JOBS, NAMESPACES, NODES, PODS

COMPONENT: Final = "node-probe"
CONTAINER: Final = "probe"
KERNEL: Final = "-tegra"
"""How the kernel of Jetson Linux ends its version."""
_FIRMWARE: Final = "/host/firmware"
_RELEASE: Final = "/host/nv_tegra_release"
_ENFORCED: Final = "pod-security.kubernetes.io/enforce"
_NOBODY: Final = 65534
_INTERVAL: Final = 1.0
"""Seconds between two looks at the pod."""
_GRACE: Final = 60
"""Seconds that the Job outlives the wait for it at most: its end is no answer, and must not come first."""
_GONE_AFTER: Final = 300
"""Seconds until the cluster itself removes the Job of a probe that was killed."""


class ProbeError(Exception):
    """The node did not answer; the text says why and what to do."""


async def probe(
    client: Client,
    node: str,
    *,
    image: str,
    namespace: str,
    timeout: float,  # noqa: ASYNC109 (also the Job's own deadline)
    say: Callable[[str], None],
) -> Report:
    """Run the Job, wait for its answer, and remove it, whatever happens. ProbeError, ApiError.

    `timeout` is in seconds; `say` gets a line for each change of what is waited for.
    """
    found = await _node(client, node)
    await _check_namespace(client, namespace)
    body = manifest(node, image=image, namespace=namespace, timeout=timeout, tegra=_tegra(found))
    job = await client.create(JOBS, body)
    try:
        return await _answer(client, job, timeout=timeout, say=say)
    finally:
        await _remove(client, job)


def manifest(node: str, *, image: str, namespace: str, timeout: float, tegra: bool) -> dict[str, Any]:
    """The Job; `tegra` says whether the node's kernel is Jetson Linux's."""
    volumes: list[dict[str, Any]] = [
        {"name": "firmware", "hostPath": {"path": "/sys/firmware", "type": "Directory"}},
    ]
    mounts = [{"name": "firmware", "mountPath": _FIRMWARE, "readOnly": True}]
    if tegra:
        volumes.append({"name": "release", "hostPath": {"path": "/etc/nv_tegra_release", "type": "File"}})
        mounts.append({"name": "release", "mountPath": _RELEASE, "readOnly": True})
    labels = {LABEL_PART_OF: MANAGER, LABEL_COMPONENT: COMPONENT}
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    container = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "littoral.cli.probe", _FIRMWARE, _RELEASE],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }
    pod = {
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [field]}}
        },
        "automountServiceAccountToken": False,
        "containers": [container],
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "volumes": volumes,
    }
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {"name": f"littoral-probe-{secrets.token_hex(3)}", "namespace": namespace, "labels": labels},
        "spec": {
            "activeDeadlineSeconds": round(timeout) + _GRACE,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _GONE_AFTER,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


async def _node(client: Client, node: str) -> dict[str, Any]:
    """The Node, which must be there and answer: a pod for a node that is offline would wait for nothing."""
    try:
        found = await client.get(NODES, None, node)
    except NotFound:
        raise ProbeError(f"there is no Node {node}") from None
    conditions = (found.get("status") or {}).get("conditions") or ()
    ready = next((each["status"] for each in conditions if each["type"] == "Ready"), "Unknown")
    if ready != "True":
        what = "is offline" if ready == "Unknown" else "is not ready"
        raise ProbeError(f"the Node {node} {what}: nothing starts there")
    return found


def _tegra(node: dict[str, Any]) -> bool:
    kernel: str = ((node.get("status") or {}).get("nodeInfo") or {}).get("kernelVersion", "")
    return kernel.endswith(KERNEL)


async def _check_namespace(client: Client, namespace: str) -> None:
    """Pod Security refuses the pod, not the Job, which would then wait in silence."""
    try:
        found = await client.get(NAMESPACES, None, namespace)
    except NotFound:
        raise ProbeError(f"there is no namespace {namespace}: name one with --namespace") from None
    level = (found["metadata"].get("labels") or {}).get(_ENFORCED, "privileged")
    if level != "privileged":
        raise ProbeError(
            f"the namespace {namespace} enforces the Pod Security level {level}, which refuses the hostPath volumes by "
            "which the probe reads the node: name a namespace without it with --namespace"
        )


async def _answer(client: Client, job: dict[str, Any], *, timeout: float, say: Callable[[str], None]) -> Report:  # noqa: ASYNC109 (as above)
    meta = job["metadata"]
    selector = f"batch.kubernetes.io/job-name={meta['name']}"
    said, deadline = "", time.monotonic() + timeout
    while True:
        pods = (await client.list(PODS, namespace=meta["namespace"], label_selector=selector)).items
        ended = next((message for pod in pods if (message := _ended(pod)) is not None), None)
        if ended is not None:
            report = jetson.parse(ended)
            if report is None:
                raise ProbeError(f"the probe ended without a report: {ended.strip() or 'it said nothing'}")
            return report
        state = _state(pods)
        if state != said:
            say(state)
            said = state
        if time.monotonic() > deadline:
            raise ProbeError(f"no answer within {timeout:g} seconds; it was {state}")
        await asyncio.sleep(_INTERVAL)


def _ended(pod: dict[str, Any]) -> str | None:
    """The termination message of the container; None while it has not ended."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended is not None:
            return str(ended.get("message") or ended.get("reason", ""))
    if status.get("phase") == "Failed":
        return f"{status.get('reason', '')}: {status.get('message', '')}".strip(": ")
    return None


def _state(pods: tuple[dict[str, Any], ...]) -> str:
    """What is waited for, in words."""
    if not pods:
        return "waiting for the Job's pod"
    status = pods[0].get("status") or {}
    refused: dict[str, Any] = next((each for each in status.get("conditions") or () if each["status"] == "False"), {})
    if refused.get("type") == "PodScheduled":
        return f"waiting to be scheduled: {refused.get('message', '')}"
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return f"waiting for the container: {waiting.get('reason', '')} {waiting.get('message', '')}".rstrip()
    return "waiting for the answer"


async def _remove(client: Client, job: dict[str, Any]) -> None:
    """Delete the Job and its pod. What fails here fails silently: the cluster removes it a while after its end."""
    meta = job["metadata"]
    try:
        await client.delete(JOBS, meta["namespace"], meta["name"], uid=meta["uid"])
    except ApiError:
        return
