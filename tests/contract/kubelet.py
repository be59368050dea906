"""The kubelets of all test nodes, in one thread: what real ones would write to the API server, as each test wants it.

Nothing runs. A pod that the scheduler bound to one of the nodes gets the status that the test's newest matching rule
says, at first that it serves; a pod that is being deleted goes at once. On a node that is offline nothing happens.
The pod of a Job fetches as that rule says, and has then succeeded.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import kubernetes
from kubernetes.client.exceptions import ApiException
from tests.contract.manifests import node_ready

from littoral.api import group
from littoral.modelstore.report import FailedModel, FetchedModel, Report
from littoral.modelstore.request import ENV_REQUEST
from littoral.triton import cleaning_job
from rig import kube

Json = dict[str, Any]
State = tuple[Json | None, Json]
"""The fetch container's and the server's containerStatus, less their names; None for a fetch that went well."""

_TICK = 0.05
_HEARTBEAT = 5.0
_WAITING: Json = {"ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}

WITHOUT: Final = "without"
"""In a server's status, for these kubelets alone: the models of a shared server that do not answer."""

SERVING: State = (None, {"ready": True, "state": {"running": {}}})
LOADING: State = (None, {"ready": False, "state": {"running": {}}})
FETCHING: State = ({"ready": False, "state": {"running": {}}}, _WAITING)


def fetch_failed(reason: str, message: str) -> State:
    """The fetch container ended with this report and waits for its next try."""
    ended = {"exitCode": 1, "message": Report("failed", reason, message).dump()}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
    return {"ready": False, "state": {"waiting": waiting}, "lastState": {"terminated": ended}}, _WAITING


def serving_without(*models: str) -> State:
    """A shared server answers, but not for these of its models."""
    return None, {"ready": True, "state": {"running": {}}, WITHOUT: models}


def load_failed(log: str) -> State:
    """Triton ended with this tail of its log and waits for its next try."""
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
    ended = {"exitCode": 1, "message": log}
    return None, {"ready": False, "restartCount": 1, "state": {"waiting": waiting}, "lastState": {"terminated": ended}}


def fetched_without(**models: str) -> State:
    """The fetch container of a shared server ended well, but for these of its models, by reason."""
    missing = tuple(FailedModel(name, reason, f"{name} did not arrive") for name, reason in models.items())
    ended = {"exitCode": 0, "message": Report("partial", failures=missing).dump()}
    return {"ready": True, "state": {"terminated": ended}}, {"ready": True, "state": {"running": {}}}


class Kubelets:
    """See the module's text."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelets")
        self._rules: list[tuple[Callable[[Json], bool], State]] = []
        self._cleaning: dict[str, int] = {}
        self._offline: set[str] = set()
        self._written: dict[str, State] = {}
        self.error: BaseException | None = None

    def when(self, matches: Callable[[Json], bool], state: State) -> None:
        """From now on pods that match are in this state, also those that are there already."""
        self._rules = [*self._rules, (matches, state)]

    def cleaning(self, node: str, exit_code: int) -> None:
        """From now on cleaning Jobs' containers end so on this node; by default they succeed."""
        self._cleaning = {**self._cleaning, node: exit_code}

    def reset(self) -> None:
        """Forget all rules."""
        self._rules = []
        self._cleaning = {}

    def disconnect(self, node: str) -> None:
        """Nothing that is written reaches this node any more; its Node's status is the test's to write."""
        self._offline = self._offline | {node}

    def reconnect(self, node: str) -> None:
        """The node acts on what it is told again."""
        self._offline = self._offline - {node}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        beat = 0.0
        try:
            with kube.client(self._kubeconfig) as api:
                core = kubernetes.client.CoreV1Api(api)
                while not self._stop.wait(_TICK):
                    now = datetime.now(UTC).timestamp()
                    if now - beat > _HEARTBEAT:
                        beat = now
                        self._heartbeats(core)
                    self._visit(core)
        except BaseException as error:  # noqa: BLE001 (raised where the thread is joined)
            self.error = error

    def _heartbeats(self, core: Any) -> None:
        for node in _items(core.list_node(_preload_content=False)):
            name = node["metadata"]["name"]
            if name not in self._offline:
                ready = node_ready("True", heartbeat=_now())
                _quietly(lambda: core.patch_node_status(name, {"status": {"conditions": [ready]}}))  # noqa: B023 (called at once)

    def _visit(self, core: Any) -> None:
        played = {
            f"{group.LABEL_MANAGED_BY}={group.MANAGER}": self._play,
            f"{group.LABEL_COMPONENT}={cleaning_job.COMPONENT}": self._clean,
        }
        for selector, play in played.items():
            for pod in _items(core.list_pod_for_all_namespaces(label_selector=selector, _preload_content=False)):
                node = pod["spec"].get("nodeName")
                if node is not None and node not in self._offline:
                    _quietly(lambda: play(core, pod))  # noqa: B023 (called at once)

    def _play(self, core: Any, pod: Json) -> None:
        meta = pod["metadata"]
        if "deletionTimestamp" in meta:
            core.delete_namespaced_pod(meta["name"], meta["namespace"], grace_period_seconds=0)
            return
        if pod["status"].get("phase") == "Succeeded":
            return
        state = next((state for matches, state in reversed(self._rules) if matches(pod)), SERVING)
        if self._written.get(meta["uid"]) != state:
            core.patch_namespaced_pod_status(meta["name"], meta["namespace"], {"status": _status(pod, state)})
            self._written[meta["uid"]] = state

    def _clean(self, core: Any, pod: Json) -> None:
        """The pod of a cleaning Job, whose one container ends at once."""
        meta, (container,) = pod["metadata"], pod["spec"]["containers"]
        if "deletionTimestamp" in meta:
            core.delete_namespaced_pod(meta["name"], meta["namespace"], grace_period_seconds=0)
            return
        code = self._cleaning.get(pod["spec"]["nodeName"], 0)
        image = {"image": container["image"], "imageID": container["image"]}
        ended = {"name": container["name"], "restartCount": 0, "ready": False, "lastState": {}, **image}
        ended["state"] = {"terminated": {"exitCode": code}}
        status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [ended]}
        if pod["status"].get("phase") != status["phase"]:
            core.patch_namespaced_pod_status(meta["name"], meta["namespace"], {"status": status})


