"""Versions of system software (JetPack, drivers, CANN, TensorRT) and the ranges that are written of them."""

from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

Component = Literal["jetpack", "driver", "cann"]
"""What is installed on a machine and decides which Triton image runs there."""


def within(version: str, asked: str) -> bool:
    """Whether the version is in the range: ">=6,<7", or a version, which means it and what refines it ("6.2": 6.2.1).

    A version that cannot be read is in no range. Raises ValueError for a range that cannot be read.
    """
    try:
        has = Version(version)
    except InvalidVersion:
        return version == asked
    return any(part.contains(has, prereleases=True) for part in _ranges(asked))


def check(asked: str) -> None:
    """Raises ValueError for a range that cannot be read."""
    _ranges(asked)


def _ranges(asked: str) -> list[SpecifierSet]:
    try:
        if asked[:1] in {"<", ">", "=", "!", "~"}:
            return [SpecifierSet(asked)]
        exact = Version(asked)
        if exact.is_prerelease:
            return [SpecifierSet(f"=={exact}")]
        return [SpecifierSet(f"=={exact}.*")]
    except (InvalidSpecifier, InvalidVersion):
        raise ValueError(f'{asked!r} is no version and no range of versions such as ">=6,<7"') from None
