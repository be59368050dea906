"""The sharing mechanisms that there are, by the names the catalogue uses. A new one is one file and one word here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from littoral.slicing.counted import Counted
from littoral.slicing.cpu import Cpu
from littoral.slicing.hami import Hami
from littoral.slicing.mps import Mps
from littoral.slicing.provider import Provider
from littoral.slicing.runtime import Runtime
from littoral.slicing.share_dev_count import ShareDevCount
from littoral.slicing.time_slicing import TimeSlicing
from littoral.slicing.vnpu import Vnpu
from littoral.slicing.whole import Whole

_ALL: Final[tuple[Provider, ...]] = (
    Cpu(),
    Whole(),
    Runtime(),
    Counted(),
    TimeSlicing(),
    Mps(),
    Hami(),
    Vnpu(),
    ShareDevCount(),
)

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({provider.name: provider for provider in _ALL})
