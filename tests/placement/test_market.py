"""The market finds by its shelves what a search through all devices would find."""

from collections.abc import Iterator
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.fleet import history, rng

from littoral.placement import plan as planning
from littoral.placement.filters import Ask
from littoral.placement.market import Candidate, Market
from littoral.placement.plan import plan
from littoral.placement.seeker import Seeker
from littoral.placement.shelves import cost, fit


class Exhaustive(Market):
    """Looks at every device of every node, each time."""

    def _ranked(self, asked: Ask, seeker: Seeker) -> Iterator[Candidate]:
        ranked = []
        for group in self.candidates(asked)[0].values():
            for each in group:
                slot, request = each.slot, each.choice.request
                alone = fit(slot.device, request)
                if alone is None:
                    continue
                made = each.node.name in seeker.preferred
                left = cost(slot.memory_left, slot.compute_left) - alone.given
                order = each.choice.index, seeker.crowd(each.node), alone.waste, left, each.node.name, slot.device.id
                ranked.append(((not made, *order), each))
        yield from (each for _, each in sorted(ranked, key=lambda pair: pair[0]))


@given(st.integers(0, 2**64))
@settings(deadline=None, max_examples=300)
def test_what_is_found_by_shelves_is_what_an_exhaustive_search_finds(seed: int) -> None:
    snapshot = history(rng(seed))
    found = plan(snapshot)
    with patch.object(planning, "Market", Exhaustive):
        assert plan(snapshot) == found
