"""The tolerations that keep a serving pod where it is while its node is out of reach.

A pod pinned to its node gains nothing from eviction: no other node may take it, so eviction would only leave a chain of
Terminating pods and, on reconnection, kill a server that had served all along. Hence no seconds: it stays for ever, and
how long a model may be away from its clients is decided by placement, never in the pod.

Only NoExecute is tolerated. A pod that tolerated `unschedulable` would come back on a node as it is being drained.
"""

from typing import Any, Final

UNREACHABLE: Final = "node.kubernetes.io/unreachable"
NOT_READY: Final = "node.kubernetes.io/not-ready"


def never_evicted() -> list[dict[str, Any]]:
    """Tolerations for both taints of a node that is silent or not ready.

    The effect is written out: without one NoSchedule would be tolerated as well, and a new pod bound to a silent node.
    """
    return [{"key": key, "operator": "Exists", "effect": "NoExecute"} for key in (NOT_READY, UNREACHABLE)]
