from collections.abc import Iterator

import pytest
from tests.node import edge as edges
from tests.node.edge import Edge
from tests.node.unlike import nodes

from rig import cluster, states
from rig.progress import to_stderr

GRACE = "--refusal-grace=5"
"""Seconds, of which the operator's users have sixty."""


@pytest.fixture(scope="session")
def edge(reaped: None, nodes_possible: None) -> Iterator[Edge]:
    """Three nodes that share their accelerators in three ways, in place of the two of the tests beside this folder."""
    state = states.make()
    try:
        running = cluster.up(state, nodes.NODES, installed=edges.installed, progress=to_stderr)
        with edges.running(running, nodes.manifests(), options=[GRACE]) as edge:
            yield edge
    finally:
        cluster.down(state)
