"""The catalogue of accelerators: data, not code. One entry, a profile, for each kind of device.

A profile says what the device is (family, memory), how a Node that has it is recognised, by which mechanisms it can be
shared, and with which Triton it is served (its stack). Adding a chip that shares in a known way is data alone; users
add theirs in the ConfigMap littoral-catalogue in the operator's namespace.

An entry with a word that is not understood is refused whole: a typing error in `overhead` must not become a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from littoral.api.base import LabelKey, Quantity, Vocabulary
from littoral.api.inferencemodel import Toleration
from littoral.api.quantity import to_mib

CPU: Final = "cpu"
"""The profile that every Node has, and the word by which a variant or a slice asks for no accelerator."""
ANY: Final = "*"
"""The word for any accelerator."""

Mechanism = Literal["whole", "counted", "cpu"]
"""The sharing mechanisms that there is a provider for (littoral.slicing.registry)."""


class Entry(BaseModel):
    """Base of the catalogue's types: camelCase in YAML, immutable in memory, unknown words refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Tops(Entry):
    """Compute as its maker states it; figures of another precision or sparsity are not comparable."""

    value: Annotated[float, Field(gt=0)]
    precision: Annotated[str, Field(min_length=1)]
    sparsity: Literal["dense", "sparse"]
    source: Annotated[str, Field(min_length=1)]


class Stack(Entry):
    """How Triton runs on a device: what the pod of a served model gets from the catalogue."""

    image: str | None = None
    """The Triton image; null where none is known to work, and then image_reason says why."""
    image_reason: str = ""
    arguments: tuple[str, ...] = ()
    backends: Mapping[Vocabulary, str] = {}
    """Triton's backend by the artifact's format."""
    instance_kind: Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"] = "KIND_AUTO"
    security_context: Mapping[str, Any] = {}
    """Of the pod: runAsUser, supplementalGroups, …"""
    env: Mapping[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    runtime_class_name: str | None = None


class Profile(Entry):
    """One kind of device."""

    name: Vocabulary
    family: Vocabulary
    vendor: str = ""
    architecture: str = ""
    """kubernetes.io/arch of the machines it is in; empty: any."""
    memory: Quantity | None = None
    """Of one device; absent where device memory is node memory."""
    unified: bool = False
    """Whether the device's memory is the node's."""
    labels: Mapping[LabelKey, str | tuple[str, ...]] = {}
    """Node labels that identify it: all must match; a list means any of its values."""
    resources: tuple[LabelKey, ...] = ()
    """Extended resources by which device plugins advertise it."""
    sharing: Annotated[tuple[Mechanism, ...], Field(min_length=1)]
    """Mechanisms that the hardware and its device plugin really support, the preferred first."""
    overhead: Quantity = "0"
    """Memory that Triton itself holds, charged once for each server."""
    tops: tuple[Tops, ...] = ()
    stack: Stack

    @field_validator("memory", "overhead")
    @classmethod
    def _parseable(cls, value: str | None) -> str | None:
        if value is not None:
            to_mib(value)
        return value

    def answers_to(self, word: str) -> bool:
        """Whether a variant's or a slice's word means this profile: its name, its family, or "*", any accelerator."""
        return word in (self.name, self.family) or (word == ANY and not self.is_cpu)

    @property
    def is_cpu(self) -> bool:
        """Whether this is no accelerator but the node's own cores and memory."""
        return self.sharing == ("cpu",)

    @property
    def overhead_mib(self) -> int:
        """Memory that Triton itself holds, MiB."""
        return to_mib(self.overhead)


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry that was refused: where it stands, which it is, and what is wrong."""

    origin: str
    entry: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.origin}, line {self.line}: profile {self.entry!r} is refused: {self.message}"


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The profiles by name."""

    profiles: Mapping[str, Profile]

    def get(self, name: str) -> Profile | None:
        """The profile of this name."""
        return self.profiles.get(name)

    def matching(self, word: str) -> tuple[Profile, ...]:
        """The profiles that a variant's or a slice's word means; none where nobody knows the word."""
        return tuple(profile for profile in self.profiles.values() if profile.answers_to(word))

    @property
    def cpu(self) -> Profile:
        """The profile of the node's own cores and memory."""
        return self.profiles[CPU]


@cache
def load() -> Catalogue:
    """The catalogue as shipped. Raises ValueError if the package's own file is broken."""
    text = resources.files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    catalogue, problems = extend(Catalogue(MappingProxyType({})), "catalogue.yaml", text)
    if problems:
        raise ValueError("; ".join(str(problem) for problem in problems))
    return catalogue


def extend(catalogue: Catalogue, origin: str, text: str) -> tuple[Catalogue, tuple[Problem, ...]]:
    """The catalogue with the profiles of a YAML text (`profiles: [...]`) added, in place of those of the same name.

    A broken entry is refused and named; the others are taken. `origin` is what problems call the text.
    """
    profiles = dict(catalogue.profiles)
    problems = []
    for line, raw in _entries(text):
        if isinstance(raw, str):
            problems.append(Problem(origin, "", line, raw))
            continue
        name = str(raw.get("name", ""))
        try:
            profile = Profile.model_validate(raw)
            _check(profile)
        except ValueError as error:
            problems.append(Problem(origin, name, line, _sentence(error)))
            continue
        profiles[profile.name] = profile
    return Catalogue(MappingProxyType(profiles)), tuple(problems)


def _check(profile: Profile) -> None:
    """What one field alone cannot tell. Raises ValueError."""
    if ANY in (profile.name, profile.family):
        raise ValueError('name and family: "*" stands for any accelerator and cannot be the name of one')
    if (CPU in (profile.name, profile.family)) != profile.is_cpu or ("cpu" in profile.sharing) != profile.is_cpu:
        raise ValueError("sharing: [cpu] is for the profile and family named cpu, and for nothing else")
    if profile.is_cpu and profile.name != CPU:
        raise ValueError("name: there is one profile of the node's own cores, and its name is cpu")
    if not profile.is_cpu and not profile.resources:
        raise ValueError("resources: name the extended resource that the device plugin advertises")
    if profile.memory is None and not (profile.unified or profile.is_cpu):
        raise ValueError("memory: required, unless `unified: true` says that device memory is node memory")
    if profile.stack.image is None and not profile.stack.image_reason:
        raise ValueError("stack.image: name the Triton image, or say in imageReason why there is none")


def _entries(text: str) -> list[tuple[int, dict[str, Any] | str]]:
    """Each entry below `profiles` with its line, or a sentence where there is none to read."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return []
        pairs = root.value if isinstance(root, yaml.MappingNode) else []
        items = next((value for key, value in pairs if key.value == "profiles"), None)
        if not isinstance(items, yaml.SequenceNode):
            return [(root.start_mark.line + 1, "the text must be a mapping with a list `profiles`")]
        entries: list[tuple[int, dict[str, Any] | str]] = []
        for item in items.value:
            raw = loader.construct_object(item, deep=True)
            line = item.start_mark.line + 1
            entries.append((line, raw if isinstance(raw, dict) else "an entry of `profiles` must be a mapping"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return [((mark.line + 1) if mark else 1, f"the text is no YAML: {getattr(error, 'problem', error)}")]
    else:
        return entries
    finally:
        loader.dispose()


def _sentence(error: ValueError) -> str:
    """What is wrong, by field, without pydantic's links."""
    if not isinstance(error, ValidationError):
        return str(error)
    parts = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"])
        what = "no such field" if detail["type"] == "extra_forbidden" else detail["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {what}" if where else what)
    return "; ".join(parts)
