"""What a plan is: a value that others apply. Nothing in it has happened yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from littoral.accelerators.device import Device, Discovery
from littoral.api.gpuslice import Allocation, GPUSliceSpec
from littoral.placement.snapshot import Key


@dataclass(frozen=True, slots=True)
class Served:
    """One model of a shared server, and its variant there."""

    model: str
    variant: str
    why: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model of a group that the group's server on this device does not serve."""

    model: str
    reason: str
    message: str
    """Completes "a node …": "without a variant for t4"."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One replica of a model and its place."""

    slice: str
    """The GPUSlice's name: node and ordinal are part of it, so a slice is never bound to another node."""
    node: str
    device: str
    profile: str
    """The device's profile."""
    variant: str
    why: str
    """Why this variant: "first variant for t4 (family t4)"."""
    asked: str
    """Which figures of the model `request` was drawn from; written on the slice (ANNOTATION_ASKED), so that another
    catalogue alone, with another overhead, changes no slice."""
    request: GPUSliceSpec
    """What the slice's spec shall be: the variant's memory plus the profile's server overhead."""
    current: Allocation | None
    """What the slice's status says now; None before it is bound, and where the status was lost."""
    target: Allocation | None
    """What it shall say: `current` itself where nothing changes; None with `blocked` where the new figures wait."""
    blocked: str = ""
    """Why the new figures cannot be had now; until then the replica stays as it is."""
    lost: str = ""
    """Its device has disappeared from a node that is connected: what is to be done; the slice is kept."""
    stack: str = ""
    """Name of the profile's stack that serves it; empty where it has but one."""
    members: tuple[Served, ...] = ()
    """Of a shared server: its models, by name. `variant` and `why` are then empty."""
    left_out: tuple[LeftOut, ...] = ()
    """Models of the group that it does not serve."""


@dataclass(frozen=True, slots=True)
class Move:
    """Why a replica does not stay where it is."""

    slice: str
    node: str
    cause: str
    """Completes "leaves node n2: …"."""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model's replicas."""

    wanted: int
    """spec.replicas, or under PerNode the nodes that fit."""
    assignments: tuple[Assignment, ...]
    """In the order of their nodes' and slices' names."""
    releases: tuple[str, ...]
    """Slices to delete: on connected nodes, on retired ones, or where nothing ever ran."""
    held: tuple[str, ...]
    """Slices on offline nodes that go as soon as the node is back. They count as placed until then."""
    waiting: int
    """Replicas without a place."""
    reason: str
    message: str
    """For the condition Placed."""
    leaving: tuple[str, ...] = ()
    """Slices that serve on, though no longer wanted where they are, until their replacements answer."""
    vacated: tuple[str, ...] = ()
    """Slices of users that the model is to leave: its Deployment there goes, the slice stays."""
    moves: tuple[Move, ...] = ()
    """Why each slice goes that is released, held, leaving or vacated; by name."""


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """A slice that a user wrote to reserve capacity."""

    key: Key
    node: str
    device: str
    allocation: Allocation | None
    """What its status shall say; None while it waits."""
    reason: str
    message: str
    """For the condition Bound."""
    lost: bool = False
    """Its device has disappeared from a node that is connected."""
    judged: bool = True
    """False while what its user asks of it now cannot be decided: its node is offline, its devices are not known."""


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """A device and what is charged to it."""

    device: Device
    memory: int
    """MiB charged; on a unified device and on cpu, of the node's memory, whichever of the two holds it."""
    compute: int
    """Percent charged, of one device."""
    units: int
    slices: int

    @property
    def free(self) -> int:
        """MiB left; never negative."""
        return max(0, self.device.total_memory - self.memory)

    @property
    def overcommitted(self) -> bool:
        """Whether more is charged than there is, as after capacity shrank."""
        device = self.device
        return self.memory > device.total_memory or self.compute > 100 * device.count or self.units > device.units


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node as placement sees it, for the EdgeNode's status."""

    connected: bool
    discovery: Discovery
    devices: tuple[DeviceLoad, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be, for every model, every slice that a user wrote, and every EdgeNode."""

    models: Mapping[Key, ModelPlan]
    slices: Mapping[Key, SlicePlan]
    nodes: Mapping[str, NodePlan]
    groups: Mapping[Key, ModelPlan] = field(default_factory=dict)
    """By (namespace, group): the shared servers. What each of their models has of them stands in `models`."""
