"""What a slice is to its pod: the container resources that make the kubelet keep what the ledger granted, and the rest
that a sharing mechanism asks of a pod.
"""

from collections.abc import Mapping
from functools import lru_cache

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Allocation, PodPatch
from littoral.api.quantity import from_mib, from_thousandths, to_mib, to_thousandths

Pairs = tuple[tuple[str, str], ...]


def patch(
    device: Device,
    *,
    env: Pairs = (),
    annotations: Pairs = (),
    scheduler_name: str = "",
    mounted: tuple[str, ...] = (),
) -> PodPatch:
    """What a pod on this accelerator gets: its RuntimeClass, where one is needed and can be had, and the rest."""
    return _patch(device.runtime_class, env, annotations, scheduler_name, mounted)


@lru_cache(maxsize=1024)  # a thousand devices ask for a handful; a plan makes many grants that it then drops
def _patch(
    runtime_class: str, env: Pairs, annotations: Pairs, scheduler_name: str, mounted: tuple[str, ...]
) -> PodPatch:
    return PodPatch(
        env=dict(env),
        annotations=dict(annotations),
        runtime_class_name=runtime_class,
        scheduler_name=scheduler_name,
        mounted=mounted,
    )


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
