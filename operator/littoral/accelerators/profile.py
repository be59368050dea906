"""What the catalogue says of one kind of device: the schema of an entry, and what it comes to on one machine.

A profile lists its software stacks; which one holds on a machine depends on the versions installed there (JetPack, the
driver, CANN). A profile with the stack that was chosen for a machine is a Platform: what a variant is matched against.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from littoral.accelerators import versions
from littoral.api.base import LabelKey, Quantity, Vocabulary
from littoral.api.inferencemodel import Toleration
from littoral.api.quantity import to_mib

CPU: Final = "cpu"
"""The profile that every Node has, and the word by which a variant or a slice asks for no accelerator."""
ANY: Final = "*"
"""The word for any accelerator."""

Mechanism = Literal["cpu", "whole", "runtime", "counted", "time-slicing", "mps", "hami", "vnpu", "share-dev-count"]
"""The sharing mechanisms that there is a provider for (littoral.slicing.registry). NVIDIA's are spelled as its Node
label nvidia.com/gpu.sharing-strategy spells them."""

Expected = Literal[Mechanism, "mig"]
"""The mechanisms that one may expect of a device; of those without a provider a profile can only say why not."""


class Entry(BaseModel):
    """Base of the catalogue's types: camelCase in YAML, immutable in memory, unknown words refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Tops(Entry):
    """Compute as its maker states it; figures of another precision or sparsity are not comparable."""

    value: Annotated[float, Field(gt=0)]
    precision: Annotated[str, Field(min_length=1)]
    sparsity: Literal["dense", "sparse"]
    source: Annotated[str, Field(min_length=1)]


class PowerMode(Entry):
    """A power mode of a module (nvpmodel, npu-smi's nve-level): what the device and the machine give in it.

    What is left out is not known in this mode: neither the profile's own figures nor another mode's stand in for it.
    """

    name: Annotated[str, Field(min_length=1, max_length=32)]
    tops: tuple[Tops, ...] = ()
    cpus: Annotated[int, Field(gt=0)] | None = None
    """CPU cores that are on in this mode."""


def _readable(value: str | None) -> str | None:
    """A quantity that can be read, or none. Raises ValueError for another."""
    if value is not None:
        to_mib(value)
    return value


class Template(Entry):
    """A size in which a device can be partitioned (a vNPU template)."""

    name: Annotated[str, Field(min_length=1)]
    resource: LabelKey
    """The extended resource by which one such partition is asked for."""
    memory: Quantity
    cores: Annotated[int, Field(gt=0)]
    """AI cores."""
    cpus: Annotated[int, Field(gt=0)]
    """AI CPUs."""

    _memory = field_validator("memory")(_readable)

    @property
    def memory_mib(self) -> int:
        """Its device memory, MiB."""
        return to_mib(self.memory)


class Partitions(Entry):
    """What of a device its partitions share out, and the sizes that there are."""

    cores: Annotated[int, Field(gt=0)]
    cpus: Annotated[int, Field(gt=0)]
    templates: Annotated[tuple[Template, ...], Field(min_length=1)]


class Backend(Entry):
    """By what Triton serves a format; written as its name alone where it needs nothing else."""

    name: Annotated[str, Field(min_length=1)]
    parameters: Mapping[str, str] = {}
    """`parameters` of the generated config.pbtxt."""
    image_reason: str = ""
    """Why the stack's image does not have it: such a format needs spec.serving.image."""


