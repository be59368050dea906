"""What a slice is to its pod: the container resources that make the kubelet keep what the ledger granted."""

from littoral.api.gpuslice import Allocation


def requirements(allocation: Allocation, *, node_memory: bool) -> dict[str, dict[str, str]]:
    """The server container's `resources`, as canonical quantities, so that what is written reads back the same.

    Extended resources are limits (Kubernetes takes the request from them). Where device memory is node memory, on
    unified devices and on cpu, the grant is also the pod's memory request, or the scheduler would give the same memory
    twice; it is no limit, because a server killed at its budget serves nobody.
    """
    limits = {name: value for name, value in sorted(allocation.resources.items()) if "/" in name}
    requests = {name: value for name, value in sorted(allocation.resources.items()) if "/" not in name}
    if node_memory:
        requests["memory"] = allocation.memory
    return {kind: values for kind, values in (("limits", limits), ("requests", requests)) if values}
