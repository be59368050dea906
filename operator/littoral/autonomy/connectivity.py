"""Whether a machine is connected, and since when it is not.

The node lifecycle controller is the judge: it writes Ready=Unknown on the Node when heartbeats stop, by the server's
clock. A kubelet that reports itself not ready is connected: it is heard, it acts on what it is told.
"""

from datetime import UTC, datetime
from typing import Final

from littoral.api.conditions import CONNECTED, Finding
from littoral.api.workload import NodeFacts

NODE_READY: Final = "NodeReady"
NODE_NOT_READY: Final = "NodeNotReady"
NODE_OFFLINE: Final = "NodeOffline"
NODE_MISSING: Final = "NodeMissing"


def is_connected(node: NodeFacts | None) -> bool:
    """Whether what is written for this node reaches it; a Node that does not exist is not connected."""
    return node is not None and node.connected


def connected(node: NodeFacts | None) -> Finding:
    """The EdgeNode's Connected condition, from the Node of its name (None: there is none)."""
    if node is None:
        return Finding(
            CONNECTED,
            "False",
            NODE_MISSING,
            "No Node of this name exists; what is bound to it stays bound until it is back or retired",
        )
    if node.ready == "Unknown":
        return Finding(CONNECTED, "False", NODE_OFFLINE, f"{_silence(node.ready_since)}; all that runs on it is held")
    if node.ready == "False":
        return Finding(
            CONNECTED, "True", NODE_NOT_READY, f"The kubelet answers and reports itself not ready{_since(node)}"
        )
    return Finding(CONNECTED, "True", NODE_READY, "The kubelet answers and reports itself ready")


def _silence(since: datetime | None) -> str:
    return f"Not heard from since {_text(since)}" if since else "Not heard from yet"


def _since(node: NodeFacts) -> str:
    return f" since {_text(node.ready_since)}" if node.ready_since else ""


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
