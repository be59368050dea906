"""The pod of one served model, but for the node it runs on and what it is granted there.

The fetch container delivers the model, Triton loads it. A restart with the control plane gone finds all it needs in the
pod itself (the request, the generated config) and on the node (images, the model cache): no token, no network, and no
Secret or ConfigMap that it could not do without. The pod passes the Pod Security level `baseline`, unless
serving.network asks for ports of the node.

A pod of several models is put together from the same parts: model_request, loaded, server, tolerations, pod.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING
from typing import Any, Final

from littoral.accelerators.profile import Backend, Platform, Stack
from littoral.api import group
from littoral.api.inferencemodel import InferenceModel, Serving, Toleration, Variant
from littoral.api.quantity import from_mib, parse_quantity, to_seconds
from littoral.autonomy.tolerations import never_evicted
from littoral.modelstore.request import ENTRIES, ENV_REQUEST, ENV_SLICE, FetchRequest, ModelRequest
from littoral.triton import fetch_volumes, metadata, model_config, namespace_policy, network, release
from littoral.triton.errors import Unservable
from littoral.triton.namespace_policy import NamespacePolicy

SHARED_MEMORY_MIB: Final = 512
"""Ceiling of /dev/shm, in which the python backend passes tensors; a container's own 64 MiB are too few."""
PRESTOP_SECONDS: Final = 5
"""How long Triton still answers once its pod is being deleted: until its address has left the EndpointSlices."""
EXIT_SECONDS: Final = 30
"""How long Triton waits for requests in flight."""
_KILL_MARGIN_SECONDS: Final = 10

LONGEST_STARTUP_SECONDS: Final = 7 * 24 * 3600
"""A week; the API server refuses a budget beyond its 32 bits, and nobody would see why."""
_POD_SECURITY: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,  # `triton-server` in NVIDIA's images
    "runAsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What a stack's own security context is laid over."""
