"""EdgeNode: one machine with, or without, accelerators. Its name is the Node's name.

The spec declares and limits; it configures nothing on the machine. What was found, and from which fact, is in status.
"""

from typing import Annotated, Final

from pydantic import Field

from littoral.api.base import ApiModel, Condition, Metadata, Name, Quantity, Vocabulary, pending_conditions, rules


class Sharing(ApiModel):
    """How the node's device plugin cuts each device."""

    replicas: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="Units of the counted resource that the device plugin advertises for each device.",
        ),
    ] = 1


class Accelerator(ApiModel):
    """Devices of one profile that the machine has."""

    profile: Annotated[Vocabulary, Field(description="The catalogue's name of the device.")]
    count: Annotated[int, Field(ge=1, le=64, description="How many such devices the machine has.")] = 1
    sharing: Annotated[Sharing, Field(description="How each device is cut.")] = Sharing()


class Reserved(ApiModel):
    """What is never sliced."""

    memory: Annotated[
        Quantity,
        Field(
            description="Memory of each device kept for the host and for others' pods; node memory on a unified device."
        ),
    ] = "0"


class EdgeNodeSpec(ApiModel):
    """What the user declares about the machine and how it is limited; all of it may be left out."""

    pool: Annotated[
        Name | None,
        Field(description="The pool that models name. Default: the Node's label littoral.dev/pool, else the family."),
    ] = None
    accelerators: Annotated[
        tuple[Accelerator, ...],
        Field(
            max_length=16,
            description="The machine's devices. Default: discovered from the Node's labels and resources.",
        ),
    ] = ()
    reserved: Annotated[Reserved, Field(description="What is never sliced.")] = Reserved()
    cordoned: Annotated[
        bool, Field(description="Nothing new is placed here; what serves goes on. `kubectl cordon` counts as well.")
    ] = False


class DeviceStatus(ApiModel):
    """One device, what is granted of it and what is free."""

    id: Annotated[str, Field(max_length=128, description="The device's name on this node, for example t4-0.")]
    profile: Annotated[str, Field(max_length=63, description="Its profile in the catalogue.")]
    family: Annotated[str, Field(max_length=63, description="The profile's family.")] = ""
    provider: Annotated[str, Field(max_length=63, description="The sharing mechanism in use.")] = ""
    source: Annotated[str, Field(max_length=512, description="The fact from which this was concluded.")] = ""
    memory: Annotated[Quantity, Field(description="Memory that can be granted.")] = "0"
    granted: Annotated[
        Quantity, Field(description="Memory granted to slices, and to pods that still run for none.")
    ] = "0"
    free: Annotated[Quantity, Field(description="Memory left.")] = "0"
    compute_granted: Annotated[int, Field(ge=0, description="Percent of the device granted.")] = 0


class EdgeNodeStatus(ApiModel):
    """What the operator found."""

    observed_generation: Annotated[int | None, Field(ge=0, description="The spec generation this status is about.")] = (
        None
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16, description="Connected, CapacityKnown.")] = ()
    pool: Annotated[str, Field(max_length=63, description="The pool in effect.")] = ""
    site: Annotated[str, Field(max_length=63, description="The Node's topology.kubernetes.io/zone.")] = ""
    accelerators: Annotated[
        str, Field(max_length=512, description="The devices in a few words, for example 1 x t4.")
    ] = ""
    free: Annotated[str, Field(max_length=64, description="Memory left of all that can be granted.")] = ""
    devices: Annotated[tuple[DeviceStatus, ...], Field(max_length=64, description="Each device.")] = ()


class EdgeNode(ApiModel):
    """A machine at the edge: what accelerators it has, how much of them is granted, and whether it is connected."""

    metadata: Metadata
    spec: Annotated[EdgeNodeSpec, Field(description="What the user declares and limits.")] = EdgeNodeSpec()
    status: Annotated[EdgeNodeStatus, Field(description="What the operator found.")] = EdgeNodeStatus()


DEFAULT_STATUS: Final = pending_conditions("Connected", "CapacityKnown")
COLUMNS: Final = (
    ("Pool", "string", ".status.pool", 0),
    ("Accelerators", "string", ".status.accelerators", 0),
    ("Connected", "string", ".status.conditions[?(@.type=='Connected')].status", 0),
    ("Free", "string", ".status.free", 0),
    ("Reason", "string", ".status.conditions[?(@.type=='CapacityKnown')].reason", 0),
    ("Site", "string", ".status.site", 1),
    ("Message", "string", ".status.conditions[?(@.type=='CapacityKnown')].message", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
RULES: Final = rules(
    (
        "self.metadata.name.size() <= 63",
        "an EdgeNode is named as its Node, and names of at most 63 characters are supported",
    )
)
