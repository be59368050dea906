"""What of a model's variants placement depends on: hashable values, so that like models share what was worked out."""

from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any

from littoral.accelerators.profile import ANY
from littoral.api.gpuslice import GPUSliceSpec, Isolation
from littoral.api.inferencemodel import InferenceModel, Variant
from littoral.api.quantity import parse_duration
from littoral.placement.ledger import mib


@dataclass(frozen=True, slots=True)
class Latency:
    """A measured p99, in seconds, and the percent of one device that it was measured with."""

    p99: Decimal
    at_compute: int


@dataclass(frozen=True, slots=True)
class Want:
    """A variant as far as placement depends on it."""

    name: str
    accelerators: tuple[str, ...]
    format: str
    """Empty for a reservation, which serves nothing."""
    memory: int
    compute: int
    isolation: Isolation
    requires: tuple[tuple[str, str], ...] = ()
    """(component, version or range), sorted."""
    virtual_npu: bool = False
    latency: Latency | None = None
    size: int = 0
    """Of the artifact on the node's disk, MiB; 0 where it is not declared."""
    artifact: str = ""
    """Its digest, where its size is declared."""


@dataclass(frozen=True, slots=True)
class Demand:
    """All that placement reads of a model's variants."""

    wants: tuple[Want, ...]
    image: bool
    """Whether the user names a Triton image, so that the catalogue need not have one."""
    refresh: str = ""
    max_latency: Decimal | None = None
    """Seconds."""


@lru_cache(maxsize=4096)
def digest(asked: Demand) -> str:
    """Eight hex digits that change whenever the user changes what is asked.

    What is at its default is left out, so that a field that a later version adds changes no slice that is there; the
    artifact and its declared size are no figures of the slice.
    """
    wants = tuple(_told(want, "size", "artifact") for want in asked.wants)
    return sha256(repr((wants, _told(asked, "wants"))).encode()).hexdigest()[:8]


def _told(value: Want | Demand, *without: str) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (field.name, getattr(value, field.name))
        for field in fields(value)
        if field.name not in without and getattr(value, field.name) != field.default
    )


def demand(model: InferenceModel) -> Demand:
    """What a model asks."""
    spec = model.spec
    asked = spec.placement.max_latency
    return Demand(
        tuple(_want(model, variant) for variant in spec.variants),
        bool(spec.serving.image),
        model.refresh,
        parse_duration(asked) if asked else None,
    )


def _want(model: InferenceModel, variant: Variant) -> Want:
    asked = model.spec.request(variant)
    measured = variant.latency
    return Want(
        variant.name,
        variant.accelerators,
        variant.format,
        mib(asked.memory or "0"),
        asked.compute or 0,
        asked.isolation or "None",
        tuple(sorted(variant.requires.items())),
        variant.virtual_npu,
        Latency(parse_duration(measured.p99), measured.at_compute) if measured else None,
        mib(variant.source.size or "0"),
        variant.source.digest if variant.source.size else "",
    )


def reservation(spec: GPUSliceSpec) -> Demand:
    """What a slice that a user wrote asks: it names no format, so any stack will do."""
    return Demand(
        (Want("", spec.accelerators or (ANY,), "", mib(spec.memory), spec.compute, spec.isolation),), image=True
    )
