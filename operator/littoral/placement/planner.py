"""The planner: plan() for one snapshot after another, at the cost of what differs between them.

It gives what plan() gives. Of a model whose replicas stay where they are nothing depends on the load of the fleet: its
plan is drawn up again only when something of its own, or a node that it lies on, is not as it was. All others are drawn
up each time: models for which the load was looked at (what is missing is sought, or waits), and those that are planned
together with others. They are drawn up by the same passes in the same order, on the same ledger.
"""

from collections.abc import Iterable
from typing import Final

from littoral.placement import changes
from littoral.placement.market import Market
from littoral.placement.plan import draw_up
from littoral.placement.results import Plan
from littoral.placement.snapshot import Key, Snapshot
from littoral.placement.world import World

_MEMORY: Final = 1_000_000
"""Choices and charges, and a hundred more for each model, after which all is worked out anew: so what nobody asks any
more is forgotten."""


class Planner:
    """Remembers the last snapshot, as it was indexed, and its plan."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._market: Market | None = None
        self._plan = Plan({}, {}, {})
        self._unsettled: set[Key] = set()

    def plan(self, snapshot: Snapshot) -> Plan:
        """The plan for this snapshot. What it shares with the one before must not have changed since."""
        world, market = self._world, self._market
        if world is None or market is None or not changes.comparable(world.snapshot, snapshot):
            return self._anew(snapshot)
        if world.chooser.known + len(world.ledger.journal) > _MEMORY + 100 * len(snapshot.models):
            return self._anew(snapshot)
        self._world = None  # should this raise, what has been taken in of the snapshot says nothing of what is planned
        concerned = world.follow(snapshot)
        market.follow(concerned.gone, concerned.new, concerned.charged)
        due = concerned.models | self._unsettled | world.special
        if concerned.gone or concerned.new:
            due |= world.everywhere
        drawn = draw_up(world, market, due, concerned.charged)
        self._plan = _merged(self._plan, drawn.plan, due, {node.name for node in concerned.gone})
        self._unsettled = (self._unsettled - due) | drawn.unsettled
        self._world = world
        return self._plan

    def _anew(self, snapshot: Snapshot) -> Plan:
        world = World(snapshot)
        market = Market(world.nodes, world.ledger, world.chooser)
        drawn = draw_up(world, market, snapshot.models)
        self._world, self._market, self._plan = world, market, drawn.plan
        self._unsettled = set(drawn.unsettled)
        return drawn.plan


def _merged(old: Plan, new: Plan, due: Iterable[Key], gone: Iterable[str]) -> Plan:
    """The old plan with what was drawn up anew, and without the models and nodes that were due and got no plan."""
    models, nodes = dict(old.models), dict(old.nodes)
    for key in due:
        models.pop(key, None)
    for name in gone:
        nodes.pop(name, None)
    models.update(new.models)
    nodes.update(new.nodes)
    return Plan(models, new.slices, nodes, new.groups)
