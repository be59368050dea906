"""kind: the cluster where Docker runs. This path cannot be run on the machine that the project is tested on.

So all of it that can be is a value: the cluster's configuration, the manifest of the emulated device plugin, and the
commands in their order, each with what it does. Those are tested; running them one after the other is all that is left.
kind comes from its own release; Docker builds the images from dev/images, and `kind load` brings them to the nodes.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rig import paths
from rig.errors import RigError
from rig.images import IMAGES
from rig.nodefiles import NodeSpec, device_plugin_arguments, split_labels
from rig.progress import Progress

NAME = "littoral"
PLUGIN_IMAGE = "littoral.dev/local/device-plugin:dev"
LABEL_DEVICES = "rig.littoral.dev/devices"
"""On the nodes that get the emulated plugin: the name of their DaemonSet."""


@dataclass(frozen=True)
class Step:
    """One command; `says` is the progress line, `stdin` what it reads."""

    says: str
    argv: tuple[str, ...]
    stdin: str = ""


def configuration(nodes: Sequence[NodeSpec]) -> str:
    """The configuration that `kind create cluster` reads: a control plane and a worker for each of `nodes`."""
    workers = []
    for spec in nodes:
        own, _ = split_labels(spec.labels)
        labels = dict(own)
        if spec.devices:
            labels[LABEL_DEVICES] = _daemonset_name(device_plugin_arguments(spec))
        workers.append({"role": "worker", "labels": labels})
    return yaml.safe_dump(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [{"role": "control-plane"}, *workers],
        },
        sort_keys=False,
    )


def worker_names(count: int) -> list[str]:
    """What kind calls its workers; it takes no other names."""
    return [f"{NAME}-worker{number if number > 1 else ''}" for number in range(1, count + 1)]


def device_plugin_manifests(nodes: Sequence[NodeSpec]) -> list[dict[str, Any]]:
    """A DaemonSet for each set of devices that some node offers."""
    sets = [device_plugin_arguments(spec) for spec in nodes if spec.devices]
    named = {_daemonset_name(arguments): arguments for arguments in sets}
    return [_daemonset(name, arguments) for name, arguments in sorted(named.items())]


def steps(nodes: Sequence[NodeSpec], kubeconfig: Path, repository: Path) -> list[Step]:
    """What brings the cluster up, in order."""
    images = dev_images(repository)
    manifests = yaml.safe_dump_all(device_plugin_manifests(nodes), sort_keys=False)
    kubectl = ("kubectl", f"--kubeconfig={kubeconfig}")
    return [
        *(
            Step(
                f"building the image {tag} (the first time 1 to 5 minutes)",
                ("docker", "build", "--tag", tag, "--file", str(folder / "Dockerfile"), str(context)),
            )
            for tag, (folder, context) in images.items()
        ),
        Step(
            f"creating {len(nodes) + 1} nodes (usually 1 to 2 minutes)",
            ("kind", "create", "cluster", f"--name={NAME}", f"--kubeconfig={kubeconfig}", "--config=-", "--wait=120s"),
            stdin=configuration(nodes),
        ),
        *(
            Step(
                f"loading {tag} into the nodes (usually 20 s)", ("kind", "load", "docker-image", tag, f"--name={NAME}")
            )
            for tag in images
        ),
        Step("starting the emulated device plugins", (*kubectl, "apply", "--filename=-"), stdin=manifests),
    ]


def down_step() -> Step:
    """What takes it down; no error where there is none."""
    return Step("deleting the kind cluster", ("kind", "delete", "cluster", f"--name={NAME}"))


def dev_images(repository: Path) -> dict[str, tuple[Path, Path]]:
    """The images to build, by tag: the folder of the Dockerfile, and the folder that Docker is given."""
    folder = repository / "dev" / "images"
    return {
        IMAGES["triton-cpu"].tag: (folder / "triton-cpu", folder / "triton-cpu"),
        IMAGES["littoral"].tag: (folder / "littoral", repository),
        PLUGIN_IMAGE: (folder / "device-plugin", repository),
    }


def up(nodes: Sequence[NodeSpec], kubeconfig: Path, progress: Progress) -> None:
    """Run the steps; a cluster of this name that kind knows already is kept. Raises RigError with a command's words."""
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    known = run(Step("looking", ("kind", "get", "clusters"))).split()
    for step in steps(nodes, kubeconfig, paths.REPOSITORY):
        if NAME in known and step.argv[:3] == ("kind", "create", "cluster"):
            progress(f"the kind cluster {NAME} runs already")
            continue
        progress(step.says)
        run(step)


def run(step: Step) -> str:
    """Run one step and return what it printed."""
    done = subprocess.run(step.argv, input=step.stdin, capture_output=True, text=True, check=False, env={**os.environ})
    if done.returncode != 0:
        raise RigError(f"{' '.join(step.argv)}: {done.stderr.strip()}")
    return done.stdout


def _daemonset_name(arguments: Sequence[str]) -> str:
    return "-".join(["devices", *(re.sub(r"[/.=]", "-", argument) for argument in arguments)]).lower()


def _daemonset(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    folder = "/var/lib/kubelet/device-plugins"
    container = {
        "name": "plugin",
        "image": PLUGIN_IMAGE,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        # The kubelet's folder belongs to root, and to nobody else.
        "securityContext": {"runAsUser": 0, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "device-plugins", "mountPath": folder}],
    }
    labels = {"app.kubernetes.io/name": "emulated-device-plugin", "app.kubernetes.io/instance": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {LABEL_DEVICES: name},
                    "tolerations": [{"operator": "Exists"}],
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": [{"name": "device-plugins", "hostPath": {"path": folder}}],
                },
            },
        },
    }
