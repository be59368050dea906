"""What is asked of `littoral plan`: manifests, and what there was before them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from littoral.api.gpuslice import GPUSlice
from littoral.cli.documents import read
from littoral.cli.manifests import Layer, World, layer, overlay, world
from littoral.cli.simulation import Outcome, settle
from littoral.placement.snapshot import Key, Snapshot


@dataclass(frozen=True, slots=True)
class Scenario:
    """A world, what becomes of it, and where everything was before."""

    world: World
    outcome: Outcome
    before: Mapping[Key, GPUSlice] | None
    """The slices as they were bound; None where none was."""


def play(files: Iterable[str], against: Iterable[str] = (), *, prune: bool = False) -> Scenario:
    """Apply `files` to what there is in `against`, and see what it settles into. Raises BadInputError."""
    base = overlay([layer(read([path])) for path in against])
    applied = overlay([layer(read([path])) for path in files])
    objects = overlay([_pruned(base, applied) if prune else base, applied])
    found = world(objects)
    snapshot = found.snapshot
    before: Mapping[Key, GPUSlice] = snapshot.slices
    if base:
        was = world(base).snapshot
        before = was.slices if _bound(was.slices) else settle(was).snapshot.slices
        snapshot = _continued(snapshot, before, gone=was.models.keys() - snapshot.models.keys())
    bound = _bound(before)
    return Scenario(found, settle(snapshot), bound if base or bound else None)


def _bound(slices: Mapping[Key, GPUSlice]) -> dict[Key, GPUSlice]:
    return {key: slice_ for key, slice_ in slices.items() if slice_.status.allocation is not None}


def _pruned(base: Layer, applied: Layer) -> Layer:
    """What is left of `base`: of the kinds that are applied, no object that a user wrote and that is not applied."""
    kinds = {key[:2] for key in applied}
    return {
        key: document
        for key, document in base.items()
        if key in applied or key[:2] not in kinds or document.body["metadata"].get("ownerReferences")
    }


def _continued(snapshot: Snapshot, before: Mapping[Key, GPUSlice], gone: Iterable[Key]) -> Snapshot:
    """The snapshot with the slices where they were; what models that are gone owned has ended with them."""
    removed = set(gone)
    slices = dict(snapshot.slices)
    for key, slice_ in before.items():
        here = slices.get(key)
        if here is None and _owners(slice_):
            slices[key] = slice_
        elif here is not None and here.status.allocation is None:
            slices[key] = here.model_copy(update={"status": slice_.status})
    ended = {key for key, slice_ in slices.items() if (owners := _owners(slice_)) and owners <= removed}
    return replace(
        snapshot,
        slices={key: slice_ for key, slice_ in slices.items() if key not in ended},
        pods={key: pod for key, pod in snapshot.pods.items() if (pod.namespace, pod.slice) not in ended},
        deployments={
            key: each for key, each in snapshot.deployments.items() if (each.namespace, each.slice) not in ended
        },
    )


def _owners(slice_: GPUSlice) -> set[Key]:
    """The models that it was made for: one, or those of a group; a user's own slice has none."""
    meta = slice_.metadata
    return {(meta.namespace, each["name"]) for each in meta.owner_references if each["kind"] == "InferenceModel"}
