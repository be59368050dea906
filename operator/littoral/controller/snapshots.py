"""The world as one value, drawn from the store for a plan: what is read, steadied, and what holds at this moment.

Placement has no clock. What depends on time is settled here: a capacity that has just fallen to nothing is held for a
while, and of the exclusions only those are in the snapshot that hold now.
"""

import time
from collections.abc import Callable

from littoral.accelerators import capacity
from littoral.accelerators.capacity import Steady
from littoral.accelerators.catalogue import Catalogue
from littoral.controller import kinds
from littoral.controller.edgenode import in_force
from littoral.controller.store import Store
from littoral.controller.work import utcnow
from littoral.placement import exclusions
from littoral.placement.snapshot import Snapshot


class Snapshots:
    """Draws them; remembers of each Node what it last had."""

    def __init__(self, store: Store, catalogue: Callable[[], Catalogue]) -> None:
        self._store = store
        self._catalogue = catalogue
        self._steady: dict[str, Steady] = {}

    def draw(self) -> tuple[Snapshot, float | None]:
        """The snapshot, and the seconds after which another would differ though nothing came."""
        now, moment = time.monotonic(), utcnow()
        nodes = {key[1]: facts for key, facts in self._store.values(kinds.NODES).items()}
        self._steady = capacity.settle(self._steady, nodes, now)
        edge_nodes = in_force(self._store, self._catalogue())
        noted = {name: edge.status.exclusions for name, edge in edge_nodes.items() if edge.status.exclusions}
        excluded = exclusions.by_node(noted, moment)
        snapshot = Snapshot(
            catalogue=self._catalogue(),
            nodes={name: its.facts for name, its in self._steady.items()},
            edge_nodes=edge_nodes,
            slices=self._store.values(kinds.SLICES),
            models=self._store.values(kinds.MODELS),
            pods={key: pod for key, pod in self._store.values(kinds.PODS).items() if not pod.prefetch},
            deployments={key: live.facts for key, live in self._store.values(kinds.DEPLOYMENTS).items()},
            namespaces={key[1]: meta.labels for key, meta in self._store.values(kinds.NAMESPACES).items()},
            priorities={key[1]: each.value for key, each in self._store.values(kinds.PRIORITYCLASSES).items()},
            runtime_classes=frozenset(key[1] for key in self._store.values(kinds.RUNTIMECLASSES)),
            exclusions=excluded,
            refused=self._store.refused(kinds.MODELS),
        )
        due = capacity.next_due(self._steady.values(), now), exclusions.first_end(excluded, moment)
        return snapshot, min((seconds for seconds in due if seconds is not None), default=None)
