"""Whether a variant can be served on a platform at all: small checks in the order in which they are asked.

Each is (variant, what the model asks, platform, how the device is shared) -> why not. None looks at load.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final, get_args

from littoral.accelerators import versions
from littoral.accelerators.profile import Platform
from littoral.placement.wants import Demand, Want
from littoral.slicing.provider import Refusal

_MACHINE: Final[tuple[str, ...]] = get_args(versions.Component)


def has_versions(want: Want, asked: Demand, platform: Platform, _: str) -> Refusal | None:
    """What the machine and the image must bring; a version that nobody knows is not taken for the right one.

    Of a user's own image nothing is known: only what is installed on the machine is compared.
    """
    for component, needed in want.requires:
        machine = component in _MACHINE
        if asked.image and not machine:
            continue
        known = platform.versions.get(component)
        if known is None:
            remedy = "declare spec.stack" if machine else "the catalogue's stack does not say it"
            return Refusal("VersionUnknown", f"whose {component} is not known, {needed} needed: {remedy}")
        try:
            fits = versions.within(known, needed)
        except ValueError as error:
            return Refusal("VersionUnreadable", f"on which requires.{component} cannot be judged: {error}")
        if not fits:
            return Refusal("VersionMismatch", f"with {component} {known}, {needed} needed")
    return None


def has_image(_: Want, asked: Demand, platform: Platform, __: str) -> Refusal | None:
    """Some stacks have no image that anybody publishes."""
    if platform.stack.image is not None or asked.image:
        return None
    return Refusal("NoImage", f"whose {platform.profile.name} has no Triton image: {platform.stack.image_reason}")


def has_backend(want: Want, asked: Demand, platform: Platform, _: str) -> Refusal | None:
    """A stack serves some formats, and some of them only with an image that the user builds."""
    if not want.format:
        return None
    profile, backend = platform.profile, platform.stack.backends.get(want.format)
    if backend is None:
        return Refusal("NoBackend", f"whose {profile.name} has no Triton backend for {want.format}")
    if backend.image_reason and not asked.image:
        return Refusal("NoImage", f"whose {profile.name} has no Triton image for {want.format}: {backend.image_reason}")
    return None


def runs_on_vnpu(want: Want, _: Demand, platform: Platform, provider: str) -> Refusal | None:
    """An offline model that was built without the flag fails on a vNPU with ACL_ERROR_RT_TASK_TYPE_NOT_SUPPORT."""
    if provider != "vnpu" or want.format != "om" or want.virtual_npu:
        return None
    return Refusal(
        "NotForVirtualNPU",
        f"whose {platform.profile.name} is cut into vNPUs, for which variant {want.name} was not built with "
        "--virtual_type=1: build it so and set virtualNPU",
    )


_NO_BOUND: Final = frozenset({"time-slicing", "counted", "runtime", "share-dev-count"})
"""Mechanisms that keep nobody to a share of compute: neighbours may take more, and the latency is then another."""


def is_quick(want: Want, asked: Demand, _: Platform, provider: str) -> Refusal | None:
    """The latency as measured, at no more compute than is had here. Nothing is scaled: a share bounds no latency."""
    if asked.max_latency is None:
        return None
    needed = f"{_milliseconds(asked.max_latency)} needed"
    measured = want.latency
    if measured is None:
        return Refusal("LatencyUnknown", f"without a measured latency of variant {want.name}, {needed}")
    if measured.p99 > asked.max_latency:
        return Refusal("TooSlow", f"with {_milliseconds(measured.p99)} measured of variant {want.name}, {needed}")
    had = _had(want, provider)
    if measured.at_compute > had:
        return Refusal(
            "LatencyUnproven",
            f"without a fitting latency of variant {want.name}: measured at {measured.at_compute}%, {had}% asked",
        )
    return None


def doubt(want: Want, asked: Demand, provider: str) -> str:
    """What is to be known of a latency that is_quick accepts; empty where it was measured as it is had here."""
    if asked.max_latency is None or want.latency is None:
        return ""
    if provider in _NO_BOUND:
        return f"; its latency was measured at {want.latency.at_compute}%, which {provider} does not hold it to"
    if want.latency.at_compute != (had := _had(want, provider)):
        return f"; its latency was measured at {want.latency.at_compute}% and it has {had}%"
    return ""


def _had(want: Want, provider: str) -> int:
    """Percent of the device that a replica has."""
    return 100 if provider == "whole" else want.compute


def _milliseconds(seconds: Decimal) -> str:
    return f"{(seconds * 1000).normalize():f}ms"


Check = Callable[[Want, Demand, Platform, str], Refusal | None]
CHECKS: Final[tuple[Check, ...]] = (has_versions, has_image, has_backend, runs_on_vnpu, is_quick)


def unservable(want: Want, asked: Demand, platform: Platform, provider: str) -> Refusal | None:
    """The first check that the variant does not pass; None where it can be served."""
    return next((found for check in CHECKS if (found := check(want, asked, platform, provider))), None)
