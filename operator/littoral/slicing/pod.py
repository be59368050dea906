"""What a slice is to its pod: the container resources that make the kubelet keep what the ledger granted."""

from collections.abc import Mapping

from littoral.api.gpuslice import Allocation
from littoral.api.quantity import from_mib, from_thousandths, to_mib, to_thousandths


def requirements(
    allocation: Allocation, *, node_memory: bool, beside: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """The server container's `resources`: what is granted, and `beside` it what the server asks of the machine.

    Extended resources are limits (Kubernetes takes the request from them). Where device memory is node memory, on
    unified devices and on cpu, the grant is also the pod's memory request, or the scheduler would give the same memory
    twice; it is no limit, because a server killed at its budget serves nobody.
    """
    limits = {name: value for name, value in sorted(allocation.resources.items()) if "/" in name}
    requests = {name: value for name, value in sorted(allocation.resources.items()) if "/" not in name}
    if node_memory:
        requests["memory"] = allocation.memory
    for name, more in (beside or {}).items():
        requests[name] = _sum(name, requests[name], more) if name in requests else more
    return {kind: values for kind, values in (("limits", limits), ("requests", requests)) if values}


def _sum(name: str, one: str, other: str) -> str:
    if name == "memory":
        return from_mib(to_mib(one) + to_mib(other))
    return from_thousandths(to_thousandths(one) + to_thousandths(other))
