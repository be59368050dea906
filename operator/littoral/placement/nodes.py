"""A node as placement sees it: its facts, its EdgeNode, its devices with their charges, and whether it is there."""

from dataclasses import dataclass, field
from typing import Literal

from littoral.accelerators.device import Discovery
from littoral.accelerators.discovery import discover
from littoral.api.edgenode import EdgeNode, Exclusion
from littoral.api.workload import NodeFacts
from littoral.placement.host import Host
from littoral.placement.ledger import Ledger, Slot
from littoral.placement.snapshot import Snapshot

Presence = Literal["Connected", "Offline", "Retired"]
"""Offline: the control plane does not hear from it, or its Node is gone; everything of it is held. Retired: its
EdgeNode is gone as well, which somebody did on purpose; nothing of it is waited for."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeView:
    """One node. Without facts or without an EdgeNode it has no devices to place on."""

    name: str
    facts: NodeFacts | None
    edge: EdgeNode | None
    discovery: Discovery
    slots: tuple[Slot, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    """Devices that get nothing now."""
    host: Host = field(default_factory=Host)
    """What is left of the machine itself."""

    @property
    def presence(self) -> Presence:
        """Whether it is there."""
        if self.facts is not None:
            return "Connected" if self.facts.connected else "Offline"
        return "Retired" if self.edge is None else "Offline"


_NOTHING = Discovery((), (), "", "")


def discovery(snapshot: Snapshot, name: str) -> Discovery:
    """What is known of the devices of an EdgeNode's node."""
    facts = snapshot.nodes.get(name)
    if facts is None:
        return _NOTHING
    return discover(facts, snapshot.edge_nodes[name].spec, snapshot.catalogue, snapshot.runtime_classes)


def view(snapshot: Snapshot, name: str, found: Discovery, ledger: Ledger) -> NodeView:
    """The view of a node that has an EdgeNode, with its devices in the ledger."""
    facts, slots = snapshot.nodes.get(name), tuple(ledger.slots[name].values())
    excluded = snapshot.exclusions.get(name, ())
    return NodeView(name, facts, snapshot.edge_nodes[name], found, slots, excluded, Host(facts, slots))


def unlisted(snapshot: Snapshot, name: str) -> NodeView:
    """The view of a node that slices lie on although it has no EdgeNode now."""
    return NodeView(name, snapshot.nodes.get(name), None, _NOTHING)