def of(
    *, node: str | None = None, model: str | None = None, digest: str | None = None, prefetch: bool | None = None
) -> Callable[[Json], bool]:
    """Matches pods by where they are, whose they are, by the first digit of the digest that they fetch, and by whether
    they only fetch.
    """

    def matches(pod: Json) -> bool:
        return (
            node in {None, pod["spec"]["nodeName"]}
            and model in {None, pod["metadata"]["labels"].get(group.LABEL_MODEL)}
            and digest in {None, _request(pod)["models"][0]["sha256"][0]}
            and prefetch in {None, prefetches(pod)}
        )

    return matches


def prefetches(pod: Json) -> bool:
    """Whether the pod is a prefetch Job's."""
    return group.LABEL_PREFETCH in pod["metadata"]["labels"]


def _request(pod: Json) -> Json:
    (fetch,) = pod["spec"]["initContainers"]
    request: Json = json.loads(next(env["value"] for env in fetch["env"] if env["name"] == ENV_REQUEST))
    return request


def _fetched(pod: Json) -> Json:
    found = [FetchedModel(m["name"], m["sha256"], 1048576, "fetched", 0.1) for m in _request(pod)["models"]]
    report = Report("ok", models=tuple(found), kept=tuple(each.digest for each in found), free=1 << 30)
    return {"ready": True, "state": {"terminated": {"exitCode": 0, "message": report.dump()}}}


def _status(pod: Json, state: State) -> Json:
    fetch, told = state
    server = {key: value for key, value in told.items() if key != WITHOUT}
    first, *others = pod["spec"]["containers"]
    arrived = fetch is None or fetch["state"].get("terminated", {}).get("exitCode") == 0
    if prefetches(pod):
        server = {"ready": False, "state": {"terminated": {"exitCode": 0}}} if arrived else _WAITING
    missing = {f"{group.MODEL_CONTAINER_PREFIX}{model}" for model in told.get(WITHOUT, ())}
    shown = {each["name"]: {**server, "ready": server["ready"] and each["name"] not in missing} for each in others}
    ready = "True" if server["ready"] and not missing else "False"

    def container(spec: Json, status: Json) -> Json:
        image = {"image": spec["image"], "imageID": spec["image"]}
        return {"name": spec["name"], "restartCount": 0, **image, "lastState": {}, **status}

    return {
        "phase": "Pending" if not arrived else "Succeeded" if prefetches(pod) else "Running",
        "conditions": [
            {"type": kind, "status": ready, "lastTransitionTime": _now()} for kind in ("Ready", "ContainersReady")
        ],
        "initContainerStatuses": [container(pod["spec"]["initContainers"][0], fetch or _fetched(pod))],
        "containerStatuses": [container(first, server), *(container(each, shown[each["name"]]) for each in others)],
        **_address(pod),
    }


def _address(pod: Json) -> Json:
    """An address of the pod's own, or its host's."""
    digest = hashlib.sha256(pod["metadata"]["uid"].encode()).digest()
    ip = f"10.{digest[0]}.{digest[1]}.{1 + digest[2] % 254}"
    return {"podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}]}


def _items(response: Any) -> list[Json]:
    items: list[Json] = json.loads(response.data)["items"]
    return items


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quietly(write: Callable[[], object]) -> None:
    """What is gone, or was written by another meanwhile, is looked at again at the next tick."""
    try:
        write()
    except ApiException as error:
        if error.status not in {404, 409}:
            raise