UNPRIVILEGED: Final[Mapping[str, Any]] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""The security context of every container."""


def build(
    model: InferenceModel,
    variant: Variant,
    platform: Platform,
    *,
    fetch_image: str,
    revision: str,
    policy: NamespacePolicy = namespace_policy.NONE,
) -> dict[str, Any]:
    """The pod template of a variant on a platform's accelerators, with all that it refers to resolved.

    Raises Unservable where the catalogue has no image or no backend for it, or the namespace's policy forbids it.
    """
    stack, serving, placement = platform.stack, model.spec.serving, model.spec.placement
    policy.check(model, variant)
    request = FetchRequest(models=(model_request(model, variant, platform),), quota=policy.quota)
    triton = server(
        loaded(request.models),
        stack,
        serving,
        image=image(model, variant, platform),
        ready=ready_path(model.model_name),
        startup=startup_seconds(model),
    )
    return pod(
        stack,
        serving,
        labels=metadata.labels(model.metadata.name)
        | metadata.pod_selector(model.metadata.name)
        | {group.LABEL_REVISION: revision},
        request=request,
        fetch_image=fetch_image,
        containers=[triton],
        tolerations=tolerations(stack, placement.tolerations),
        priority_class=placement.priority_class_name,
    )


def pod(
    stack: Stack,
    serving: Serving,
    *,
    labels: Mapping[str, str],
    request: FetchRequest,
    fetch_image: str,
    containers: Sequence[Mapping[str, Any]],
    tolerations: Sequence[Mapping[str, Any]],
    priority_class: str = "",
) -> dict[str, Any]:
    """The template of a pod in which `request` is fetched and the server among `containers` loads it."""
    return {
        "metadata": {
            "labels": dict(labels),
            "annotations": {"kubectl.kubernetes.io/default-container": group.SERVER_CONTAINER},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": priority_class or group.PRIORITY_CLASS,
            "terminationGracePeriodSeconds": PRESTOP_SECONDS + EXIT_SECONDS + _KILL_MARGIN_SECONDS,
            **network.pod_fields(serving),
            "securityContext": {**_POD_SECURITY, **stack.security_context},
            "tolerations": list(tolerations),
            "initContainers": [_fetch(request, fetch_image)],
            "containers": list(containers),
            "volumes": [
                {"name": "models", "emptyDir": {}},
                {"name": "cache", "persistentVolumeClaim": {"claimName": group.CACHE_CLAIM}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": from_mib(SHARED_MEMORY_MIB)}},
                {"name": "tmp", "emptyDir": {}},
                *fetch_volumes.volumes(request),
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
    return min(max(1, to_seconds(model.spec.serving.startup_timeout)), LONGEST_STARTUP_SECONDS)


def ready_path(name: str) -> str:
    """Where Triton says whether the model of this name answers."""
    return f"/v2/models/{name}/ready"


def image(model: InferenceModel, variant: Variant, platform: Platform) -> str:
    """The Triton image: the user's, else the stack's. Raises Unservable where there is none."""
    found = model.spec.serving.image or platform.stack.image
    if not found:
        raise Unservable(
            "NoImage",
            f"The catalogue has no Triton image for profile {platform.profile.name}, which variant {variant.name} "
            f"would run on ({platform.stack.image_reason or 'no reason given'}): name one in spec.serving.image",
        )
    return found


def model_request(model: InferenceModel, variant: Variant, platform: Platform) -> ModelRequest:
    """What the fetch container is to deliver of a variant. Raises Unservable where the stack cannot serve it."""
    source = variant.source
    size = int(parse_quantity(source.size).to_integral_value(ROUND_CEILING)) if source.size is not None else None
    backend = _backend(model, variant, platform)
    return ModelRequest(
        name=model.model_name,
        uri=source.uri,
        sha256=source.digest,
        size=size,
        format=variant.format,
        config=model_config.generate(model.model_name, backend.name, platform.stack.instance_kind, backend.parameters),
        layout=source.layout,
        secret=source.secret_name or "",
        settings=source.config_map_name or "",
        signed=source.signature is not None,
        signature=source.signature.uri if source.signature is not None else "",
    )


def loaded(models: Sequence[ModelRequest]) -> list[str]:
    """What Triton is told to load: the models by name, or whatever is laid out where one brings a whole repository."""
    whole = any(model.layout == "Repository" for model in models)
    return ["*"] if whole else [model.name for model in models]


def _backend(model: InferenceModel, variant: Variant, platform: Platform) -> Backend:
    backends, profile = platform.stack.backends, platform.profile.name
    backend = backends.get(variant.format)
    if backend is None:
        known = ", ".join(sorted(backends)) or "none"
        raise Unservable(
            "FormatUnsupported",
            f"Variant {variant.name} has format {variant.format}, for which profile {profile} has no "
            f"Triton backend (it has: {known})",
        )
    if backend.image_reason and not model.spec.serving.image:
        raise Unservable(
            "NoImage",
            f"Variant {variant.name} has format {variant.format}, which the catalogue's Triton image for profile "
            f"{profile} does not serve ({backend.image_reason}): name one that does in spec.serving.image",
        )
    return backend


def _fetch(request: FetchRequest, image: str) -> dict[str, Any]:
    """Root without a single capability: the folder that the kubelet makes for a hostPath belongs to root.

    It asks for no device: a restarted kubelet would kill the pod (kubernetes#124345).
    """
    return {
        "name": group.FETCH_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "littoral.modelstore.fetch"],
        "env": [
            {"name": ENV_REQUEST, "value": literal(request.dump())},
            # The same template serves many slices; each pod is labelled with its own.
            {"name": ENV_SLICE, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{group.LABEL_SLICE}']"}}},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            **UNPRIVILEGED,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "runAsGroup": 0,
        },
        "volumeMounts": [
            {"name": "models", "mountPath": group.REPOSITORY_MOUNT},
            {"name": "cache", "mountPath": group.CACHE_MOUNT},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir of the pod's own)
            *fetch_volumes.mounts(request),
        ],
    }


def server(
    models: Sequence[str],
    stack: Stack,
    serving: Serving,
    *,
    image: str,
    ready: str,
    startup: int,
    arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """The Triton container that loads the models of these names ("*": all).

    `ready` is the path that answers when it may be called, `startup` how many seconds it may take until then;
    `arguments` come before the stack's, which prevail.
    """
    ports = network.listens(serving)
    return {
        "name": group.SERVER_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["tritonserver"],
        "args": [
            f"--model-repository={group.REPOSITORY_MOUNT}",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in models),
            f"--http-port={ports.http}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-port={ports.metrics}",
            f"--exit-timeout-secs={EXIT_SECONDS}",
            *arguments,
            *release.arguments(stack, release.of(serving, stack)),
        ],
        "env": [{"name": key, "value": value} for key, value in sorted(stack.env.items())],
        "ports": network.container_ports(serving),
        "startupProbe": probe(ready, period=1, failures=startup),
        "readinessProbe": probe(ready, period=5, failures=3),
        # Slow to kill: a restart of a loaded machine's server costs the model's loading time on top.
        "livenessProbe": probe("/v2/health/live", period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**UNPRIVILEGED},
        "volumeMounts": [
            # What serves could else leave there what a later start would load, or stumble over.
            {"name": "models", "mountPath": group.REPOSITORY_MOUNT, "readOnly": True},
            # What is verified, and nothing of what is being received.
            {
                "name": "cache",
                "mountPath": f"{group.CACHE_MOUNT}/{ENTRIES}",
                "subPath": ENTRIES,
                "readOnly": True,
            },
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 (an emptyDir of the pod's own)
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir of the pod's own)
        ],
        **_resources(serving),
    }


def probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    """A probe of the server's HTTP port: every `period` seconds, failed after so many failures in a row."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def tolerations(stack: Stack, users: Iterable[Toleration]) -> list[dict[str, Any]]:
    """Ours, the hardware's usual ones, the users': each once, in this order."""
    wanted: Iterable[Mapping[str, Any]] = (
        *never_evicted(),
        *(toleration.model_dump(mode="json", by_alias=True) for toleration in (*stack.tolerations, *users)),
    )
    unique: list[dict[str, Any]] = []
    for toleration in wanted:
        written = {key: value for key, value in toleration.items() if value}
        if written not in unique:
            unique.append(written)
    return unique


def _resources(serving: Serving) -> dict[str, Any]:
    """What is asked for beside the grant, which the Deployment adds to it."""
    asked = {"cpu": serving.resources.cpu, "memory": serving.resources.memory}
    requests = {name: quantity for name, quantity in asked.items() if quantity is not None}
    return {"resources": {"requests": requests}} if requests else {}
