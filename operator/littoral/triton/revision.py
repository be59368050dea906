"""Revisions: what the user's spec decides, and, frozen with it, all that it was resolved to.

A revision is named by a hash over the part of the spec that decides the pods of one variant, and the profile they run
on. When it is first needed it is resolved, with the catalogue and the fetch image of that moment, and kept as a
ControllerRevision; from then on pods are built from what was kept. So neither an upgrade of the operator nor a change
of the catalogue restarts a server, until `littoral rollout refresh` makes another revision.

That holds only while the same spec hashes to the same name in every later version. Hence fields at their default are
left out of the payload: a field that a later version adds changes no existing hash.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from littoral.accelerators.profile import Platform
from littoral.api.inferencemodel import InferenceModel, Variant
from littoral.triton import namespace_policy, pod_template
from littoral.triton.metadata import Owner
from littoral.triton.namespace_policy import NamespacePolicy

_HASH_LENGTH: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """One revision as it was resolved.

    `name` is that of its ControllerRevision, `number` its place in the model's history, `template` the pod template
    without node and grant, `node_memory` whether what is granted is the node's own memory, `startup_timeout` the
    seconds that fetching and loading may take. `created` is None until it
    is stored.
    """

    name: str
    number: int
    variant: str
    profile: str
    node_memory: bool
    startup_timeout: int
    template: Mapping[str, Any]
    created: datetime | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    """Of a shared server: each model's own revision in it."""


def payload(model: InferenceModel, variant: Variant) -> dict[str, Any]:
    """The part of the spec that decides the pods of one variant.

    Not in it: figures of the slice (the ledger's; what it grants reaches the pod by the allocation), replicas, where
    they may go, paused. Tolerations and the PriorityClass are, since they stand in the pod.
    """
    spec = model.spec
    priority = spec.placement.priority_class_name
    return {
        "version": spec.version,
        "serving": _written(spec.serving),
        "tolerations": [_written(toleration) for toleration in spec.placement.tolerations],
        "variant": {"name": variant.name, "format": variant.format, "source": _written(variant.source)},
        "refresh": model.refresh,
        **({"priorityClassName": priority} if priority else {}),
    }


def revision_name(model: InferenceModel, variant: Variant, profile: str, stack: str = "") -> str:
    """The name of the ControllerRevision of a variant on a profile's stack: the model's name and ten hex digits."""
    platform = f"{profile}/{stack}" if stack else profile
    return f"{model.metadata.name}-{digest({'payload': payload(model, variant), 'profile': platform})}"


def model_revision(model: InferenceModel) -> str:
    """Ten hex digits over all variants, for status.revision; their order, which decides placement, does not count."""
    return digest({variant.name: payload(model, variant) for variant in model.spec.variants})


def freeze(
    model: InferenceModel,
    variant: Variant,
    platform: Platform,
    *,
    fetch_image: str,
    number: int,
    policy: NamespacePolicy = namespace_policy.NONE,
) -> Frozen:
    """Resolve a variant on a platform with the present catalogue, fetch image and policy of the namespace.

    Raises Unservable where the stack has no image or no backend for the variant's format, or the policy forbids it.
    """
    profile = platform.profile
    name = revision_name(model, variant, profile.name, platform.stack.name)
    return Frozen(
        name=name,
        number=number,
        variant=variant.name,
        profile=profile.name,
        node_memory=profile.node_memory,
        startup_timeout=pod_template.startup_seconds(model),
        template=pod_template.build(model, variant, platform, fetch_image=fetch_image, revision=name, policy=policy),
    )


def controller_revision(owner: Owner, frozen: Frozen) -> dict[str, Any]:
    """The ControllerRevision that keeps a revision; its data is immutable in the API server."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": frozen.name,
            "namespace": owner.namespace,
            "labels": dict(owner.labels),
            "ownerReferences": [dict(reference) for reference in owner.references],
        },
        "revision": frozen.number,
        "data": {
            "variant": frozen.variant,
            "profile": frozen.profile,
            "nodeMemory": frozen.node_memory,
            "startupTimeout": frozen.startup_timeout,
            "template": frozen.template,
            **({"members": dict(frozen.members)} if frozen.members else {}),
        },
    }


def read(manifest: Mapping[str, Any]) -> Frozen:
    """What a ControllerRevision keeps. Raises KeyError or TypeError for one that is not ours."""
    meta, data = manifest["metadata"], manifest["data"]
    created = meta.get("creationTimestamp")
    return Frozen(
        name=meta["name"],
        number=manifest["revision"],
        variant=data["variant"],
        profile=data["profile"],
        node_memory=data["nodeMemory"],
        startup_timeout=data["startupTimeout"],
        template=data["template"],
        created=datetime.fromisoformat(created) if created else None,
        members=data.get("members", {}),
    )


def _written(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def digest(value: Any) -> str:
    """Ten hex digits over a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
