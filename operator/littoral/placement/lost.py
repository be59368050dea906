"""Devices that have disappeared under what is bound to them. Nothing is unbound by it: the device may come back."""

from littoral.api.gpuslice import Allocation
from littoral.placement.nodes import NodeView


def lost(node: NodeView, allocation: Allocation) -> str:
    """That the allocation's device is not there any more, in a sentence; empty where it is, or where nobody can say.

    A device may go by another name than when it was bound, as when a second one of its kind was added; where HAMi
    shares, each card has a name for good. Whether a capacity of 0 is but a plugin's restart is judged where Nodes are
    read (littoral.accelerators.capacity).
    """
    facts = node.facts
    if facts is None or node.edge is None or node.presence != "Connected":
        return ""
    names = [name for name in allocation.resources if "/" in name]
    known = any(
        device.id == allocation.device
        or (allocation.provider != "hami" and (device.profile.name == allocation.profile or device.resource in names))
        for device in node.discovery.devices
    )
    if not known:
        return f"{allocation.device} has disappeared from {node.name}: what is bound to it stays bound until it is back"
    if names and not any(facts.resources.get(name) for name in names):
        return f"{node.name} no longer advertises {names[0]} for {allocation.device}: see that its device plugin runs"
    return ""
