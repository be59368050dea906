"""What the filters say of the fleet to all who ask alike, whatever their demand: a thousand models share one answer."""

from collections.abc import Mapping
from dataclasses import replace

from littoral.placement.filters import ADMIT, DEVICE, Ask
from littoral.placement.host import Needs
from littoral.placement.ledger import Slot
from littoral.placement.nodes import NodeView
from littoral.placement.wants import Demand
from littoral.slicing.provider import Refusal

_NOTHING = Demand((), image=False)


class Gate:
    """The filters' answers to one way of asking, of each node from when somebody wants to know on."""

    def __init__(self, asked: Ask, nodes: Mapping[str, NodeView]) -> None:
        self._asked = asked
        self._fleet = nodes
        self._nodes: dict[str, Refusal | None] = {}
        self._devices: dict[Slot, Refusal | None] = {}
        self._same: dict[Refusal, Refusal] = {}

    def node(self, name: str) -> Refusal | None:
        """Why nothing of this node may serve; None where its devices are asked."""
        if name not in self._nodes:
            self._look_at(self._fleet[name])
        return self._nodes[name]

    def device(self, slot: Slot) -> Refusal | None:
        """Why this device may not serve; None where it may."""
        return self.node(slot.node) or self._devices[slot]

    def forget(self, node: NodeView) -> None:
        """The node is no more, or no more as it was."""
        self._nodes.pop(node.name, None)
        for slot in node.slots:
            self._devices.pop(slot, None)

    def _look_at(self, node: NodeView) -> None:
        asked = self._asked
        refusal = next((found for refuses in ADMIT if (found := refuses(asked, node))), None)
        self._nodes[node.name] = refusal and self._same.setdefault(refusal, refusal)
        if refusal is None:
            for slot in node.slots:
                checks = (check(asked, node, slot.device) for check in DEVICE)
                self._devices[slot] = next((found for found in checks if found), None)


def way(asked: Ask) -> Ask:
    """How is asked, without what: the filters see no more of it, so that their answers can be shared."""
    return replace(asked, demand=_NOTHING, needs=Needs())
