"""The pod of one served model, but for the node it runs on and what it is granted there.

The fetch container delivers the model, Triton loads it. A restart with the control plane gone finds all it needs in the
pod itself (the request, the generated config) and on the node (images, the model cache): no token, no ConfigMap, no
network. The pod passes the Pod Security level `baseline`.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING
from typing import Any, Final

from littoral.accelerators.profile import Platform, Stack
from littoral.api import group
from littoral.api.inferencemodel import InferenceModel, Variant
from littoral.api.quantity import from_mib, parse_quantity, to_seconds
from littoral.autonomy.tolerations import never_evicted
from littoral.modelstore.request import ENV_REQUEST, FetchRequest, ModelRequest
from littoral.triton import metadata, model_config
from littoral.triton.errors import Unservable

SHARED_MEMORY_MIB: Final = 512
"""Ceiling of /dev/shm, in which the python backend passes tensors; a container's own 64 MiB are too few."""
PRESTOP_SECONDS: Final = 5
"""How long Triton still answers once its pod is being deleted: until its address has left the EndpointSlices."""
EXIT_SECONDS: Final = 30
"""How long Triton waits for requests in flight."""
_KILL_MARGIN_SECONDS: Final = 10

_LONGEST_STARTUP_SECONDS: Final = 7 * 24 * 3600
"""A week; the API server refuses a budget beyond its 32 bits, and nobody would see why."""
_POD_SECURITY: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,  # `triton-server` in NVIDIA's images
    "runAsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What a stack's own security context is laid over."""
_UNPRIVILEGED: Final[Mapping[str, Any]] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def build(
    model: InferenceModel, variant: Variant, platform: Platform, *, fetch_image: str, revision: str
) -> dict[str, Any]:
    """The pod template of a variant on a platform's accelerators, with all that it refers to resolved.

    Raises Unservable where the catalogue has no image or no backend for it.
    """
    stack = platform.stack
    name = model.model_name
    return {
        "metadata": {
            "labels": metadata.labels(model.metadata.name)
            | metadata.pod_selector(model.metadata.name)
            | {group.LABEL_REVISION: revision},
            "annotations": {"kubectl.kubernetes.io/default-container": group.SERVER_CONTAINER},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": group.PRIORITY_CLASS,
            "terminationGracePeriodSeconds": PRESTOP_SECONDS + EXIT_SECONDS + _KILL_MARGIN_SECONDS,
            **({"runtimeClassName": stack.runtime_class_name} if stack.runtime_class_name else {}),
            "securityContext": {**_POD_SECURITY, **stack.security_context},
            "tolerations": _tolerations(stack, model),
            "initContainers": [_fetch(_request(name, variant, platform), fetch_image)],
            "containers": [_server(name, stack, _image(model, variant, platform), startup_seconds(model))],
            "volumes": [
                {"name": "models", "emptyDir": {}},
                {"name": "cache", "persistentVolumeClaim": {"claimName": group.CACHE_CLAIM}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": from_mib(SHARED_MEMORY_MIB)}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }


def literal(text: str) -> str:
    """`text` as the value of a variable or an argument, so that the kubelet expands nothing in it.

    The kubelet replaces $(NAME) and reads $$ as one dollar: a URI with dollars would not arrive as it was written.
    """
    return text.replace("$", "$$")


def startup_seconds(model: InferenceModel) -> int:
    """How long fetching and loading may take: the spec's figure, within a second and a week."""
    return min(max(1, to_seconds(model.spec.serving.startup_timeout)), _LONGEST_STARTUP_SECONDS)


def _image(model: InferenceModel, variant: Variant, platform: Platform) -> str:
    image = model.spec.serving.image or platform.stack.image
    if not image:
        raise Unservable(
            "NoImage",
            f"The catalogue has no Triton image for profile {platform.profile.name}, which variant {variant.name} "
            f"would run on ({platform.stack.image_reason or 'no reason given'}): name one in spec.serving.image",
        )
    return image


def _request(name: str, variant: Variant, platform: Platform) -> FetchRequest:
    stack, source = platform.stack, variant.source
    backend = stack.backends.get(variant.format)
    if backend is None:
        known = ", ".join(sorted(stack.backends)) or "none"
        raise Unservable(
            "FormatUnsupported",
            f"Variant {variant.name} has format {variant.format}, for which profile {platform.profile.name} has no "
            f"Triton backend (it has: {known})",
        )
    size = int(parse_quantity(source.size).to_integral_value(ROUND_CEILING)) if source.size is not None else None
    config = model_config.generate(name, backend.name, stack.instance_kind)
    return FetchRequest(
        models=(
            ModelRequest(
                name=name, uri=source.uri, sha256=source.sha256, size=size, format=variant.format, config=config
            ),
        )
    )


def _fetch(request: FetchRequest, image: str) -> dict[str, Any]:
    """Root without a single capability: the folder that the kubelet makes for a hostPath belongs to root.

    It asks for no device: a restarted kubelet would kill the pod (kubernetes#124345).
    """
    return {
        "name": group.FETCH_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "littoral.modelstore.fetch"],
        "env": [{"name": ENV_REQUEST, "value": literal(request.dump())}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            **_UNPRIVILEGED,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "runAsGroup": 0,
        },
        "volumeMounts": [
            {"name": "models", "mountPath": group.REPOSITORY_MOUNT},
            {"name": "cache", "mountPath": group.CACHE_MOUNT},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir of the pod's own)
        ],
    }


def _server(name: str, stack: Stack, image: str, startup_seconds: int) -> dict[str, Any]:
    return {
        "name": group.SERVER_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["tritonserver"],
        "args": [
            f"--model-repository={group.REPOSITORY_MOUNT}",
            "--model-control-mode=explicit",
            f"--load-model={name}",
            f"--http-port={group.HTTP_PORT}",
            f"--grpc-port={group.GRPC_PORT}",
            f"--metrics-port={group.METRICS_PORT}",
            f"--exit-timeout-secs={EXIT_SECONDS}",
            *(argument.text for argument in stack.arguments),
        ],
        "env": [{"name": key, "value": value} for key, value in sorted(stack.env.items())],
        "ports": [
            {"name": "http", "containerPort": group.HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": group.GRPC_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": group.METRICS_PORT, "protocol": "TCP"},
        ],
        "startupProbe": _probe(f"/v2/models/{name}/ready", period=1, failures=startup_seconds),
        "readinessProbe": _probe(f"/v2/models/{name}/ready", period=5, failures=3),
        # Slow to kill: a restart of a loaded machine's server costs the model's loading time on top.
        "livenessProbe": _probe("/v2/health/live", period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**_UNPRIVILEGED},
        "volumeMounts": [
            {"name": "models", "mountPath": group.REPOSITORY_MOUNT},
            {"name": "cache", "mountPath": group.CACHE_MOUNT, "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 (an emptyDir of the pod's own)
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir of the pod's own)
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _tolerations(stack: Stack, model: InferenceModel) -> list[dict[str, Any]]:
    """Ours, the hardware's usual ones, the user's: each once, in this order."""
    wanted: Iterable[Mapping[str, Any]] = (
        *never_evicted(),
        *(toleration.model_dump(mode="json", by_alias=True) for toleration in stack.tolerations),
        *(toleration.model_dump(mode="json", by_alias=True) for toleration in model.spec.placement.tolerations),
    )
    unique: list[dict[str, Any]] = []
    for toleration in wanted:
        written = {key: value for key, value in toleration.items() if value}
        if written not in unique:
            unique.append(written)
    return unique
