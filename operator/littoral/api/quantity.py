"""Kubernetes quantities and Go durations, as the manifests write them, in the core's own units: MiB and seconds.

Memory below one MiB is rounded up, so that nothing is ever charged less than it asked for.
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

MIB: Final = 1024 * 1024

_SUFFIX: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([eE][+-]?[0-9]+)|(m|k|[KMGTPE]i?))?")
_UNIT_SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def parse_quantity(text: str | float) -> Decimal:
    """The number that a Kubernetes quantity stands for ("4Gi", "500m", 3, "1e3").

    Raises ValueError for anything else, negative quantities included: nothing here is ever owed.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity: write a number with a suffix such as Mi or Gi")
    number, exponent, suffix = match.groups()
    if suffix is not None and suffix not in _SUFFIX:
        raise ValueError(f"{text!r} is not a quantity: {suffix!r} is no known suffix")
    return Decimal(number + (exponent or "")) * _SUFFIX[suffix or ""]


def to_mib(text: str | float) -> int:
    """A quantity of memory in MiB, rounded up. Raises ValueError as parse_quantity does."""
    return int((parse_quantity(text) / MIB).to_integral_value(ROUND_CEILING))


def from_mib(mib: int) -> str:
    """MiB as the API server itself would print them: "4Gi" rather than "4096Mi", so that what is written reads back."""
    if mib == 0:
        return "0"
    for factor, suffix in ((1024 * 1024, "Ti"), (1024, "Gi")):
        if mib % factor == 0:
            return f"{mib // factor}{suffix}"
    return f"{mib}Mi"


def from_thousandths(thousandths: int) -> str:
    """Thousandths of a core as the API server prints them: "1500m", "2"."""
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def short_mib(mib: int) -> str:
    """MiB for people: "2.5Gi", "300Mi"."""
    return f"{mib}Mi" if mib < 1024 else f"{mib / 1024:.1f}".removesuffix(".0") + "Gi"


def parse_duration(text: str) -> Decimal:
    """A Go duration ("10m", "1h30m", "1500ms") in seconds. Raises ValueError for anything else."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write one such as 90s, 10m or 1h30m")
    return sum((Decimal(number) * _UNIT_SECONDS[unit] for number, unit in parts), Decimal())


def to_seconds(text: str) -> int:
    """A Go duration in whole seconds, rounded up. Raises ValueError as parse_duration does."""
    return int(parse_duration(text).to_integral_value(ROUND_CEILING))


def to_thousandths(text: str | float) -> int:
    """A quantity of CPU in thousandths of a core, rounded up. Raises ValueError as parse_quantity does."""
    return int((parse_quantity(text) * 1000).to_integral_value(ROUND_CEILING))
