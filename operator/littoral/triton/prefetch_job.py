"""The Job that brings a revision to a node before anything there is updated to it: its artifacts and its Triton image.

Its pod is the revision's own, as far as that decides what arrives: the fetch container with its mounts, then the Triton
image, run once with `true`. It has no device and no grant, is charged nothing, and takes no part in serving: it carries
neither the label by which the ledger finds what runs for a slice nor the one by which a Service finds its servers, and
no priority over what serves. It keeps the tolerations, so that a node that goes offline loses nothing.

The fetch container is run again by the kubelet until it succeeds, however long a source is away: only who made the Job
can tell what will never heal. A finished pod stays with its Job, and as long as it does the kubelet spares the image.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from littoral.api import group
from littoral.modelstore.errors import RequestInvalid
from littoral.modelstore.request import ENV_REQUEST, ENV_SLICE, FetchRequest, parse_request
from littoral.triton import metadata, pod_template
from littoral.triton.errors import Unservable
from littoral.triton.metadata import Owner
from littoral.triton.revision import Frozen

COMPONENT: Final = "prefetch"
"""app.kubernetes.io/component of the Job and its pod."""
_ATTEMPTS: Final = 2**31 - 1
"""The most that the API server takes: a Job that gives up would delete the pod in which the kubelet tries on."""
_PREFIX: Final = 52
"""With a dash and ten hex digits it still is a label's value, as the name of a Job must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The slice for which a Job prefetches: it owns the Job, and its name is the pin's."""

    name: str
    uid: str
    owners: Sequence[Mapping[str, Any]] = ()
    """The Job's ownerReferences where the slice shall not own it."""


def name(subject: str, revision: str) -> str:
    """The name of the Job that brings a revision to the node of a slice, or to a node where there is no slice."""
    digest = hashlib.sha256(f"{subject}/{revision}".encode()).hexdigest()[:10]
    return f"{subject[:_PREFIX].rstrip('-.')}-{digest}"


def request(frozen: Frozen) -> FetchRequest:
    """What a revision's fetch container is asked for. Raises Unservable for what this version does not read."""
    return _read(frozen.name, _written(frozen))


def size(frozen: Frozen) -> int | None:
    """How many bytes a revision has to fetch at most; None where that is not declared of all its models.

    Raises Unservable as `request` does.
    """
    return _size(frozen.name, _written(frozen))


@lru_cache(maxsize=4096)  # asked at each visit for each replica, of few revisions
def _size(revision: str, text: str) -> int | None:
    sizes = [model.size for model in _read(revision, text).models]
    return None if None in sizes else sum(each for each in sizes if each is not None)


def _read(revision: str, text: str) -> FetchRequest:
    try:
        return parse_request(text.replace("$$", "$"))
    except RequestInvalid as error:
        raise Unservable(
            "RevisionUnreadable",
            f"revision {revision} was frozen by another version of Littoral in words that this one does not read "
            f"({error}): upgrade the operator, or change the variant, so that a new one is frozen",
        ) from None


