"""`make bench`: what N models cost on a KWOK fleet, beside the floor: as many bare Deployments and Services.

Everything runs on this one machine: the control plane, KWOK, the operator and the load. So seconds say little about
another machine; counts of requests, and the ratio to the floor of the same run, say more. Requests are counted from
the API server's audit log of the operator's user, times from the arrival of watch events, from the first POST on.
"""

from __future__ import annotations

import copy
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes
import psutil
import yaml
from rich.console import Console
from rich.table import Table

from rig import cluster, kube, operator, paths, states
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.flags import Options
from rig.kwok import Kwok
from rig.observer import Observer
from rig.progress import Progress
from rig.waiting import until

NODES = 20
_UNITS = 64
_LABELS = {
    "nvidia.com/gpu.product": "Emulated-T4",
    "nvidia.com/gpu.memory": "15360",
    "nvidia.com/gpu.count": "4",
    "nvidia.com/gpu.replicas": "16",
}
_USER = f"system:serviceaccount:{operator.NAMESPACE}:littoral-operator"
_NAMESPACE = "bench"
_WRITERS = 8
_REST_SECONDS = 60.0
_CHANGES = 30
_BETWEEN_CHANGES = 1.0
"""Seconds without a request: what the last change still causes is no part of the next one's time."""
_SETTLED_SECONDS = 8.0
"""The operator's second LIST, when its watches have begun, is before the first model."""
_TIMEOUT = 900.0


@dataclass
class Result:
    """The figures of one size: seconds, requests, MiB."""

    models: int
    accepted: float = 0.0
    children: float = 0.0
    ready: float = 0.0
    drained: float = 0.0
    deleted: float = 0.0
    cpu: float = 0.0
    cpu_per_model_ms: float = 0.0
    memory_start: float = 0.0
    memory_peak: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    requests_per_model: float = 0.0
    writes_at_rest: dict[str, int] = field(default_factory=dict)
    reads_at_rest: dict[str, int] = field(default_factory=dict)
    change_p50_ms: float = 0.0
    change_p95_ms: float = 0.0
    prepared_p50_ms: float = 0.0
    prepared_p95_ms: float = 0.0
    floor_available: float = 0.0


def run(sizes: list[int], progress: Progress, output: Path | None) -> int:
    """Measure each size on a control plane of its own, and print the table; 0."""
    results = []
    for size in sizes:
        progress(f"{size} models")
        with _fleet(progress) as plane:
            results.append(_measure(plane, size, progress))
        if output is not None:
            output.write_text(json.dumps([asdict(result) for result in results], indent=1), encoding="utf-8")
    report(results)
    return 0


@contextmanager
def _fleet(progress: Progress) -> Iterator[ControlPlane]:
    state = states.make()
    plane = ControlPlane(state, Options(audit_user=_USER, client_qps=5000))
    try:
        plane.start(progress)
        with Kwok(plane) as kwok:
            kwok.add_nodes(NODES, labels=lambda _number: _LABELS, devices={"nvidia.com/gpu": _UNITS})
            yield plane
    finally:
        cluster.down(state)


def _measure(plane: ControlPlane, size: int, progress: Progress) -> Result:
    result = Result(size)
    kubectl = operator.Kubectl(plane.kubeconfig)
    operator.install(kubectl)
    example = paths.REPOSITORY / "examples" / "plate-reader" / "catalogue.yaml"
    kubectl("apply", "--server-side", "-f", str(example))
    kubectl("create", "namespace", _NAMESPACE)
    kubeconfig = operator.service_account_kubeconfig(kubectl, plane.state / "operator.kubeconfig")
    observer = Observer(plane.kubeconfig, _NAMESPACE)
    with operator.Operator(plane.state, kubeconfig, quiet=True) as running, observer as seen:
        process = psutil.Process(running.pid)
        audit = Audit(plane.audit_log)
        audit.quiet_since(_SETTLED_SECONDS)
        result.memory_start = _mib(process)
        cpu = _cpu(process)
        _create(plane, seen, result, audit, progress)
        result.cpu = _cpu(process) - cpu
        result.cpu_per_model_ms = 1000 * result.cpu / size
        _rest(result, audit, progress)
        _change(plane, seen, result, audit, progress)
        template = seen.any_deployment()
        result.memory_peak = _peak_mib(process)
        _delete(plane, seen, result, progress)
    _floor(plane, template, result, progress)
    return result


def _create(plane: ControlPlane, seen: Observer, result: Result, audit: Audit, progress: Progress) -> None:
    """All models at once, by parallel writers, until the operator has nothing left to do."""
    size = result.models
    audit.mark()
    begun = time.monotonic()
    _write(plane, [_model(number) for number in range(size)], "littoral.dev/v1alpha1", "inferencemodels")
    result.accepted = time.monotonic() - begun
    progress(f"  accepted after {result.accepted:.1f} s")
    result.children = seen.wait(lambda: len(seen.deployments) == size and len(seen.services) >= size, _TIMEOUT) - begun
    progress(f"  all children after {result.children:.1f} s")
    result.ready = seen.wait(lambda: len(seen.ready) == size, _TIMEOUT) - begun
    progress(f"  all Ready after {result.ready:.1f} s")
    result.drained = audit.quiet_since(2.0) - begun
    result.requests = dict(sorted(audit.since_mark().items()))
    result.requests_per_model = sum(result.requests.values()) / size


