"""The sharing mechanisms that there are, by the names the catalogue uses. A new one is one file and one word here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from littoral.slicing.counted import Counted
from littoral.slicing.cpu import Cpu
from littoral.slicing.provider import Provider
from littoral.slicing.whole import Whole

_ALL: Final[tuple[Provider, ...]] = (Cpu(), Whole(), Counted())

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({provider.name: provider for provider in _ALL})
