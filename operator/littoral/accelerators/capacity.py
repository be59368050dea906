"""What a Node says it can hand out, steadied: a device plugin that restarts is no machine that has lost its devices.

While a plugin is away the kubelet advertises 0 of its resources, and right after its own start none at all; a minute
later they are back. Planned with as it comes, each such moment would turn away what waits for a device and shake what
is placed. So a resource that falls to 0, or vanishes, keeps its last figure for HOLD seconds. Everything else passes at
once: a rise, a fall to another figure than 0, a Node that was made again or rebooted, and a machine that is set up
anew, where another resource of the same plugin rises meanwhile (nvidia.com/gpu becomes nvidia.com/gpu.shared).

A node that is offline says nothing new; its last figures stand until it is heard again. Time is the caller's, in
seconds of a monotonic clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from littoral.api.workload import NodeFacts

HOLD: Final = 90.0
"""Seconds: the first two back-offs of a container that crashed (10 s, 20 s), the plugin's start, the kubelet's
next report (10 s), with room; and no more, because nothing new starts on what is held in vain."""


@dataclass(frozen=True, slots=True)
class Steady:
    """A Node as it is planned with."""

    seen: NodeFacts
    """As it came."""
    facts: NodeFacts
    """As it is planned with: `seen`, with the figures that are held."""
    held: Mapping[str, float] = field(default_factory=dict)
    """When each resource whose last figure is held fell to 0."""

    def due(self, now: float) -> float | None:
        """Seconds until it must be looked at again though nothing came; None where nothing is held."""
        return max(0.0, min(self.held.values()) + HOLD - now) if self.held else None


def steady(previous: Steady | None, seen: NodeFacts, now: float) -> Steady:
    """The Node as it is to be planned with from now on. Where nothing differs, `previous` itself."""
    if previous is None or _another(previous.seen, seen):
        return Steady(seen, seen)
    if seen is previous.seen and not previous.held:
        return previous
    before = previous.facts.resources
    renewed = {_domain(name) for name, units in seen.resources.items() if units > before.get(name, 0)}
    held = {
        name: previous.held.get(name, now)
        for name, units in before.items()
        if units and not seen.resources.get(name) and _domain(name) not in renewed
    }
    held = {name: since for name, since in held.items() if now - since < HOLD or not seen.connected}
    if seen is previous.seen and held == previous.held:
        return previous
    if not held:
        return Steady(seen, seen)
    resources = {**seen.resources, **{name: before[name] for name in held}}
    return Steady(seen, replace(seen, resources=resources), held)


def settle(previous: Mapping[str, Steady], nodes: Mapping[str, NodeFacts], now: float) -> dict[str, Steady]:
    """`steady` for all Nodes by name; those that are gone are forgotten."""
    return {name: steady(previous.get(name), facts, now) for name, facts in nodes.items()}


def next_due(states: Iterable[Steady], now: float) -> float | None:
    """Seconds until the first of them must be looked at again."""
    return min((due for state in states if (due := state.due(now)) is not None), default=None)


def _another(before: NodeFacts, after: NodeFacts) -> bool:
    """Whether it is a Node made again, or a machine that has booted since: then its devices may be others."""
    return before.uid != after.uid or before.boot_id != after.boot_id


def _domain(resource: str) -> str:
    """Who advertises it: nvidia.com of nvidia.com/gpu."""
    return resource.partition("/")[0]
