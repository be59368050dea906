"""Exclusions: devices that get nothing for a while, because the cluster refused a pod of ours that was placed there.

The ledger knows what Littoral gave away, not what others took. So a refusal is believed: when the scheduler or the
kubelet has refused a pod for the grace time, its device is excluded, for twice as long at each refusal in a row. A
slice that never ran is then placed elsewhere; one that ran stays and says why. What is known of it stands in the
EdgeNode's status, so that it outlives the operator; a device that serves a new pod again starts from nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from littoral.api.edgenode import Exclusion
from littoral.api.gpuslice import Allocation
from littoral.api.workload import PodFacts

FIRST: Final = timedelta(minutes=1)
"""How long the first exclusion holds."""
LONGEST: Final = timedelta(minutes=30)
_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Tenant:
    """A slice on the node, and the pods that run, or should run, for it."""

    allocation: Allocation
    pods: Sequence[PodFacts]

    @property
    def refused(self) -> PodFacts | None:
        """The pod that has been refused for longest; None while one of them is not refused.

        The kubelet's refusal ends a pod and the next is made at once. What failed longer before its successor was made
        is not of this row: something ran in between, and pods that failed stay for long.
        """
        alive = [pod for pod in self.pods if not pod.deleting]
        if not alive or any(pod.refused_at is None and pod.phase != "Failed" for pod in alive):
            return None
        known = [(pod.refused_at, pod.name, pod) for pod in alive if pod.refused_at is not None]
        first: PodFacts | None = None
        for since, _, pod in sorted(known, key=lambda each: each[:2], reverse=True):
            if first is not None and first.created is not None and first.created - since > FIRST:
                break
            first = pod
        return first


def active(exclusions: Iterable[Exclusion], now: datetime) -> tuple[Exclusion, ...]:
    """Those that hold now."""
    return tuple(each for each in exclusions if each.until > now)


def next_change(
    exclusions: Iterable[Exclusion], tenants: Iterable[Tenant], grace: float, now: datetime
) -> float | None:
    """Seconds until one ends or is forgotten, or until a refusal has lasted for the grace time."""
    moments = [moment for each in exclusions for moment in (each.until, _forgotten(each))]
    for tenant in tenants:
        pod = tenant.refused
        if pod is not None and pod.refused_at is not None:
            moments.append(pod.refused_at + timedelta(seconds=grace))
    ahead = [(moment - now).total_seconds() for moment in moments if moment > now]
    return min(ahead, default=None)


def revise(
    before: Iterable[Exclusion], tenants: Iterable[Tenant], *, grace: float, now: datetime
) -> tuple[Exclusion, ...]:
    """The node's exclusions as they shall be now, by device; `grace` in seconds.

    While an exclusion holds nothing is added to it; what is refused still, or again, when it has ended doubles it.
    """
    known = {each.device: each for each in before}
    by_device: dict[str, list[Tenant]] = {}
    for tenant in tenants:
        by_device.setdefault(tenant.allocation.device, []).append(tenant)
    revised = []
    for device in sorted(known.keys() | by_device.keys()):
        new = _device(known.get(device), by_device.get(device, ()), timedelta(seconds=grace), now)
        if new is not None:
            revised.append(new)
    return tuple(revised)


def _device(before: Exclusion | None, tenants: Sequence[Tenant], grace: timedelta, now: datetime) -> Exclusion | None:
    refusal = _refusal(tenants, grace, now)
    holds = before is not None and before.until > now
    if refusal is None or holds:
        return None if before is None or _over(before, tenants, now) else before
    failures = 1 if before is None else before.failures + 1
    wait = min(FIRST * 2 ** min(failures - 1, 10), LONGEST)
    return Exclusion(
        device=tenants[0].allocation.device,
        reason="Unschedulable" if refusal.phase == "Pending" else "RefusedByKubelet",
        message=refusal.scheduling_message[:_MESSAGE],
        since=now,
        until=now + wait,
        failures=failures,
    )


def _refusal(tenants: Iterable[Tenant], grace: timedelta, now: datetime) -> PodFacts | None:
    for tenant in tenants:
        pod = tenant.refused
        if pod is not None and pod.refused_at is not None and now - pod.refused_at >= grace:
            return pod
    return None


def _over(exclusion: Exclusion, tenants: Sequence[Tenant], now: datetime) -> bool:
    """Whether its count is forgotten: it serves again what is newer than the refusal, or nobody tried for long."""
    if exclusion.until > now:
        return False
    fresh = any(
        pod.phase == "Running" and pod.created is not None and pod.created > exclusion.since
        for tenant in tenants
        for pod in tenant.pods
    )
    return fresh or now >= _forgotten(exclusion)


def _forgotten(exclusion: Exclusion) -> datetime:
    """When its count is, where nobody tries the device."""
    return exclusion.until + max(exclusion.until - exclusion.since, FIRST * 10)


def first_end(excluded: Mapping[str, Iterable[Exclusion]], now: datetime) -> float | None:
    """Seconds until the first exclusion ends; None where there is none."""
    ends = [(each.until - now).total_seconds() for found in excluded.values() for each in found]
    return min(ends, default=None)


def by_node(statuses: Mapping[str, Iterable[Exclusion]], now: datetime) -> dict[str, tuple[Exclusion, ...]]:
    """The exclusions that hold now, of the nodes that have any."""
    found = {}
    for node, exclusions in statuses.items():
        holding = active(exclusions, now)
        if holding:
            found[node] = holding
    return found
