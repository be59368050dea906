"""Which variant of a model serves on a kind of device, and the slice that a replica of it needs there.

The choice depends on the model, the platform and how the device is shared, never on load: a node that is full now must
not decide for a variant that stays there for ever.
"""

from dataclasses import dataclass
from typing import Final

from littoral.accelerators.profile import Platform, Profile
from littoral.api.gpuslice import GPUSliceSpec
from littoral.api.quantity import from_mib
from littoral.placement.results import LeftOut, Served
from littoral.placement.servable import doubt, unservable
from littoral.placement.wants import Demand, Want, digest
from littoral.slicing.provider import Refusal, Request

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant for a device."""

    index: int
    """In the order of spec.variants, by which candidates are scored."""
    variant: str
    why: str
    note: str
    """Assignment.asked."""
    spec: GPUSliceSpec
    request: Request
    artifacts: tuple[tuple[str, int], ...] = ()
    """(digest, size in MiB) of what lies on the node's disk, where its size is declared."""
    members: tuple[Served, ...] = ()
    """Assignment.members."""
    left_out: tuple[LeftOut, ...] = ()
    """Assignment.left_out."""


def choose(asked: Demand, platform: Platform, provider: str) -> Choice | Refusal:
    """The first variant that can be served on the platform, shared as `provider` shares it, or why none can."""
    profile = platform.profile
    refusal: Refusal | None = None
    for index, want in enumerate(asked.wants):
        if not any(profile.answers_to(word) for word in want.accelerators):
            continue
        refused = unservable(want, asked, platform, provider)
        if refused is None:
            return _choice(asked, index, want, profile, provider)
        refusal = refusal or refused
    return refusal or Refusal("NoVariant", f"without a variant for {profile.name}")


def revisit(asked: Demand, platform: Platform, provider: str, note: str) -> Choice | Refusal:
    """The variant of a slice that was asked for with `note`: the same, unless the user asks for something else now.

    Another catalogue may make an earlier variant servable; that alone moves nothing.
    """
    name, _, then = note.partition("/")
    if then == digest(asked):
        for index, want in enumerate(asked.wants):
            if want.name == name:
                return _choice(asked, index, want, platform.profile, provider)
    return choose(asked, platform, provider)


def _choice(asked: Demand, index: int, want: Want, profile: Profile, provider: str) -> Choice:
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
    why += doubt(want, asked, provider)
    request = Request(want.memory + overhead, want.compute, want.isolation)
    artifacts = ((want.artifact, want.size),) if want.size else ()
    return Choice(index, want.name, why, f"{want.name}/{digest(asked)}", spec, request, artifacts)


def _ordinal(index: int) -> str:
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"