def _rest(result: Result, audit: Audit, progress: Progress) -> None:
    progress(f"  at rest for {_REST_SECONDS:.0f} s")
    audit.mark()
    time.sleep(_REST_SECONDS)  # the measurement itself: what happens while nothing does
    counted = audit.since_mark(everything=True)
    reads = ("get ", "list ", "watch ")
    result.writes_at_rest = {what: count for what, count in counted.items() if not what.startswith(reads)}
    result.reads_at_rest = {what: count for what, count in counted.items() if what.startswith(reads)}


def _change(plane: ControlPlane, seen: Observer, result: Result, audit: Audit, progress: Progress) -> None:
    """One of the models at rest changes, many times over: until its prefetch Job is there, which is the operator's own
    part, and until its Deployment shows the new revision, when Kubernetes and KWOK have run that Job.
    """
    chosen = random.Random(7).choices(range(result.models), k=_CHANGES)  # noqa: S311  # the same in each run
    prepared, taken = [], []
    with kube.client(plane.kubeconfig) as api:
        custom = kubernetes.client.CustomObjectsApi(api)
        for round_, number in enumerate(chosen):
            name = f"model-{number}"
            audit.quiet_since(_BETWEEN_CHANGES)
            before = seen.revision_of(name)
            earlier = seen.prepared.get(name)
            begun = time.monotonic()
            body = {"spec": {"version": f"change-{round_}"}}
            custom.patch_namespaced_custom_object("littoral.dev", "v1alpha1", _NAMESPACE, "inferencemodels", name, body)
            prepared.append(1000 * (seen.wait(partial(_is_prepared, seen, name, earlier), 60.0) - begun))
            shown = seen.wait(partial(_has_moved, seen, name, before), 60.0)
            taken.append(1000 * (shown - begun))
            seen.wait(partial(_is_ready, seen, name), _TIMEOUT)
    result.prepared_p50_ms = statistics.median(prepared)
    result.prepared_p95_ms = statistics.quantiles(prepared, n=20)[-1]
    result.change_p50_ms = statistics.median(taken)
    result.change_p95_ms = statistics.quantiles(taken, n=20)[-1]
    progress(f"  one change prepared: p50 {result.prepared_p50_ms:.0f} ms, p95 {result.prepared_p95_ms:.0f} ms")
    progress(f"  one change: p50 {result.change_p50_ms:.0f} ms, p95 {result.change_p95_ms:.0f} ms")


def _is_ready(seen: Observer, name: str) -> bool:
    return name in seen.ready


def _is_prepared(seen: Observer, name: str, revision: str | None) -> bool:
    return seen.prepared.get(name) != revision


def _has_moved(seen: Observer, name: str, revision: str) -> bool:
    return seen.revision_of(name) != revision


def _delete(plane: ControlPlane, seen: Observer, result: Result, progress: Progress) -> None:
    begun = time.monotonic()
    with kube.client(plane.kubeconfig) as api:
        custom = kubernetes.client.CustomObjectsApi(api)
        custom.delete_collection_namespaced_custom_object("littoral.dev", "v1alpha1", _NAMESPACE, "inferencemodels")
        result.deleted = seen.wait(lambda: not seen.deployments and not seen.services, _TIMEOUT) - begun
    progress(f"  all gone after {result.deleted:.1f} s")


def _floor(plane: ControlPlane, template: Mapping[str, Any], result: Result, progress: Progress) -> None:
    """As many bare Deployments and Services, written by the load itself, with the operator stopped."""
    with Observer(plane.kubeconfig, _NAMESPACE) as seen:
        deployments = [_bare(template, number) for number in range(result.models)]
        services = [_bare_service(number) for number in range(result.models)]
        begun = time.monotonic()
        _write(plane, deployments, "apps/v1", "deployments")
        _write(plane, services, "v1", "services")
        result.floor_available = seen.wait(lambda: len(seen.available) == result.models, _TIMEOUT) - begun
    progress(f"  floor: all Available after {result.floor_available:.1f} s")


def _write(plane: ControlPlane, bodies: list[dict[str, Any]], api_version: str, plural: str) -> None:
    base = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
    path = f"{base}/namespaces/{_NAMESPACE}/{plural}"
    with kube.client(plane.kubeconfig) as api, ThreadPoolExecutor(_WRITERS) as pool:

        def post(body: dict[str, Any]) -> None:
            api.call_api("POST", f"{api.configuration.host}{path}", {"Content-Type": "application/json"}, body).read()

        list(pool.map(post, bodies))


