"""A node's device as the rest of the program sees it, and what was concluded about a node: plain values.

How they are concluded is discovery.py's business; what can be granted of them is the sharing providers'.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from littoral.accelerators.profile import Mechanism, Platform, Profile, Stack, Tops
from littoral.api.conditions import Finding


@dataclass(frozen=True, slots=True)
class Device:
    """One device, or several alike on one node among which the kubelet chooses and nobody says which."""

    id: str
    platform: Platform
    memory: int
    """Of each one, what can be granted: MiB, after what is reserved."""
    provider: Mechanism
    shares: int = 1
    """Units of the counted resource for each one."""
    count: int = 1
    """How many alike share the resource."""
    resource: str | None = None
    """The extended resource by which the kubelet hands it out; None where there is none (cpu, runtime) or where there
    are several, one for each template (vnpu)."""
    units: int = 0
    """Units of the resource that can be handed out in all; nothing where it is `runtime`, which counts none."""
    cpu: int = 0
    """Thousandths of a core that 100 percent stand for; 0 on an accelerator."""
    source: str = ""
    """The facts from which this was concluded."""
    uuid: str = ""
    """By which its mechanism tells it from others, if it does (HAMi)."""
    templates: Mapping[str, int] = field(default_factory=dict)
    """Partitions that the node advertises, by the name of their template (vnpu)."""
    runtime_class: str = ""
    """The RuntimeClass for its pods; empty where none is needed, exists, or can be read there."""
    tops: tuple[Tops, ...] = ()
    """Its compute in the power mode it is in."""

    @property
    def profile(self) -> Profile:
        """What kind of device it is."""
        return self.platform.profile

    @property
    def stack(self) -> Stack:
        """How Triton runs on it, with the software of this machine."""
        return self.platform.stack

    @property
    def total_memory(self) -> int:
        """MiB that can be granted of all of them; node memory is there once, however many devices draw on it."""
        return self.memory if self.shares_node_memory else self.memory * self.count

    @property
    def shares_node_memory(self) -> bool:
        """Whether its memory is the node's, so that all such devices of a node draw on one account."""
        return self.profile.node_memory


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was concluded about a node."""

    devices: tuple[Device, ...]
    """Accelerators first, cpu last."""
    findings: tuple[Finding, ...]
    """CapacityKnown."""
    pool: str
    site: str
