"""What a sharing mechanism is to the rest of the program: a pure function, (device state, request) -> grant or reason.

Each provider is one file. It says honestly how strong its isolation is, who picks the device, and what it really gives:
`granted` is rounded up to what the mechanism can cut, and that is what the ledger charges.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Isolation, PodPatch

DevicePicker = Literal["Directed", "Blind"]
"""Directed: one device on the node, or the mechanism takes an id. Blind: the kubelet chooses among several and
nobody says which, so a grant must fit any of them. What a mechanism reports to have given instead is charged."""

NOTHING_MORE: Final = PodPatch()
"""Asks nothing of the pod beside resources."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a replica asks of one device: MiB, percent, and the least isolation."""

    memory: int
    compute: int = 0
    isolation: Isolation = "None"


@dataclass(frozen=True, slots=True)
class Charge:
    """What one slice, or several, hold of a device: MiB, percent, units of its counted resource, partitions."""

    memory: int = 0
    compute: int = 0
    units: int = 0
    templates: tuple[str, ...] = ()
    """Names of the partition templates held, sorted; empty on a device that is not partitioned."""
    uncounted: bool = False
    """Whether the kubelet knows nothing of it among the resource's units: it was granted before by another mechanism,
    or under the resource's former name."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device and what is charged to it, summed over the slices on it.

    Where device memory is node memory, `charged.memory` is what all slices on the node hold of it.
    """

    device: Device
    charged: Charge = Charge()
    slices: int = 0
    largest: int = 0
    """Memory of the largest single charge, MiB: an old grant may exceed what the device is cut into now."""
    largest_compute: int = 0
    """Compute of the largest single charge, percent."""
    uncounted: bool = False
    """Whether any of the charges is: where the kubelet chooses, it may choose the device on which that slice lies."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the mechanism gives: at least what was asked."""

    memory: int
    compute: int
    isolation: Isolation
    resources: Mapping[str, str] = field(default_factory=dict)
    """Resources, as quantities, that the pod must ask the kubelet for to get it."""
    pod: PodPatch = NOTHING_MORE
    """What else the mechanism needs of the pod."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, for counting (`reason`, the same word for the same cause) and for reading.

    `message` completes "a node …" and "3 nodes …": "with 1Gi free of 3Gi", "offline", "without a variant for t4".
    """

    reason: str
    message: str
    near: float = 0.0
    """How near it came, 0 to 1: the nearest miss is the one worth telling."""


class Provider(Protocol):
    """A sharing mechanism."""

    @property
    def name(self) -> str:
        """The mechanism's name, as the catalogue's `sharing` lists it."""
        ...

    def isolation(self, device: Device) -> Isolation:
        """How strongly a slice of this device is kept apart from its neighbours."""
        ...

    def picker(self, device: Device) -> DevicePicker:
        """Who chooses the device where the node has several alike."""
        ...

    def grant(self, state: DeviceState, request: Request) -> Grant | Refusal:
        """Decide whether the device can give what is asked, and what it would really give."""
        ...