def _backend(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Argument(Entry):
    """An argument of tritonserver; written as its text alone where every version knows it."""

    text: Annotated[str, Field(pattern="^--")]
    since: Annotated[str, Field(pattern=r"^[0-9]{2}\.[0-9]{2}$")] | None = None
    """The first Triton release (YY.MM, as in NVIDIA's image tags) that knows it; older ones end on an unknown word."""


def _argument(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class Stack(Entry):
    """How Triton runs on a device under one set of system software: what the pod of a served model gets from it."""

    name: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=63)] = ""
    """Needed where a profile has several; part of the revision."""
    when: Mapping[versions.Component, str] = {}
    """Version ranges (">=6,<7") that the machine's software must be in; the first stack that matches is used."""
    provides: Mapping[Vocabulary, str] = {}
    """Versions of what the image brings (tensorrt: "10.3"), for a variant's `requires`."""
    triton: Annotated[str, Field(pattern=r"^([0-9]{2}\.[0-9]{2})?$")] = ""
    """The release (YY.MM) of the Triton in the image; empty: unknown, and no argument with `since` is given to it."""
    image: str | None = None
    """The Triton image; null where none is known to work, and then image_reason says why."""
    image_reason: str = ""
    arguments: tuple[Annotated[Argument, BeforeValidator(_argument, json_schema_input_type=str | Argument)], ...] = ()
    backends: Mapping[
        Vocabulary, Annotated[Backend, BeforeValidator(_backend, json_schema_input_type=str | Backend)]
    ] = {}
    """Triton's backend by the artifact's format."""
    instance_kind: Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"] = "KIND_AUTO"
    security_context: Mapping[str, Any] = {}
    """Of the pod: runAsUser, supplementalGroups, …"""
    env: Mapping[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    runtime_class_name: str | None = None
    """The RuntimeClass it needs; asked for only where it exists and the node's runtime can read it."""


class Profile(Entry):
    """One kind of device."""

    name: Vocabulary
    family: Vocabulary
    vendor: str = ""
    architecture: str = ""
    """kubernetes.io/arch of the machines it is in; empty: any."""
    compute_capability: Annotated[str, Field(pattern=r"^([0-9]{1,2}\.[0-9])?$")] = ""
    """CUDA's, of an NVIDIA device."""
    memory: Quantity | None = None
    """Of one device, as its driver reports it. Of a unified one, the module's: what can be granted is the node's."""
    unified: bool = False
    """Whether the device's memory is the node's."""
    labels: Mapping[LabelKey, str | tuple[str, ...]] = {}
    """Node labels that identify it: all must match; a list means any of its values."""
    resources: tuple[LabelKey, ...] = ()
    """Extended resources by which device plugins advertise it; none: it is reached through the runtime alone."""
    sharing: Annotated[tuple[Mechanism, ...], Field(min_length=1)]
    """Mechanisms that the hardware and its device plugin really support, the preferred first."""
    unsupported: Mapping[Expected, str] = {}
    """Mechanisms that one might expect and that it cannot do, with the reason in a sentence."""
    partitions: Partitions | None = None
    overhead: Quantity = "0"
    """Memory that Triton itself holds, charged once for each server."""
    tops: tuple[Tops, ...] = ()
    power_modes: tuple[PowerMode, ...] = ()
    stacks: Annotated[tuple[Stack, ...], Field(min_length=1)]
    """Tried in order against the machine's software."""

    _quantities = field_validator("memory", "overhead")(_readable)

    def answers_to(self, word: str) -> bool:
        """Whether a variant's or a slice's word means this profile: its name, its family, or "*", any accelerator."""
        return word in (self.name, self.family) or (word == ANY and not self.is_cpu)

    @property
    def is_cpu(self) -> bool:
        """Whether this is no accelerator but the node's own cores and memory."""
        return self.sharing == ("cpu",)

    @property
    def node_memory(self) -> bool:
        """Whether what is granted of it is the node's own memory."""
        return self.unified or self.is_cpu

    @property
    def memory_mib(self) -> int | None:
        """Memory of one device, MiB; None where nothing is said of it."""
        return None if self.memory is None else to_mib(self.memory)

    @property
    def overhead_mib(self) -> int:
        """Memory that Triton itself holds, MiB."""
        return to_mib(self.overhead)

    def power_mode(self, name: str) -> PowerMode | None:
        """The power mode of this name."""
        return next((mode for mode in self.power_modes if mode.name == name), None)

    def stack_named(self, name: str) -> Stack | None:
        """The stack of this name."""
        return next((stack for stack in self.stacks if stack.name == name), None)

    def platform(self, installed: Mapping[str, str] | None = None) -> "Platform":
        """The profile with the first stack that the installed versions match; a version that is not known matches no
        range. Where none matches, a stack without an image that says so.
        """
        known: dict[str, str] = dict(installed or {})
        for stack in self.stacks:
            if all(name in known and versions.within(known[name], asked) for name, asked in stack.when.items()):
                return Platform(self, stack, {**known, **stack.provides})
        ranges = "; ".join(f"{name} {asked}" for stack in self.stacks for name, asked in stack.when.items())
        has = ", ".join(f"{name} {version}" for name, version in sorted(known.items())) or "what is not known"
        reason = f"the catalogue has stacks for {ranges}, the node has {has}: declare spec.stack of the EdgeNode"
        return Platform(self, Stack(image_reason=reason), known)


@dataclass(frozen=True, slots=True, eq=False)
class Platform:
    """A profile as it is on one machine: with the stack that its software allows."""

    profile: Profile
    stack: Stack
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the machine's software and of what the stack's image brings, as far as known."""
