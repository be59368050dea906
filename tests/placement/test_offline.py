"""Placement by example: what a node that is offline holds."""

from dataclasses import replace

from tests.placement.world import (
    granted,
    model,
    node,
    settled,
    t4,
    the,
)

from littoral.api.gpuslice import GPUSliceStatus
from littoral.placement.replicas import slice_name
from littoral.placement.snapshot import Snapshot

KEY = ("ns", "m")


class TestOffline:
    def offline(self, snapshot: Snapshot, name: str = "a") -> Snapshot:
        return replace(snapshot, nodes={**snapshot.nodes, name: replace(snapshot.nodes[name], ready="Unknown")})

    def test_what_is_on_it_counts_as_placed(self) -> None:
        snapshot = self.offline(settled([t4("a"), t4("b")], [model("m", replicas=2)]))
        found = the(snapshot)
        assert ([a.node for a in found.assignments], found.waiting, found.releases) == (["a", "b"], 0, ())

    def test_a_node_that_is_gone_is_held_as_well(self) -> None:
        snapshot = settled([t4("a")], [model("m")])
        found = the(replace(snapshot, nodes={}))
        assert ([a.node for a in found.assignments], found.releases) == (["a"], ())

    def test_a_node_whose_edgenode_is_gone_too_is_retired(self) -> None:
        snapshot = settled([t4("a"), t4("b")], [model("m")])
        there = the(snapshot).assignments[0].node
        (other,) = {"a", "b"} - {there}
        nodes, edges = dict(snapshot.nodes), dict(snapshot.edge_nodes)
        del nodes[there], edges[there]
        found = the(replace(snapshot, nodes=nodes, edge_nodes=edges))
        assert ([a.node for a in found.assignments], len(found.releases)) == ([other], 1)
        assert [move.cause for move in found.moves] == [f"{there} is retired"]

    def test_scale_down_releases_on_connected_nodes_and_owes_the_rest(self) -> None:
        snapshot = self.offline(settled([t4("a"), t4("b")], [model("m", replicas=2)]))
        one = the(replace(snapshot, models={KEY: model("m")}))
        assert (one.releases, one.held) == ((slice_name("m", "b", 0),), ())
        none = the(replace(snapshot, models={KEY: model("m", replicas=0)}))
        assert (none.releases, none.held) == ((slice_name("m", "b", 0),), (slice_name("m", "a", 0),))
        assert none.message == "0 of 0 placed; 1 to go when their nodes are back"

    def test_a_replica_in_the_wrong_pool_is_owed_and_not_replaced(self) -> None:
        nodes = [t4("a", labels={"littoral.dev/pool": "x"}), t4("b", labels={"littoral.dev/pool": "y"})]
        snapshot = self.offline(settled(nodes, [model("m", pools=["x"])]))
        found = the(replace(snapshot, models={KEY: model("m", pools=["y"])}))
        assert (found.assignments, found.releases, found.held) == ((), (), (slice_name("m", "a", 0),))
        assert found.waiting == 0

    def test_what_never_reached_it_is_placed_elsewhere(self) -> None:
        # Bound, and then the node went before anything was made of it.
        snapshot = settled([t4("a", labels={"littoral.dev/pool": "x"}), t4("b")], [model("m", pools=["x"])])
        bare = self.offline(replace(snapshot, pods={}, deployments={}))
        unstarted = {
            key: each.model_copy(
                update={"status": GPUSliceStatus(allocation=granted(each).model_copy(update={"started_at": None}))}
            )
            for key, each in bare.slices.items()
        }
        found = the(replace(bare, slices=unstarted, models={KEY: model("m", pools=["t4"])}))
        assert ([a.node for a in found.assignments], len(found.releases)) == (["b"], 1)

    def test_new_figures_wait(self) -> None:
        snapshot = self.offline(settled([node("a")], [model("m", accelerators=["cpu"])]))
        (replica,) = the(replace(snapshot, models={KEY: model("m", accelerators=["cpu"], memory="1Gi")})).assignments
        assert (replica.target, replica.blocked) == (None, "stays as it is: a is offline")
