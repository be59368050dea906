"""An update is fetched while the old revision answers: the line stands still for a restart, whatever the source."""

import re
from typing import Any

import pytest
from tests.node.conftest import Namespaces
from tests.node.edge import T4, Edge, condition
from tests.node.fetching import fetched
from tests.node.models import Artifact, heavy, multiplier, variant

from littoral.api import group
from rig.waiting import until

pytestmark = pytest.mark.node

MIB = 1 << 20
OLD, NEW = multiplier(2), heavy(3, mib=8)
RATE = MIB
"""Of the source of NEW: eight seconds of fetching."""


@pytest.fixture(scope="module")
def line(edge: Edge, namespaces: Namespaces) -> str:
    """The namespace, at Pod Security level baseline, of a model called `line` that serves on the T4."""
    namespace = namespaces()
    edge.serve(namespace, "line", OLD, node=T4)
    edge.await_ready(namespace, "line")
    return namespace


def jobs_pods(edge: Edge, namespace: str) -> list[Any]:
    """The pods of prefetch Jobs."""
    found: list[Any] = edge.core.list_namespaced_pod(namespace, label_selector=group.LABEL_PREFETCH).items
    return found


def update(edge: Edge, namespace: str, artifact: Artifact, sha256: str, rate: float | None = None) -> None:
    """Ask for another artifact."""
    uri = edge.models.add(artifact, rate=rate)
    edge.patch(namespace, "line", {"variants": [variant("any", ["cpu"], uri, sha256, size="9Mi")]})


def test_the_gap_of_an_update_from_a_slow_source_is_the_restart_alone(edge: Edge, line: str) -> None:
    before = edge.pod(line, "line")
    address = edge.core.read_namespaced_service("line", line).spec.cluster_ip
    with edge.traffic(T4, f"http://{address}:{group.HTTP_PORT}", "line") as said:
        update(edge, line, NEW, NEW.sha256, RATE)
        edge.await_model(
            line,
            "line",
            lambda m: "fetching revision" in condition(m, "Ready")["message"],
            "waiting for what is fetched",
        )
        (job,) = jobs_pods(edge, line)
        told = condition(edge.model(line, "line"), "Ready")
        assert told["reason"] == "Updating"
        assert re.search(r"fetching revision \S+ \(9Mi\) since \S+Z by the node's clock$", told["message"])
        assert edge.pod(line, "line").metadata.uid == before.metadata.uid
        edge.await_ready(line, "line")
        # Its last container was the server's image; it stood there, finished, until the update answered.
        until(
            lambda: not jobs_pods(edge, line),
            timeout=60,
            failure=lambda: AssertionError("the prefetch Job is still there"),
        )
    assert (job.spec.init_containers[0].name, job.spec.node_name) == (group.FETCH_CONTAINER, T4)
    assert [c.command for c in job.spec.containers] == [["true"]]
    assert job.spec.containers[0].image == before.spec.containers[0].image
    assert (job.spec.containers[0].resources.limits or {}) == {}

    arrived = edge.models.finished[f"/{NEW.name}"]
    assert [each for each in said if each["at"] < arrived and each.get("answer") != 2] == []
    last = max(each["at"] for each in said if each.get("answer") == 2)
    first = min(each["at"] for each in said if each.get("answer") == 3)
    fetch = arrived - min(each["at"] for each in said)
    print(f"gap in serving: {first - last:.1f} s; the old revision answered through {fetch:.1f} s of fetching")
    assert said[-1]["answer"] == 3
    report = fetched(edge.pod(line, "line"))
    assert report["models"][0]["source"] == "cache"
    assert edge.models.sent(f"/{NEW.name}") == len(NEW.data)


def test_an_update_that_is_not_what_was_promised_touches_nothing_that_serves(edge: Edge, line: str) -> None:
    before = edge.pod(line, "line")
    promised = "0" * 64
    wrong = multiplier(4)
    update(edge, line, wrong, promised)
    found = edge.await_model(line, "line", lambda m: condition(m, "Stalled")["status"] == "True", "Stalled")
    for name in ("Stalled", "Ready"):
        told = condition(found, name)["message"]
        assert wrong.sha256 in told
        assert promised in told
    after = edge.pod(line, "line")
    assert (after.metadata.uid, after.status.container_statuses[0].restart_count) == (before.metadata.uid, 0)
    assert edge.infer(after, "line", 2) == 6

    # It is put right by a spec that keeps its promise, here the one that serves already.
    update(edge, line, NEW, NEW.sha256)
    edge.await_ready(line, "line")
    assert edge.pod(line, "line").metadata.uid == before.metadata.uid
