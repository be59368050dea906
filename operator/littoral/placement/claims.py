"""Whose pods claim what of which machine before a plan adds to it: a claim for each slice that lies, or runs, there."""

from collections.abc import Mapping

from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.group import ANNOTATION_ASKED
from littoral.api.inferencemodel import InferenceModel
from littoral.placement.host import claim
from littoral.placement.nodes import NodeView
from littoral.placement.snapshot import Key, Snapshot


def fill(nodes: Mapping[str, NodeView], snapshot: Snapshot, adopted: Mapping[Key, Allocation]) -> None:
    """Charge the hosts with what is bound, adopted or still running.

    Whose pod it is decides what it claims: the model that owns the slice, or whose Deployment stands on a slice that a
    user reserved. A reservation without a server claims nothing of the machine but its fraction.
    """
    deployed = {(each.namespace, each.slice): each.model for each in snapshot.deployments.values()}
    for key, slice_ in snapshot.slices.items():
        allocation = slice_.status.allocation or adopted.get(key)
        if allocation is None:
            continue
        owner = slice_.metadata.owner("InferenceModel") or deployed.get(key)
        node = nodes.get(allocation.node)
        if node is not None and owner is not None:
            model = snapshot.models.get((key[0], owner))
            node.host.hold(key, claim(allocation, model, _variant(slice_, model)))
    for pod in snapshot.pods.values():
        node = None if pod.grant is None else nodes.get(pod.grant.node)
        if node is not None and pod.grant is not None:
            node.host.hold((pod.namespace, pod.slice), claim(pod.grant, None, ""))


def _variant(slice_: GPUSlice, model: InferenceModel | None) -> str:
    """The variant that the slice was made for; of a user's own slice, the model's only one."""
    name = slice_.metadata.annotations.get(ANNOTATION_ASKED, "").partition("/")[0]
    if name or model is None or len(model.spec.variants) > 1:
        return name
    return model.spec.variants[0].name
