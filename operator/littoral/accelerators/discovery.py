"""Which devices a node has, concluded from what its EdgeNode declares and from what its Node shows."""

from dataclasses import dataclass

from littoral.accelerators.catalogue import Catalogue, Mechanism, Profile
from littoral.api.conditions import Finding
from littoral.api.edgenode import EdgeNodeSpec
from littoral.api.workload import NodeFacts


@dataclass(frozen=True, slots=True)
class Device:
    """One device, or several alike on one node among which the kubelet chooses and nobody says which."""

    id: str
    profile: Profile
    memory: int
    """Of each one, what can be granted: MiB, after what is reserved."""
    provider: Mechanism
    shares: int = 1
    """Units of the counted resource for each one."""
    count: int = 1
    """How many alike share the resource."""
    resource: str | None = None
    units: int = 0
    """Units of the resource that can be handed out in all."""
    cpu: int = 0
    """Thousandths of a core that 100 percent stand for; 0 on an accelerator."""
    source: str = ""
    """The fact from which this was concluded."""

    @property
    def total_memory(self) -> int:
        """MiB that can be granted of all of them."""
        return self.memory * self.count

    @property
    def shares_node_memory(self) -> bool:
        """Whether its memory is the node's, so that all such devices of a node draw on one account."""
        return self.profile.unified or self.profile.is_cpu


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was concluded about a node."""

    devices: tuple[Device, ...]
    """Accelerators first, cpu last."""
    findings: tuple[Finding, ...]
    """CapacityKnown."""
    pool: str
    site: str


def discover(node: NodeFacts, edge: EdgeNodeSpec, catalogue: Catalogue) -> Discovery:
    """The node's devices."""
    raise NotImplementedError


def selected(node: NodeFacts, catalogue: Catalogue) -> bool:
    """Whether the operator makes an EdgeNode for this Node."""
    raise NotImplementedError
