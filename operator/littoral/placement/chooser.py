"""The chooser: which variant each demand comes to on each kind of device, worked out once for a plan."""

from littoral.accelerators.profile import Platform
from littoral.placement import shared
from littoral.placement.shared import Part, Shared
from littoral.placement.variants import Choice, revisit
from littoral.placement.wants import Demand
from littoral.slicing.provider import Refusal


class Chooser:
    """choose() and revisit(), remembered for one plan: like models on like devices choose alike."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str, str], tuple[Demand, Platform, Choice | Refusal]] = {}
        self._same: dict[Demand, Demand] = {}

    def same(self, asked: Demand) -> Demand:
        """The one object for equal demands, so that the rest goes by identity."""
        return self._same.setdefault(asked, asked)

    @property
    def known(self) -> int:
        """How many choices are remembered."""
        return len(self._known)

    def choose(self, asked: Demand, platform: Platform, provider: str, note: str = "") -> Choice | Refusal:
        """The variant for a new replica, or that of a slice with `note`."""
        key = (id(asked), id(platform), provider, note)
        known = self._known.get(key)
        if known is None:  # what its ids stand for is kept, so that they stay theirs
            known = self._known[key] = asked, platform, self._found(asked, platform, provider, note)
        return known[2]

    def _found(self, asked: Demand, platform: Platform, provider: str, note: str) -> Choice | Refusal:
        if not isinstance(asked, Shared):
            return revisit(asked, platform, provider, note)
        own = shared.notes(note)
        parts = []
        for model, its in asked.members:
            told = own.get(model, "")
            part = Part(model, its, self.choose(self.same(its), platform, provider, told))
            parts.append(shared.stays_out(part, told))
        return shared.combine(parts, platform.profile)
