"""`make demo`: a model served on two unlike nodes, from nothing to the text read off a photograph.

Real are the cluster, the kubelets, containerd, Triton and the model; emulated are the accelerators, so what they serve
runs on the CPU. The cluster stays up afterwards, with the operator and the web server that the models came from.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from rig import choice, operator, paths, preflight
from rig import cluster as local
from rig.choice import Kind
from rig.cluster import Cluster
from rig.errors import RigError
from rig.fleet import DEMO_NODES
from rig.processes import ProcessTable
from rig.progress import Steps
from rig.waiting import until

EXAMPLE = paths.REPOSITORY / "examples" / "plate-reader"
NAMESPACE = "demo"
MODEL = "plate-reader"
EMULATED = (
    "Emulated here: the T4 and the Jetson (a device plugin advertises them; what they serve runs on the CPU).\n"
    "Real: the Kubernetes control plane, both nodes' kubelet and containerd, Triton, the model and what it reads."
)
_READY_SECONDS = 300.0


@dataclass
class Timings:
    """How long each step took, in order."""

    steps: Steps
    taken: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step and say that it has begun."""
        self.steps(name)
        begun = time.monotonic()
        yield
        self.taken.append((name, time.monotonic() - begun))


def run(image: Path | None) -> int:
    """Bring everything up, read the picture on each node, print the table; 0 when every node read something."""
    print(EMULATED, flush=True)
    picture = image or EXAMPLE / "plate.jpg"
    if not picture.is_file():
        raise RigError(f"there is no picture {picture}")
    steps = Steps()
    timings = Timings(steps)
    with timings.step("the cluster: a control plane and two nodes"):
        cluster = bring_up(steps)
    kubectl = operator.Kubectl(cluster.kubeconfig, steps)
    with timings.step("the operator: CRDs, roles, and the process under its own ServiceAccount"):
        start_operator(cluster, kubectl)
    with timings.step("the model's archives, on a web server beside the cluster"):
        address = serve_archives(cluster, build_archives())
    with timings.step(f"the model: kubectl apply, until Ready (usually 20 to 40 s, at most {_READY_SECONDS:.0f} s)"):
        apply_example(kubectl, address)
        await_ready(kubectl, steps)
    with timings.step(f"the picture {picture.name}, through the model on each node"):
        read = {pod["spec"]["nodeName"]: ask(pod, picture) for pod in serving_pods(kubectl)}
    report(kubectl, read, timings)
    print(closing(cluster))
    silent = [node.name for node in DEMO_NODES if not read.get(node.name)]
    if silent:
        print(f"\nNo text was read off {picture} on {' and '.join(silent)}.", file=sys.stderr)
    return 1 if silent else 0


def bring_up(steps: Steps) -> Cluster:
    """The embedded cluster with the demo's nodes, once this machine has what it needs.

    Raises RigError: NothingToRunOn and ToolsMissing as `make cluster` does.
    """
    chosen = choice.choose(os.environ, choice.this_machine())
    if chosen.kind is not Kind.EMBEDDED:
        raise RigError(
            f"the demo runs on {Kind.EMBEDDED.value}, and what there is here is {chosen.kind.value}."
            " LITTORAL_CLUSTER=embedded chooses the former (Linux, root); for the latter see examples/plate-reader"
        )
    preflight.check(steps, yes=os.environ.get("YES") == "1", log=paths.state_root() / "logs" / "preflight.log")
    return local.up(paths.cluster_state(), DEMO_NODES, progress=steps)


def start_operator(cluster: Cluster, kubectl: operator.Kubectl) -> None:
    """Install it from config/ and start it; one of an earlier demo makes room, for it may be of older code."""
    operator.install(kubectl)
    kubeconfig = operator.service_account_kubeconfig(kubectl, cluster.state / "operator.kubeconfig")
    process = operator.Operator(cluster.state, kubeconfig)
    process.stop()
    process.start()


def build_archives() -> Path:
    """Build the example's archives as its own script does; the folder they are in."""
    output = paths.cache_root() / "examples" / "plate-reader" / "archives"
    command = [sys.executable, str(EXAMPLE / "build.py"), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RigError(f"the example's archives could not be built: {done.stderr.strip()}")
    return output


def serve_archives(cluster: Cluster, folder: Path) -> str:
    """Serve the folder over HTTP at the address that nodes call the outside world; where that is."""
    table = ProcessTable(cluster.state / "processes")
    log = cluster.state / "logs" / "models.log"
    if not table.alive("models"):
        log.unlink(missing_ok=True)
        arguments = ["-u", "-m", "http.server", "0", "--bind", cluster.host_address, "--directory", str(folder)]
        table.spawn("models", [sys.executable, *arguments], log=log)

    def port() -> str:
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        return text.partition(" port ")[2].split()[0] if " port " in text else ""

    found = until(port, timeout=20, failure=lambda: RigError(f"the web server for models did not start, see {log}"))
    return f"http://{cluster.host_address}:{found}"


def apply_example(kubectl: operator.Kubectl, address: str) -> None:
    """The namespace at Pod Security level baseline, the emulated catalogue, the Jetson's EdgeNode, the model."""
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(namespace))
    for name in ("catalogue.yaml", "edgenode.yaml"):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(EXAMPLE / name))
    manifest = yaml.safe_load((EXAMPLE / "model.yaml").read_text(encoding="utf-8"))
    for variant in manifest["spec"]["variants"]:
        source = variant["source"]
        source["uri"] = f"{address}/{source['uri'].rpartition('/')[2]}"
    kubectl("apply", "--server-side", "--namespace", NAMESPACE, "-f", "-", stdin=json.dumps(manifest))