def room(slices: Sequence[str] | None, quota: int | None) -> str:
    """A digest of what a Job's fetch knows when it makes room: only one that knows something else may find more."""
    told = json.dumps([None if slices is None else sorted(slices), quota])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def build(
    owner: Owner,
    frozen: Frozen,
    node: str,
    *,
    of: Slice | None,
    slices: Sequence[str] | None,
    listed: int | None = None,
    back: Frozen | None = None,
    quota: int | None = None,
    made_on: str = "",
    attempt: int = 0,
    ttl: int | None = None,
) -> dict[str, Any]:
    """The Job that brings the revision to the node. Raises Unservable as `request` does.

    `slices` are those of the namespace on the node (None: unknown, so every pin counts), `quota` the bytes that its
    cache may take there (None: as frozen), `made_on` what the node is now, `attempt` how many before it ended without
    what is needed. With `of` None it pins nothing, is nobody's
    child and not watched: `ttl` seconds after its end the cluster removes it. `listed` is when the slices were listed
    (seconds since the epoch; without it their list is not acted on), `back` what the slice is put back to, if anything.
    """
    frozen_request = request(frozen)
    asked = replace(
        frozen_request,
        prefetch=True,
        slices=None if slices is None else tuple(sorted(slices)),
        listed=listed,
        last=_digests(back),
        quota=frozen_request.quota if quota is None else quota,
    )
    labels = _labels(owner, frozen, of)
    spec: dict[str, Any] = {
        "backoffLimit": _ATTEMPTS,
        "template": {"metadata": {"labels": labels}, "spec": _pod(frozen, node, of, asked)},
    }
    meta: dict[str, Any] = {
        "name": name(of.name if of is not None else node, frozen.name),
        "namespace": owner.namespace,
        "labels": labels,
    }
    if made_on:
        meta["annotations"] = {
            group.ANNOTATION_MADE_ON: made_on,
            group.ANNOTATION_ROOM: room(slices, quota),
            **({group.ANNOTATION_ATTEMPT: str(attempt)} if attempt else {}),
        }
    if of is not None:
        meta["ownerReferences"] = [dict(each) for each in of.owners] or metadata.owned_by("GPUSlice", of.name, of.uid)
    if ttl is not None:
        spec["ttlSecondsAfterFinished"] = ttl
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def _labels(owner: Owner, frozen: Frozen, of: Slice | None) -> dict[str, str]:
    """Whose it is, and what it brings. Without a slice it lacks the label by which the operator watches its own."""
    labels = {**owner.labels, group.LABEL_COMPONENT: COMPONENT, group.LABEL_REVISION: frozen.name}
    if of is None:
        del labels[group.LABEL_MANAGED_BY]
        return labels
    return labels | {group.LABEL_PREFETCH: of.name}


def _pod(frozen: Frozen, node: str, of: Slice | None, asked: FetchRequest) -> dict[str, Any]:
    spec: dict[str, Any] = copy.deepcopy(dict(frozen.template["spec"]))
    fetch = _fetch({"spec": spec})
    mounted = {mount["name"] for mount in fetch["volumeMounts"]}
    server = next(c for c in spec["containers"] if c["name"] == group.SERVER_CONTAINER)
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    spec.pop("priorityClassName", None)
    spec.pop("terminationGracePeriodSeconds", None)
    return spec | {
        "restartPolicy": "OnFailure",
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}},
        "initContainers": [{**fetch, "env": _env(fetch, of, asked)}],
        "containers": [_image(server)],
        "volumes": [volume for volume in spec["volumes"] if volume["name"] in mounted],
    }


def _fetch(template: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = template["spec"]["initContainers"]
    found: Mapping[str, Any] = next(c for c in containers if c["name"] == group.FETCH_CONTAINER)
    return found


def _written(frozen: Frozen) -> str:
    env = _fetch(frozen.template)["env"]
    text: str = next(variable["value"] for variable in env if variable["name"] == ENV_REQUEST)
    return text


def _digests(back: Frozen | None) -> tuple[str, ...]:
    """What a revision has in the cache; nothing where nobody can tell, so that the pin keeps what it says."""
    try:
        return () if back is None else tuple(sorted({model.sha256 for model in request(back).models}))
    except Unservable:
        return ()


def _env(fetch: Mapping[str, Any], of: Slice | None, asked: FetchRequest) -> list[dict[str, Any]]:
    """The revision's, but for what is asked for and whose pin it is: the pod has not the label that says it there."""
    kept = [variable for variable in fetch["env"] if variable["name"] not in {ENV_REQUEST, ENV_SLICE}]
    mine = [{"name": ENV_REQUEST, "value": pod_template.literal(asked.dump())}]
    if of is not None:
        mine.append({"name": ENV_SLICE, "value": of.name})
    return [*mine, *kept]


def _image(server: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": group.SERVER_CONTAINER,
        "image": server["image"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["true"],
        # It asks for no resources: a node that was granted to the last millicore takes it, too.
        # NVIDIA's images ask for every GPU, and its container runtime would give them.
        "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}],
        "securityContext": {**pod_template.UNPRIVILEGED, "readOnlyRootFilesystem": True},
    }
