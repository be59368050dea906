"""pytest fixtures: a control plane, and a cluster with real nodes. Register with `pytest_plugins = ["rig.testing"]`.

A test module that needs other nodes or options overrides `cluster_nodes` or `control_plane_options`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from rig import choice, cluster, preflight, states
from rig.cluster import Cluster
from rig.controlplane import ControlPlane
from rig.flags import Options
from rig.nodefiles import NodeSpec
from rig.progress import to_stderr


@pytest.fixture(scope="session")
def reaped() -> None:
    """What a test run that was killed left behind is gone."""
    for folder in states.abandoned():
        cluster.down(folder)


@pytest.fixture(scope="session")
def control_plane_options() -> Options:
    """The options of `control_plane`."""
    return Options()


@pytest.fixture(scope="session")
def control_plane(reaped: None, control_plane_options: Options) -> Iterator[ControlPlane]:  # noqa: ARG001  # for its effect
    """A control plane without nodes, shared by the session; needs no root. Its kubeconfig is the administrator's."""
    plane = ControlPlane(states.make(), control_plane_options)
    try:
        yield plane.start(to_stderr)
    finally:
        cluster.down(plane.state)


@pytest.fixture(scope="session")
def nodes_possible() -> None:
    """Real nodes can run here; what asks for this is skipped, with the reason, where they cannot."""
    reason = choice.why_no_embedded_cluster() or preflight.why_not_ready()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster_nodes() -> Sequence[NodeSpec]:
    """The nodes of `real_cluster`."""
    return (
        NodeSpec("edge-a", labels={"topology.kubernetes.io/zone": "site-a"}, devices={"nvidia.com/gpu": 1}),
        NodeSpec("edge-b", labels={"topology.kubernetes.io/zone": "site-b"}, devices={"nvidia.com/gpu": 1}),
    )


@pytest.fixture(scope="session")
def real_cluster(
    reaped: None,  # noqa: ARG001  # for its effect
    nodes_possible: None,  # noqa: ARG001  # for its effect
    cluster_nodes: Sequence[NodeSpec],
) -> Iterator[Cluster]:
    """Two real nodes with the project's images, shared by the session; its nodes say what they are by their labels."""
    state = states.make()
    try:
        yield cluster.up(state, cluster_nodes, progress=to_stderr)
    finally:
        cluster.down(state)
