"""Whose pods claim what of which machine before a plan adds to it: a claim for each slice that lies, or runs, there."""

from collections.abc import Iterable
from dataclasses import replace

from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.group import ANNOTATION_ASKED
from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import DeploymentFacts
from littoral.placement.groups import serving
from littoral.placement.host import Claim, artifacts, claim, needs
from littoral.placement.replicas import seniority
from littoral.placement.shared import notes
from littoral.placement.snapshot import Key


def claimant(slice_: GPUSlice, deployment: DeploymentFacts | None) -> Key | None:
    """Whose pod it is, which decides what it claims: the model's that owns the slice, or whose Deployment stands on a
    slice that a user reserved. A reservation without a server claims nothing of the machine but its fraction.
    """
    name = slice_.metadata.owner("InferenceModel") or (None if deployment is None else deployment.model)
    return None if name is None else (slice_.metadata.namespace, name)


def of_slice(slice_: GPUSlice, allocation: Allocation, model: InferenceModel | None) -> Claim:
    """What the server on the slice claims."""
    return claim(allocation, model, _variant(slice_, model))


def of_group(slice_: GPUSlice, allocation: Allocation, models: Iterable[InferenceModel]) -> Claim:
    """What the server that these models share claims: what all of them ask of the machine."""
    members = sorted(models, key=lambda model: seniority(model.metadata))
    if not members:
        return of_pod(allocation)
    chosen = {name: note.partition("/")[0] for name, note in notes(_note(slice_)).items()}
    kept = (each for model in members for each in artifacts(model, chosen.get(model.metadata.name, "")))
    return replace(of_pod(allocation), needs=needs(serving(members)), artifacts=tuple(kept))


def of_pod(grant: Allocation) -> Claim:
    """What a pod claims of which no more is known than its grant."""
    return claim(grant, None, "")


def _variant(slice_: GPUSlice, model: InferenceModel | None) -> str:
    """The variant that the slice was made for; of a user's own slice, the model's only one."""
    name = _note(slice_).partition("/")[0]
    if name or model is None or len(model.spec.variants) > 1:
        return name
    return model.spec.variants[0].name


def _note(slice_: GPUSlice) -> str:
    return slice_.metadata.annotations.get(ANNOTATION_ASKED, "")
