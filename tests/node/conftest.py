import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol

import pytest
from kubernetes.client import ApiException
from tests.node import edge as edges
from tests.node.edge import Edge

from rig import cluster, demo, states
from rig.flags import Options
from rig.fleet import DEMO_NODES
from rig.progress import to_stderr

# How soon a node that is cut off counts as offline: two of its heartbeats, where the default is five.
GRACE = "--node-monitor-grace-period=20s"


class Namespaces(Protocol):
    """Makes a namespace of these labels and annotations; its name."""

    def __call__(
        self, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
    ) -> str: ...


@pytest.fixture(scope="session")
def edge(reaped: None, nodes_possible: None) -> Iterator[Edge]:
    """Two unlike nodes and the operator, shared by all tests here: the demo's cluster, its offline grace shortened."""
    state = states.make()
    options = Options(extra={"kube-controller-manager": (GRACE,)})
    try:
        running = cluster.up(state, DEMO_NODES, options=options, installed=edges.installed, progress=to_stderr)
        files = [demo.EXAMPLE / name for name in ("catalogue.yaml", "edgenode.yaml")]
        with edges.running(running, [file.read_text(encoding="utf-8") for file in files]) as edge:
            yield edge
    finally:
        cluster.down(state)


@pytest.fixture(scope="module")
def namespaces(edge: Edge) -> Iterator[Namespaces]:
    """Makes namespaces at Pod Security level baseline; they go, with all that is in them, after the module."""
    made: list[str] = []

    def make(labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None) -> str:
        enforced = {"pod-security.kubernetes.io/enforce": "baseline", **(labels or {})}
        body = {"metadata": {"generateName": "test-", "labels": enforced, "annotations": dict(annotations or {})}}
        made.append(edge.core.create_namespace(body).metadata.name)
        return made[-1]

    yield make
    for name in made:
        with contextlib.suppress(ApiException):  # a test deleted it
            edge.core.delete_namespace(name)


@pytest.fixture(scope="module")
def namespace(namespaces: Namespaces) -> str:
    """A namespace that the module's tests share."""
    return namespaces()
