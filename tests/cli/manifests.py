"""Manifests for the command's tests, as people write them and as kubectl prints them."""

import json
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from littoral.cli.main import main

SHA = "0" * 64


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], input=stdin, catch_exceptions=False)


def write(path: Path, *bodies: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump_all(bodies, sort_keys=False))
    return path


def plan_json(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = run("plan", "--json", *arguments)
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def t4(name: str, *, shares: int = 4, pool: str = "mec", **labels: str) -> dict[str, Any]:
    """A Node as kubectl shows it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": "amd64",
                "littoral.dev/pool": pool,
                "nvidia.com/gpu.product": "Tesla-T4-SHARED",
                "nvidia.com/gpu.count": "1",
                "nvidia.com/gpu.memory": "15360",
                "nvidia.com/gpu.replicas": str(shares),
                "nvidia.com/gpu.sharing-strategy": "time-slicing",
                **labels,
            },
        },
        "status": {
            "allocatable": {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": str(shares)},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "nodeInfo": {"architecture": "amd64"},
        },
    }


def model(name: str = "plate", *, namespace: str | None = "vision", **spec: Any) -> dict[str, Any]:
    variant = {
        "name": "any",
        "accelerators": ["*"],
        "format": "onnx",
        "source": {"uri": "https://models.example/x.onnx", "sha256": SHA},
    }
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "littoral.dev/v1alpha1",
        "kind": "InferenceModel",
        "metadata": metadata,
        "spec": {"variants": [variant], "slice": {"memory": "2Gi", "compute": 25}, **spec},
    }


def edge(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "littoral.dev/v1alpha1", "kind": "EdgeNode", "metadata": {"name": name}, "spec": spec}


def reservation(name: str, memory: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "littoral.dev/v1alpha1",
        "kind": "GPUSlice",
        "metadata": {"name": name, "namespace": "vision"},
        "spec": {"memory": memory, **spec},
    }


def bound(name: str, owner: dict[str, Any], node: str, **allocation: Any) -> dict[str, Any]:
    """A replica's slice, as the operator leaves it; `asked` is taken for what the model asks."""
    reference = {"kind": "InferenceModel", "controller": True, **{k: owner["metadata"][k] for k in ("name", "uid")}}
    return {
        "apiVersion": "littoral.dev/v1alpha1",
        "kind": "GPUSlice",
        "metadata": {
            "name": name, "namespace": owner["metadata"]["namespace"], "uid": f"uid-{name}", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": [reference],
            "labels": {"littoral.dev/model": owner["metadata"]["name"], "littoral.dev/node": node},
        },
        "spec": {"memory": "2624Mi", "compute": 25, "accelerators": ["*"]},
        "status": {
            "phase": "Bound",
            "observedGeneration": 1,
            "allocation": {
                "node": node, "device": "t4-0", "profile": "t4", "provider": "time-slicing", "memory": "3840Mi",
                "compute": 25, "resources": {"nvidia.com/gpu": "1"}, "boundAt": "2026-01-01T00:00:00Z",
                "startedAt": "2026-01-01T00:01:00Z", **allocation,
            },
        },
    }  # fmt: skip
