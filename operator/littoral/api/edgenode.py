"""EdgeNode: one machine with, or without, accelerators. Its name is the Node's name.

The spec declares and limits; it configures nothing on the machine. What was found, and from which fact, is in status.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from littoral.api.base import (
    ApiModel,
    Condition,
    LabelKey,
    LabelValue,
    Metadata,
    Name,
    Quantity,
    Vocabulary,
    pending_conditions,
    rules,
)

SharingMode = Literal["whole", "runtime", "counted", "time-slicing", "mps", "hami", "vnpu", "share-dev-count"]
MAX_CACHES: Final = 512
"""Namespaces with a model cache on one machine: several times the pods that a kubelet takes."""
UID_PATTERN: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
Version = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9][0-9A-Za-z.+-]*$")]


class Sharing(ApiModel):
    """How the node's device plugin cuts each device."""

    mode: Annotated[
        SharingMode | None,
        Field(
            description="The mechanism: whole, runtime, time-slicing, mps, hami, vnpu, share-dev-count, counted. "
            "Default: what the Node shows, else the profile's first."
        ),
    ] = None
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
    power_mode: Annotated[
        str,
        Field(
            max_length=32,
            description="The power mode it is set to, as nvpmodel or npu-smi calls it; decides its TOPS and the CPUs.",
        ),
    ] = ""
    sharing: Annotated[Sharing, Field(description="How each device is cut.")] = Sharing()


class SystemSoftware(ApiModel):
    """Versions of what is installed on the machine; they decide the Triton image."""

    jetpack: Annotated[Version | None, Field(description='JetPack, for example "6.2".')] = None
    driver: Annotated[Version | None, Field(description="The accelerator's driver.")] = None
    cann: Annotated[Version | None, Field(description="Huawei's CANN.")] = None


class LabelRequirement(ApiModel):
    """A metav1.LabelSelectorRequirement."""

    key: Annotated[LabelKey, Field(description="The label's key.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Field(description="How values relate to the label.")
    ]
    values: Annotated[tuple[LabelValue, ...], Field(max_length=32, description="For In and NotIn.")] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it, as Kubernetes has it: NotIn is also met by what lacks the label."""
        present = self.key in labels
        if self.operator in {"Exists", "DoesNotExist"}:
            return present == (self.operator == "Exists")
        listed = present and labels[self.key] in self.values
        return listed == (self.operator == "In")


class LabelSelector(ApiModel):
    """A metav1.LabelSelector: all of it must match; an empty one matches everything."""

    match_labels: Annotated[
        Mapping[LabelKey, LabelValue], Field(max_length=16, description="Labels with these values.")
    ] = {}
    match_expressions: Annotated[
        tuple[LabelRequirement, ...], Field(max_length=16, description="Requirements on labels.")
    ] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet all of it."""
        alike = all(labels.get(key) == value for key, value in self.match_labels.items())
        return alike and all(requirement.matches(labels) for requirement in self.match_expressions)

    @property
    def empty(self) -> bool:
        """Whether it matches everything."""
        return not self.match_labels and not self.match_expressions


class AllowedNamespaces(ApiModel):
    """Whose models may use the machine."""

    selector: Annotated[
        LabelSelector,
        Field(description="Labels of the Namespace (kubernetes.io/metadata.name is its name); empty: all namespaces."),
    ] = LabelSelector()


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
    stack: Annotated[
        SystemSoftware, Field(description="What is installed on the machine. Default: what the Node's labels say.")
    ] = SystemSoftware()
    allowed_namespaces: Annotated[
        AllowedNamespaces, Field(description="Whose models may use the machine. Default: everybody's.")
    ] = AllowedNamespaces()
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
    units: Annotated[
        str, Field(max_length=32, description="Units of its resource in use, of those there are: 3/4.")
    ] = ""
    tops: Annotated[
        str, Field(max_length=64, description="Its compute in its power mode, for example 100 INT8 TOPS sparse.")
    ] = ""
    stack: Annotated[str, Field(max_length=63, description="The catalogue's stack that its software matches.")] = ""
    runtime_class_name: Annotated[str, Field(max_length=253, description="The RuntimeClass that its pods get.")] = ""


class Exclusion(ApiModel):
    """A device that gets nothing for a while, because the scheduler or the kubelet refused a pod of ours for it."""

    device: Annotated[str, Field(max_length=128, description="The device's id on this node.")]
    reason: Annotated[str, Field(min_length=1, max_length=128, description="The refusal in one word.")]
    message: Annotated[str, Field(max_length=1024, description="The refusal in their words.")] = ""
    since: Annotated[datetime, Field(description="When it was last refused.")]
    until: Annotated[datetime, Field(description="When it is tried again.")]
    failures: Annotated[int, Field(ge=1, description="Refusals in a row; each doubles the wait.")] = 1


class NamespaceCache(ApiModel):
    """A namespace that may have a model cache on the machine: noted before its first pod there."""

    uid: Annotated[
        str,
        Field(max_length=36, pattern=UID_PATTERN, description="The namespace's UID, which names the cache's folder."),
    ]
    namespace: Annotated[str, Field(min_length=1, max_length=63, description="The namespace's name.")]


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
    exclusions: Annotated[
        tuple[Exclusion, ...], Field(max_length=64, description="Devices that get nothing for a while, and why.")
    ] = ()
    caches: Annotated[
        tuple[NamespaceCache, ...],
        Field(
            max_length=MAX_CACHES,
            description="Namespaces with a model cache on the machine; that of one that is gone is removed.",
        ),
    ] = ()


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