def await_ready(kubectl: operator.Kubectl, steps: Steps) -> None:
    """Wait for the model's Ready=True on all nodes, telling each new reason."""
    said = ""

    def probe() -> bool:
        nonlocal said
        model = json.loads(kubectl("get", "inferencemodel", MODEL, f"--namespace={NAMESPACE}", "-o", "json"))
        status = model.get("status", {})
        ready: Mapping[str, str] = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
        words = f"{ready.get('reason', 'Pending')}: {ready.get('message', '')}"
        if words != said:
            said = words
            steps(f"  {words}")
        observed = status.get("observedGeneration") == model["metadata"]["generation"]
        return observed and ready.get("status") == "True" and status.get("readyReplicas") == len(DEMO_NODES)

    until(
        probe,
        timeout=_READY_SECONDS,
        interval=0.5,
        failure=lambda: RigError(f"the model was not Ready on both nodes after {_READY_SECONDS:.0f} s; last: {said}"),
    )


def serving_pods(kubectl: operator.Kubectl) -> list[Mapping[str, Any]]:
    """The model's pods that answer, by node."""
    selector = f"littoral.dev/model={MODEL}"
    pods = json.loads(kubectl("get", "pods", f"--namespace={NAMESPACE}", "-l", selector, "-o", "json"))["items"]
    ready = [pod for pod in pods if any(c.get("ready") for c in pod["status"].get("containerStatuses", ()))]
    return sorted(ready, key=lambda pod: str(pod["spec"]["nodeName"]))


def ask(pod: Mapping[str, Any], picture: Path) -> list[dict[str, Any]]:
    """What the example's client reads through one pod."""
    url = f"{pod['status']['podIP']}:8000"
    command = [sys.executable, str(EXAMPLE / "client.py"), "--url", url, "--image", str(picture), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise RigError(done.stderr.strip())
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def report(kubectl: operator.Kubectl, read: Mapping[str, list[dict[str, Any]]], timings: Timings) -> None:
    """The closing tables."""
    # A pipe has no width of its own; a narrow terminal gets folded cells, never cut ones.
    console = Console() if sys.stdout.isatty() else Console(width=100)
    model = json.loads(kubectl("get", "inferencemodel", MODEL, f"--namespace={NAMESPACE}", "-o", "json"))
    slices = json.loads(kubectl("get", "gpuslices", f"--namespace={NAMESPACE}", "-o", "json"))["items"]
    allocations = {item["metadata"]["name"]: item["status"]["allocation"] for item in slices}
    table = Table(show_lines=True)
    for column in ("Node", "Slice", "Model and why", "Runs on", "Read"):
        table.add_column(column, no_wrap=column in {"Node", "Slice"}, overflow="fold")
    for replica in model["status"]["nodes"]:
        allocation = allocations[replica["slice"]]
        kind = allocation["profile"].removeprefix("emulated-")
        table.add_row(
            replica["node"],
            f"{replica['slice']}\n{allocation['memory']}, {allocation['compute']} %",
            f"{MODEL}, variant {replica['variant']}:\n{replica['why']}",
            f"CPU (emulated\n{kind})",
            "\n".join(f"{text['text']} ({text['score']:.2f})" for text in read.get(replica["node"], ())) or "nothing",
        )
    console.print(table)
    took = Table("Step", "Seconds")
    for name, seconds in timings.taken:
        took.add_row(name.partition(" (")[0], f"{seconds:.1f}")
    took.add_row("all", f"{timings.steps.seconds:.1f}")
    console.print(took)


def closing(cluster: Cluster) -> str:
    """What to try next, and how to end it."""
    return (
        f"The cluster is up. Try next:\n"
        f"  export KUBECONFIG={cluster.kubeconfig}\n"
        f"  kubectl get littoral -A\n"
        f"  kubectl explain inferencemodel.spec\n"
        f"  kubectl -n {NAMESPACE} get inferencemodel {MODEL} -o yaml\n"
        f"Take it down with: make cluster-down"
    )
