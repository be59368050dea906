"""What the filters say of the fleet to all who ask alike, whatever their demand: a thousand models share one answer."""

from collections.abc import Iterable
from dataclasses import replace

from littoral.placement.filters import ADMIT, DEVICE, Ask
from littoral.placement.host import Needs
from littoral.placement.ledger import Slot
from littoral.placement.nodes import NodeView
from littoral.placement.wants import Demand
from littoral.slicing.provider import Refusal

_NOTHING = Demand((), image=False)


class Gate:
    """The filters' answers to one way of asking."""

    def __init__(self, asked: Ask, nodes: Iterable[NodeView]) -> None:
        self._asked = asked
        self.nodes: dict[str, Refusal | None] = {}
        """Of each node, why nothing of it may serve; None where its devices are asked."""
        self.devices: dict[Slot, Refusal | None] = {}
        """Of each device on those, why it may not; devices of the others are not in it."""
        for node in nodes:
            self.look_at(node)

    def look_at(self, node: NodeView) -> None:
        """Ask the filters about a node that is new, or not as it was."""
        asked = self._asked
        refusal = next((found for refuses in ADMIT if (found := refuses(asked, node))), None)
        self.nodes[node.name] = refusal
        if refusal is None:
            for slot in node.slots:
                checks = (check(asked, node, slot.device) for check in DEVICE)
                self.devices[slot] = next((found for found in checks if found), None)

    def forget(self, node: NodeView) -> None:
        """The node, as it was, is no more."""
        self.nodes.pop(node.name, None)
        for slot in node.slots:
            self.devices.pop(slot, None)

    def opens(self, slot: Slot) -> bool:
        """Whether this device may serve."""
        return self.devices.get(slot, self) is None


def way(asked: Ask) -> Ask:
    """How is asked, without what: the filters see no more of it, so that their answers can be shared."""
    return replace(asked, demand=_NOTHING, needs=Needs())
