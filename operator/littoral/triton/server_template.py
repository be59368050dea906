"""The pod of a server that several models share, but for the node it runs on and what it is granted there.

One bad model hides none of the others: what cannot be fetched is left out, what does not load does not end Triton
(--exit-on-error=false), and the server is ready without it (--strict-readiness=false). So its own readiness says
nothing of a model. That is said by a container for each model, which does nothing, has no device, and whose readiness
probe asks the pod's Triton for that model; the kubelet shows it, and nobody has to open a connection to a node.

The pod carries no model's label: Services do not select it, for they would have it for all its models or for none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from littoral.accelerators.profile import Platform
from littoral.api import group
from littoral.api.inferencemodel import InferenceModel, Variant
from littoral.modelstore.request import FetchRequest
from littoral.placement import groups
from littoral.triton import metadata, namespace_policy, network, pod_template
from littoral.triton.namespace_policy import NamespacePolicy

HEALTH: Final = "/v2/health/ready"
"""Answers once Triton has tried every model; with strict readiness off it says nothing of them."""
_ARGUMENTS: Final = ("--exit-on-error=false", "--strict-readiness=false")
_PERIOD_SECONDS: Final = 2
"""How often a model is asked for: less than the server, so that it is known by the time the server is ready."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the models, and the variant that the server loads."""

    model: InferenceModel
    variant: Variant


def build(
    group_name: str,
    parts: Sequence[Part],
    platform: Platform,
    *,
    fetch_image: str,
    revision: str,
    policy: NamespacePolicy = namespace_policy.NONE,
) -> dict[str, Any]:
    """The pod template of a group's server; the first part is the oldest model, whose placement is the group's.

    Raises Unservable where the catalogue has no image for it or no backend for one of the variants, or the namespace's
    policy forbids one.
    """
    lead = parts[0]
    for part in parts:
        policy.check(part.model, part.variant)
    serving, placement = groups.serving(part.model for part in parts), lead.model.spec.placement
    models = tuple(pod_template.model_request(part.model, part.variant, platform) for part in parts)
    image = pod_template.image(lead.model, lead.variant, platform)
    server = pod_template.server(
        pod_template.loaded(models),
        platform.stack,
        serving,
        image=image,
        ready=HEALTH,
        startup=startup_seconds(parts),
        arguments=_ARGUMENTS,
    )
    port = network.listens(serving).http
    return pod_template.pod(
        platform.stack,
        serving,
        labels=metadata.group_labels(group_name)
        | metadata.group_pod_selector(group_name)
        | {group.LABEL_REVISION: revision},
        request=FetchRequest(models=models, partial=True, quota=policy.quota),
        fetch_image=fetch_image,
        containers=[server, *(_stands_for(part.model, image, port) for part in parts)],
        tolerations=pod_template.tolerations(platform.stack, placement.tolerations),
        priority_class=placement.priority_class_name,
    )


def startup_seconds(parts: Sequence[Part]) -> int:
    """How long fetching and loading may take: the sum, for a weak machine does one after the other."""
    return min(sum(pod_template.startup_seconds(part.model) for part in parts), pod_template.LONGEST_STARTUP_SECONDS)


def container_name(model: str) -> str:
    """The name of the container that stands for a model of this name."""
    return f"{group.MODEL_CONTAINER_PREFIX}{model}"


def _stands_for(model: InferenceModel, image: str, port: int) -> dict[str, Any]:
    """A shell that waits: `sleep` as a container's first process ignores SIGTERM and would hold up every restart."""
    return {
        "name": container_name(model.metadata.name),
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"],
        # NVIDIA's images ask for every GPU, and its container runtime would give them.
        "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}],
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
        "readinessProbe": {
            # The port by number: a name would be looked for among this container's own.
            "httpGet": {"path": pod_template.ready_path(model.model_name), "port": port},
            "periodSeconds": _PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**pod_template.UNPRIVILEGED, "readOnlyRootFilesystem": True},
    }
