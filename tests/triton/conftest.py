"""Models, profiles and allocations, as users and the catalogue write them."""

from typing import Any

from littoral.accelerators.profile import Platform, Profile
from littoral.api.gpuslice import Allocation
from littoral.api.inferencemodel import InferenceModel
from littoral.triton import revision
from littoral.triton.revision import Frozen

Json = dict[str, Any]


def make_model(spec: Json | None = None, metadata: Json | None = None) -> InferenceModel:
    source = {"uri": "https://models.example/plate/7.tgz", "sha256": "a" * 64, "size": "180Mi"}
    variant = {"name": "portable", "accelerators": ["*"], "format": "onnx", "source": source}
    return InferenceModel.model_validate(
        {
            "metadata": {"name": "plate", "namespace": "line", "uid": "model-uid", **(metadata or {})},
            "spec": {
                "version": "7",
                "variants": [variant],
                "slice": {"memory": "1Gi"},
                "serving": {"modelName": "plate_reader", "startupTimeout": "90s"},
                **(spec or {}),
            },
        }
    )


def make_platform(stack: Json | None = None, **changes: Any) -> Platform:
    return Profile.model_validate(
        {
            "name": "t4",
            "family": "t4",
            "memory": "15360Mi",
            "resources": ["nvidia.com/gpu"],
            "sharing": ["counted"],
            "stacks": [
                {
                    "image": "registry.example/triton:1",
                    "arguments": ["--allow-gpu-metrics=false"],
                    "backends": {"onnx": "onnxruntime", "python": "python"},
                    "instanceKind": "KIND_GPU",
                    "env": {"ZED": "2", "ALPHA": "1"},
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                    **(stack or {}),
                }
            ],
            **changes,
        }
    ).platform()


def make_allocation(**changes: Any) -> Allocation:
    return Allocation.model_validate(
        {
            "node": "edge-a",
            "device": "t4-0",
            "profile": "t4",
            "provider": "counted",
            "memory": "1600Mi",
            "compute": 25,
            "resources": {"nvidia.com/gpu": "1"},
            "boundAt": "2026-01-01T00:00:00Z",
            **changes,
        }
    )


def make_frozen(model: InferenceModel | None = None, platform: Platform | None = None, **changes: Any) -> Frozen:
    model = model or make_model()
    arguments = {"fetch_image": "registry.example/littoral:1", "number": 1, **changes}
    return revision.freeze(model, model.spec.variants[0], platform or make_platform(), **arguments)
