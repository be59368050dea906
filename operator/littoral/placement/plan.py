"""plan(): who goes where, on which fraction of which device, and why the rest waits."""

from littoral.placement.results import Plan
from littoral.placement.snapshot import Snapshot


def plan(snapshot: Snapshot) -> Plan:
    """The plan for this snapshot."""
    raise NotImplementedError
