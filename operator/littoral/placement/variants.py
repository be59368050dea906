"""Which variant of a model serves on a kind of device, and what a replica of it asks.

The choice depends on the model and the profile alone, never on load: a node that is full now must not decide for a
variant that stays there for ever.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from littoral.accelerators.profile import ANY, Platform, Profile
from littoral.api.gpuslice import GPUSliceSpec, Isolation
from littoral.api.inferencemodel import InferenceModel
from littoral.api.quantity import from_mib
from littoral.placement.ledger import mib
from littoral.slicing.provider import Refusal, Request

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")


@dataclass(frozen=True, slots=True)
class Want:
    """A variant as far as placement depends on it; hashable, so that like models share what was worked out."""

    name: str
    accelerators: tuple[str, ...]
    format: str
    memory: int
    compute: int
    isolation: Isolation


@dataclass(frozen=True, slots=True)
class Demand:
    """All that placement reads of a model's variants."""

    wants: tuple[Want, ...]
    image: bool
    """Whether the user names a Triton image, so that the catalogue need not have one."""
    refresh: str = ""


@lru_cache(maxsize=4096)
def digest(asked: Demand) -> str:
    """Eight hex digits that change whenever the user changes what is asked."""
    return sha256(repr(asked).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant for a profile."""

    index: int
    """In the order of spec.variants, by which candidates are scored."""
    variant: str
    why: str
    note: str
    """Assignment.asked."""
    spec: GPUSliceSpec
    request: Request


def demand(model: InferenceModel) -> Demand:
    """What a model asks."""
    wants = []
    for variant in model.spec.variants:
        asked = model.spec.request(variant)
        wants.append(
            Want(
                variant.name,
                variant.accelerators,
                variant.format,
                mib(asked.memory or "0"),
                asked.compute or 0,
                asked.isolation or "None",
            )
        )
    return Demand(tuple(wants), bool(model.spec.serving.image), model.refresh)


def reservation(spec: GPUSliceSpec) -> Demand:
    """What a slice that a user wrote asks: it names no format, so any stack will do."""
    return Demand(
        (Want("", spec.accelerators or (ANY,), "", mib(spec.memory), spec.compute, spec.isolation),), image=True
    )


def choose(asked: Demand, platform: Platform) -> Choice | Refusal:
    """The first variant that the platform can serve, or why none can."""
    profile = platform.profile
    refusal: Refusal | None = None
    for index, want in enumerate(asked.wants):
        if not any(profile.answers_to(word) for word in want.accelerators):
            continue
        refused = _unservable(want, asked, platform)
        if refused is None:
            return _choice(asked, index, want, profile)
        refusal = refusal or refused
    return refusal or Refusal("NoVariant", f"without a variant for {profile.name}")


def revisit(asked: Demand, platform: Platform, note: str) -> Choice | Refusal:
    """The variant of a slice that was asked for with `note`: the same, unless the user asks for something else now.

    Another catalogue may make an earlier variant servable; that alone moves nothing.
    """
    name, _, then = note.partition("/")
    if then == digest(asked):
        for index, want in enumerate(asked.wants):
            if want.name == name:
                return _choice(asked, index, want, platform.profile)
    return choose(asked, platform)


class Chooser:
    """choose() and revisit(), remembered for one plan: like models on like devices choose alike."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str], tuple[Demand, Platform, Choice | Refusal]] = {}
        self._same: dict[Demand, Demand] = {}

    def same(self, asked: Demand) -> Demand:
        """The one object for equal demands, so that the rest goes by identity."""
        return self._same.setdefault(asked, asked)

    def choose(self, asked: Demand, platform: Platform, note: str = "") -> Choice | Refusal:
        """The variant for a new replica, or that of a slice with `note`."""
        key = (id(asked), id(platform), note)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = asked, platform, revisit(asked, platform, note)  # kept, so that their ids stay
        return known[2]


def _choice(asked: Demand, index: int, want: Want, profile: Profile) -> Choice:
    overhead = profile.overhead_mib if want.format else 0
    spec = GPUSliceSpec(
        memory=from_mib(want.memory + overhead),
        compute=want.compute,
        isolation=want.isolation,
        accelerators=want.accelerators,
    )
    why = f"{_ordinal(index)} variant for {profile.name}"
    if profile.family != profile.name:
        why += f" (family {profile.family})"
    request = Request(want.memory + overhead, want.compute, want.isolation)
    return Choice(index, want.name, why, f"{want.name}/{digest(asked)}", spec, request)


def _ordinal(index: int) -> str:
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"


def _unservable(want: Want, asked: Demand, platform: Platform) -> Refusal | None:
    """The Triton of this stack cannot serve this variant."""
    profile, stack = platform.profile, platform.stack
    if stack.image is None and not asked.image:
        return Refusal("NoImage", f"whose {profile.name} has no Triton image: {stack.image_reason}")
    if want.format and want.format not in stack.backends:
        return Refusal("NoBackend", f"whose {profile.name} has no Triton backend for {want.format}")
    return None
