"""GPUSlice: a fraction of one accelerator, reserved for one Triton server.

To its accelerator what a PersistentVolumeClaim is to a disk. status.allocation is the ledger: it is written before
anything that follows from it, and is the one part of a status on which decisions rest.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from littoral.api.base import ApiModel, Condition, LabelKey, Metadata, Quantity, Vocabulary, pending_conditions

Isolation = Literal["None", "Soft", "Hard"]
EnvName = Annotated[str, Field(max_length=128, pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
EnvValue = Annotated[str, Field(max_length=1024)]
MountPath = Annotated[str, Field(max_length=256, pattern="^/")]
ISOLATION_ORDER: Final[tuple[Isolation, ...]] = ("None", "Soft", "Hard")


class GPUSliceSpec(ApiModel):
    """What is asked for."""

    memory: Annotated[Quantity, Field(description="Device memory that the server may hold, its own overhead included.")]
    compute: Annotated[int, Field(ge=0, le=100, description="Percent of one device's compute.")] = 0
    isolation: Annotated[
        Isolation,
        Field(
            description="The least isolation accepted. None: budgeted, not enforced. Soft: a software limit. "
            "Hard: a partition or the whole device."
        ),
    ] = "None"
    accelerators: Annotated[
        tuple[Vocabulary, ...],
        Field(max_length=32, description="Families or profiles that will do, or cpu; empty means any accelerator."),
    ] = ()


class PodPatch(ApiModel):
    """What a sharing mechanism asks of the pod beside resources; kept with the grant, so that no upgrade changes it."""

    env: Annotated[
        Mapping[EnvName, EnvValue], Field(max_length=16, description="Environment of the server container.")
    ] = {}
    annotations: Annotated[
        Mapping[LabelKey, EnvValue], Field(max_length=16, description="Annotations of the pod.")
    ] = {}
    runtime_class_name: Annotated[
        str, Field(max_length=253, description="The pod's RuntimeClass; empty: the node's default runtime.")
    ] = ""
    scheduler_name: Annotated[
        str, Field(max_length=253, description="Who schedules the pod; empty: the default scheduler.")
    ] = ""
    mounted: Annotated[
        tuple[MountPath, ...],
        Field(
            max_length=4, description="Paths that the device plugin mounts in the server; the pod's own are left out."
        ),
    ] = ()


class Allocation(ApiModel):
    """Where the slice lies and what it is charged: what the provider really gives, rounded up to what it can cut."""

    node: Annotated[str, Field(max_length=253, description="The node.")]
    device: Annotated[str, Field(max_length=128, description="The device on it.")]
    profile: Annotated[str, Field(max_length=63, description="The device's profile.")]
    provider: Annotated[str, Field(max_length=63, description="The sharing mechanism that gave it.")]
    isolation: Annotated[Isolation, Field(description="The isolation it really has.")] = "None"
    memory: Annotated[Quantity, Field(description="Memory granted and charged.")]
    compute: Annotated[int, Field(ge=0, le=100, description="Percent of the device granted and charged.")] = 0
    resources: Annotated[
        Mapping[LabelKey, Quantity], Field(max_length=8, description="Extended resources the pod asks the kubelet for.")
    ] = {}
    pod: Annotated[PodPatch, Field(description="What else the mechanism asks of the pod.")] = PodPatch()
    bound_at: Annotated[datetime | None, Field(description="When it was bound.")] = None
    started_at: Annotated[datetime | None, Field(description="When its server was first ready.")] = None
    updated_at: Annotated[
        datetime | None, Field(description="When its server was last cut over to another revision.")
    ] = None


class GPUSliceStatus(ApiModel):
    """What the operator decided and saw."""

    observed_generation: Annotated[int | None, Field(ge=0, description="The spec generation this status is about.")] = (
        None
    )
    phase: Annotated[
        str,
        Field(
            max_length=32,
            description="Pending, Bound, or Lost when the device has disappeared; the conditions say why.",
        ),
    ] = ""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16, description="Bound.")] = ()
    allocation: Annotated[Allocation | None, Field(description="Where it lies; absent while it waits.")] = None


class GPUSlice(ApiModel):
    """A fraction of one accelerator for one server: made by the operator for each replica, or written to reserve."""

    metadata: Metadata
    spec: Annotated[GPUSliceSpec, Field(description="What is asked for.")]
    status: Annotated[GPUSliceStatus, Field(description="What was decided.")] = GPUSliceStatus()


DEFAULT_STATUS: Final = {"phase": "Pending", **pending_conditions("Bound")}
COLUMNS: Final = (
    ("Phase", "string", ".status.phase", 0),
    ("Node", "string", ".status.allocation.node", 0),
    ("Device", "string", ".status.allocation.device", 0),
    ("Memory", "string", ".status.allocation.memory", 0),
    ("Compute", "integer", ".status.allocation.compute", 0),
    ("Provider", "string", ".status.allocation.provider", 1),
    ("Asked", "string", ".spec.memory", 1),
    ("Message", "string", ".status.conditions[?(@.type=='Bound')].message", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
