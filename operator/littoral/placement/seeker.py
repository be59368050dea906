"""Who a place is sought for: a model's next replica, or a slice that a user wrote."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from littoral.placement.nodes import NodeView
from littoral.placement.snapshot import Key

NameOn = Callable[[str], Key]
"""The slice's key, if it were to lie on this node."""


class Seeker:
    """What of the seeker, beside what it asks, decides where it goes: where its like are already."""

    __slots__ = ("_domains", "_nodes", "name_on", "preferred", "spread")

    def __init__(self, name_on: NameOn, spread: str | None = None, preferred: AbstractSet[str] = frozenset()) -> None:
        self.name_on = name_on
        self.spread = spread
        """Node label over whose values its replicas are spread; nodes without it are one domain."""
        self.preferred = preferred
        """Nodes for which a slice was made already."""
        self._domains: Counter[str | None] = Counter()
        self._nodes: Counter[str] = Counter()

    def settled(self, node: NodeView) -> None:
        """One of its replicas is there."""
        self._nodes[node.name] += 1
        if self.spread is not None:
            self._domains[self.domain(node)] += 1

    @property
    def nodes(self) -> AbstractSet[str]:
        """Where its replicas are."""
        return self._nodes.keys()

    def crowd(self, node: NodeView) -> tuple[int, int]:
        """How many of its replicas are in the node's domain, and on the node: fewer is better."""
        if self.spread is None:
            return 0, self._nodes[node.name]
        return self._domains[self.domain(node)], self._nodes[node.name]

    def domain(self, node: NodeView) -> str | None:
        """The node's value of the label."""
        return None if node.facts is None or self.spread is None else node.facts.labels.get(self.spread)
