"""A model arrives although neither the link nor the process that fetches it lasts as long as the transfer."""

import contextlib
import random
import re
from itertools import pairwise

import psutil
import pytest
from tests.node.edge import JETSON, T4, Edge, condition
from tests.node.fetching import entry, fetched, fetching, replace_pod
from tests.node.models import Artifact, heavy, manifest, variant

from rig.waiting import until

pytestmark = pytest.mark.node

MIB = 1 << 20
SLACK = 2 * MIB
"""Bytes that were on the way at a cut: sent, and never received."""
KILLS = 20


def slow(edge: Edge, namespace: str, name: str, artifact: Artifact, *, node: str, rate: float) -> str:
    """Apply a model whose source hands out `rate` bytes a second; the artifact's path on the server."""
    uri = edge.models.add(artifact, rate=rate)
    only = variant("any", ["cpu"], uri, artifact.sha256, size="80Mi")
    edge.apply(namespace, manifest(name, [only], node=node))
    return f"/{artifact.name}"


def test_a_link_that_is_cut_twice_in_mid_pull_costs_no_byte_twice(edge: Edge, namespace: str) -> None:
    artifact = heavy(61, mib=12)
    path = slow(edge, namespace, "cut", artifact, node=JETSON, rate=2 * MIB)
    found = edge.await_reason(namespace, "cut", "Fetching")
    told = condition(found, "Ready")["message"]
    assert re.search(r"\(80Mi\) since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ by the node's clock$", told)
    node = edge.cluster.nodes[JETSON]
    for part in (1, 2):
        _await_sent(edge, path, part * len(artifact.data) // 3)
        node.cut()
        try:
            _await_stalled(edge, path)
            edge.models.drop()
        finally:
            node.restore()
        _await_asked(edge, path, part + 1)
    edge.await_ready(namespace, "cut")
    pod = edge.pod(namespace, "cut")
    assert edge.infer(pod, "cut", 2) == 122
    first, *others = (answer.offset for answer in edge.models.answers[path])
    assert (first, len(others), others == sorted(others)) == (0, 2, True)
    assert min(others) > len(artifact.data) // 3 - SLACK
    assert edge.models.sent(path) <= len(artifact.data) + SLACK
    assert pod.status.init_container_statuses[0].restart_count == 0


def test_a_fetch_killed_at_twenty_points_arrives_and_goes_on_where_it_was(edge: Edge, namespace: str) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  # no secret: the seed is printed, so that it can be tried again
    artifact = heavy(62, mib=64)
    path = slow(edge, namespace, "killed", artifact, node=T4, rate=16 * MIB)
    stored = entry(edge, T4, namespace, artifact.sha256)
    for _ in range(KILLS):
        process = _await_fetching(edge, namespace, "killed")
        _await_point(edge, path, process, chance.randrange(3 * MIB))
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(10)
        assert not stored.exists(), "the transfer was over before it was killed so often"
        if any(each.restart_count for each in edge.pod(namespace, "killed").status.init_container_statuses or ()):
            # The kubelet would wait longer before each further restart; a new pod starts at once.
            replace_pod(edge, namespace, "killed")
    edge.await_ready(namespace, "killed")
    pod = edge.pod(namespace, "killed")
    assert edge.infer(pod, "killed", 2) == 124
    assert fetched(pod)["models"][0]["digest"] == artifact.sha256
    assert list((edge.node_folder(T4, namespace) / "tmp").iterdir()) == []
    answers = edge.models.answers[path]
    print(f"{edge.models.sent(path)} of {len(artifact.data)} bytes sent, from {[answer.offset for answer in answers]}")
    for before, after in pairwise(answers):
        assert before.offset + before.sent - SLACK <= after.offset <= before.offset + before.sent


def _await_point(edge: Edge, path: str, process: psutil.Process, size: int) -> None:
    """Wait until so many more bytes were sent, while the process lives; of none: not at all."""
    begun = edge.models.sent(path)
    until(
        lambda: edge.models.sent(path) - begun >= size or not process.is_running(),
        timeout=60,
        interval=0.01,
        failure=lambda: AssertionError(f"{edge.models.sent(path) - begun} bytes of {path} in a minute, not {size}"),
    )


def _await_sent(edge: Edge, path: str, size: int) -> None:
    until(
        lambda: edge.models.sent(path) >= size,
        timeout=60,
        failure=lambda: AssertionError(f"{edge.models.sent(path)} bytes of {path} after a minute, not {size}"),
    )


def _await_asked(edge: Edge, path: str, times: int) -> None:
    until(
        lambda: len(edge.models.answers[path]) >= times,
        timeout=60,
        failure=lambda: AssertionError(f"{path} is not asked for again: {edge.models.answers[path]}"),
    )


def _await_stalled(edge: Edge, path: str) -> None:
    """Wait until nothing is taken from the server any more: its buffers are full and nobody empties them."""
    seen: list[int] = []

    def stalled() -> bool:
        seen.append(edge.models.sent(path))
        return len(seen) > 5 and len(set(seen[-5:])) == 1

    until(stalled, timeout=60, interval=0.2, failure=lambda: AssertionError(f"{path} is still taken: {seen[-5:]}"))


def _await_fetching(edge: Edge, namespace: str, name: str) -> psutil.Process:
    found = until(
        lambda: fetching(edge, namespace, name),
        timeout=60,
        interval=0.05,
        failure=lambda: AssertionError(f"nobody fetches {name}: {edge.model(namespace, name).get('status')}"),
    )
    assert found is not None
    return found
