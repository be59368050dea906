"""What the models of a shared server ask together: one choice out of the choices of each.

On a device each model takes its own first variant that can be served there. One with none is left out there and the
others go on without it; a device that can serve more of them is preferred. The slice holds what the variants need and
the server's own overhead once; it is as strongly isolated as the most demanding of them asks.

What a slice was asked for (Assignment.asked) holds each model's own note, so that another catalogue moves none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from littoral.accelerators.profile import Profile
from littoral.api.gpuslice import ISOLATION_ORDER, GPUSliceSpec
from littoral.api.quantity import from_mib
from littoral.placement import reasons
from littoral.placement.results import LeftOut, Served
from littoral.placement.variants import Choice
from littoral.placement.wants import Demand, digest
from littoral.slicing.provider import Refusal, Request

_WHOLE_DEVICE = 100


@dataclass(frozen=True, slots=True)
class Shared(Demand):
    """What several models ask of one server."""

    members: tuple[tuple[str, Demand], ...] = ()
    """(model, what it asks), by name."""


@dataclass(frozen=True, slots=True)
class Part:
    """What became of one model's demand on a device."""

    model: str
    asked: Demand
    found: Choice | Refusal


def together(members: Mapping[str, Demand]) -> Shared:
    """The demand of the models of these names."""
    return Shared(wants=(), image=False, members=tuple(sorted(members.items())))


def notes(note: str) -> dict[str, str]:
    """Each model's own note out of that of their slice; models that were left out have one as well."""
    parts = (part.partition(":") for part in note.split(";") if part)
    return {model: own for model, _, own in parts}


def stays_out(part: Part, note: str) -> Part:
    """A model that was left out is let in when its user asks for something else, not because the catalogue changed."""
    if isinstance(part.found, Refusal) or note != _left_out(part.asked):
        return part
    message = "which can serve it since the catalogue changed: `littoral rollout refresh` lets it in"
    return Part(part.model, part.asked, Refusal("LeftOut", message))


def combine(parts: Sequence[Part], profile: Profile) -> Choice | Refusal:
    """One choice for all that can be served on the profile, or why not even one can."""
    chosen = [(part.model, part.found) for part in parts if isinstance(part.found, Choice)]
    refused = [(part.model, part.found) for part in parts if isinstance(part.found, Refusal)]
    if not chosen:
        return reasons.nearest(refusal for _, refusal in refused)
    compute = sum(choice.request.compute for _, choice in chosen)
    if compute > _WHOLE_DEVICE:
        message = f"with {_WHOLE_DEVICE}% of a device, {compute}% needed by the models of the group together"
        return Refusal("TooMuchCompute", message)
    overhead = profile.overhead_mib
    memory = sum(choice.request.memory - overhead for _, choice in chosen) + overhead
    isolation = max((choice.request.isolation for _, choice in chosen), key=ISOLATION_ORDER.index)
    spec = GPUSliceSpec(memory=from_mib(memory), compute=compute, isolation=isolation, accelerators=(profile.name,))
    return Choice(
        index=len(refused),
        variant="",
        why="",
        note=";".join(f"{part.model}:{_note(part)}" for part in parts),
        spec=spec,
        request=Request(memory, compute, isolation),
        artifacts=tuple(each for _, choice in chosen for each in choice.artifacts),
        members=tuple(Served(model, choice.variant, choice.why) for model, choice in chosen),
        left_out=tuple(LeftOut(model, refusal.reason, refusal.message) for model, refusal in refused),
    )


def remembered(asked: Demand, note: str) -> tuple[Served, ...]:
    """The models of a shared server of which nothing new can be said now, by its slice's note alone."""
    if not isinstance(asked, Shared):
        return ()
    variants = ((model, own.partition("/")[0]) for model, own in notes(note).items())
    return tuple(Served(model, variant, "") for model, variant in variants if variant)


def _note(part: Part) -> str:
    return part.found.note if isinstance(part.found, Choice) else _left_out(part.asked)


def _left_out(asked: Demand) -> str:
    """The note of a model that is left out: of no variant."""
    return f"/{digest(asked)}"