def _model(number: int) -> dict[str, Any]:
    source = {"uri": f"https://models.example.com/{number}.tar", "sha256": f"{number:064x}", "size": "10Mi"}
    return {
        "apiVersion": "littoral.dev/v1alpha1",
        "kind": "InferenceModel",
        "metadata": {"name": f"model-{number}", "namespace": _NAMESPACE},
        "spec": {
            "version": "1",
            "variants": [{"name": "t4", "accelerators": ["t4"], "format": "python", "source": source}],
            "slice": {"memory": "512Mi", "compute": 5},
        },
    }


def _bare(template: Mapping[str, Any], number: int) -> dict[str, Any]:
    """An operator's Deployment without an operator: the same pod, pinned to the same nodes in turn."""
    name = f"bare-{number}"
    spec = copy.deepcopy(dict(template["spec"]))
    labels = {"app": name}
    spec["selector"] = {"matchLabels": labels}
    spec["template"]["metadata"] = {"labels": labels}
    terms = spec["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms["nodeSelectorTerms"][0]["matchFields"][0]["values"] = [f"fake-{number % NODES}"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": _NAMESPACE, "labels": labels},
        "spec": spec,
    }


def _bare_service(number: int) -> dict[str, Any]:
    name = f"bare-{number}"
    ports = [{"name": "http", "port": 8000}, {"name": "grpc", "port": 8001}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


class Audit:
    """The API server's audit log of the operator's user."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0

    def mark(self) -> None:
        """Count from here on."""
        self._offset = self._log.stat().st_size if self._log.exists() else 0

    def since_mark(self, *, everything: bool = False) -> Counter[str]:
        """Requests by "verb resource", without watches and the Lease unless `everything`."""
        counted: Counter[str] = Counter()
        with self._log.open("rb") as lines:
            lines.seek(self._offset)
            for line in lines:
                event = json.loads(line)
                if event["stage"] != "ResponseComplete" and event["verb"] != "watch":
                    continue
                reference = event.get("objectRef") or {}
                resource = "/".join(filter(None, (reference.get("resource"), reference.get("subresource"))))
                if everything or (event["verb"] != "watch" and resource != "leases"):
                    counted[f"{event['verb']} {resource}"] += 1
        return counted

    def quiet_since(self, seconds: float) -> float:
        """Wait until nothing but the Lease was asked for that long; the moment at which it became quiet."""
        last, count = time.monotonic(), -1

        def probe() -> bool:
            nonlocal last, count
            now = sum(self.since_mark().values())
            if now != count:
                last, count = time.monotonic(), now
            return time.monotonic() - last >= seconds

        until(probe, timeout=_TIMEOUT, interval=0.25, failure=lambda: RigError("the operator never came to rest"))
        return last


def _cpu(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def _peak_mib(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def report(results: list[Result]) -> None:
    """The figures as a table, sizes side by side."""
    rows: list[tuple[str, Callable[[Result], str]]] = [
        ("all accepted, s", lambda r: f"{r.accepted:.1f}"),
        ("all children, s", lambda r: f"{r.children:.1f}"),
        ("all Ready, s", lambda r: f"{r.ready:.1f}"),
        ("floor: bare Deployments and Services Available, s", lambda r: f"{r.floor_available:.1f}"),
        ("all Ready, of the floor", lambda r: f"{r.ready / r.floor_available:.2f}"),
        ("queue drained, s", lambda r: f"{r.drained:.1f}"),
        ("operator CPU, s", lambda r: f"{r.cpu:.1f}"),
        ("operator CPU for each model, ms", lambda r: f"{r.cpu_per_model_ms:.1f}"),
        ("operator memory at start, peak, MiB", lambda r: f"{r.memory_start:.0f}, {r.memory_peak:.0f}"),
        ("requests for each model", lambda r: f"{r.requests_per_model:.2f}"),
        ("writes in 60 s at rest", lambda r: yaml.safe_dump(r.writes_at_rest, default_flow_style=True).strip()),
        ("reads in 60 s at rest", lambda r: yaml.safe_dump(r.reads_at_rest, default_flow_style=True).strip()),
        ("one change's prefetch begun, p50, p95, ms", lambda r: f"{r.prepared_p50_ms:.0f}, {r.prepared_p95_ms:.0f}"),
        ("one change, p50, p95, ms", lambda r: f"{r.change_p50_ms:.0f}, {r.change_p95_ms:.0f}"),
        ("delete all, s", lambda r: f"{r.deleted:.1f}"),
    ]
    table = Table("", *(f"N={result.models}" for result in results))
    for name, cell in rows:
        table.add_row(name, *(cell(result) for result in results))
    console = Console(width=140)
    console.print(table)
    for result in results:
        requests = ", ".join(f"{what} {count}" for what, count in sorted(result.requests.items()))
        console.print(f"requests at N={result.models}: {requests}")
