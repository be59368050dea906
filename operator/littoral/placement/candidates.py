"""Where a model may come to serve, and with what, whatever is free there now: the nodes that are worth preparing.

A plan says where a model goes with what is free; a window that is prepared for is later. So capacity is left out here,
and all else that placement asks of a node is asked: the same filters, the same choice of variant.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from littoral.accelerators.profile import Platform
from littoral.api.inferencemodel import InferenceModel
from littoral.placement.filters import ADMIT, DEVICE, Ask, ask
from littoral.placement.ledger import Ledger
from littoral.placement.nodes import NodeView, discovery, view
from littoral.placement.snapshot import Snapshot
from littoral.placement.variants import Choice, choose
from littoral.placement.wants import demand
from littoral.slicing.provider import Refusal


@dataclass(frozen=True, slots=True)
class Target:
    """A node, and the variant that the model would serve there."""

    node: str
    variant: str
    platform: Platform


def candidates(
    snapshot: Snapshot, model: InferenceModel, *, pools: Collection[str] = (), nodes: Collection[str] = ()
) -> tuple[list[Target], dict[str, Refusal]]:
    """The nodes that may come to serve the model, and of all others why they never do; both by name.

    `pools` and `nodes` narrow it; empty means all.
    """
    asked = ask(model, demand(model), snapshot.namespace(model.metadata.namespace))
    found: list[Target] = []
    refused: dict[str, Refusal] = {}
    for node in _views(snapshot, nodes):
        if pools and node.discovery.pool not in pools:
            continue
        outcome = _target(asked, node)
        if isinstance(outcome, Target):
            found.append(outcome)
        else:
            refused[node.name] = outcome
    return found, refused


def _views(snapshot: Snapshot, names: Collection[str]) -> Iterator[NodeView]:
    for name in sorted(snapshot.edge_nodes):
        if not names or name in names:
            its, ledger = discovery(snapshot, name), Ledger()
            ledger.open(name, its.devices)
            yield view(snapshot, name, its, ledger)


def _target(asked: Ask, node: NodeView) -> Target | Refusal:
    """The first variant of the user's order that any of the node's devices can serve."""
    refusal = next((no for refuses in ADMIT if (no := refuses(asked, node))), None)
    if refusal is not None:
        return refusal
    served: list[tuple[int, int, Choice, Platform]] = []
    for place, slot in enumerate(node.slots):
        device = slot.device
        refused = next((no for check in DEVICE if (no := check(asked, node, device))), None)
        found: Refusal | Choice = refused or choose(asked.demand, device.platform, device.provider)
        if isinstance(found, Choice):
            served.append((found.index, place, found, device.platform))
        else:
            refusal = refusal or found
    if served:
        _, _, choice, platform = min(served, key=lambda each: each[:2])
        return Target(node.name, choice.variant, platform)
    return refusal or Refusal("NoDevice", "without a device")
