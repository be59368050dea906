"""How models reach the node, and what never does."""

import json
from collections.abc import Iterator

import pytest
from tests.node.conftest import Namespaces
from tests.node.edge import JETSON, T4, Edge, condition
from tests.node.models import CONFIG, Artifact, archive, code, manifest, multiplier, variant
from tests.node.webserver import ModelServer

from littoral.api import group
from rig.waiting import until

pytestmark = pytest.mark.node

BAD = {
    # name: (reason, what the sentence says, whether it never heals by itself)
    "mismatch": ("DigestMismatch", "is not what was promised", True),
    "escape": ("ArchiveUnsafe", "../escaped", True),
    "larger": ("TooLarge", "more than the 1024 bytes that its size declares", True),
    "nowhere": ("SourceUnreachable", "404", False),
}


def fetched(pod: object) -> dict[str, object]:
    """The report of a pod's fetch container."""
    report: dict[str, object] = json.loads(pod.status.init_container_statuses[0].state.terminated.message)  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="module")
def away(edge: Edge) -> Iterator[ModelServer]:
    """A web server whose address is known and that does not listen yet."""
    server = ModelServer(edge.cluster.host_address)
    server.start()
    server.stop()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def bad(edge: Edge, namespaces: Namespaces, away: ModelServer) -> str:
    """A namespace with a model for each way to fail, and a healthy one between them."""
    namespace = namespaces()
    good, large = multiplier(13), multiplier(15)
    unsafe = archive("unsafe.tar", {"config.pbtxt": CONFIG.encode(), "1/model.py": code(1), "../escaped": b"out"})
    late = multiplier(21)
    sources = {
        "away": variant("any", ["cpu"], away.add(late), late.sha256),
        "mismatch": variant("any", ["cpu"], edge.models.add(multiplier(17)), "0" * 64),
        "escape": variant("any", ["cpu"], edge.models.add(unsafe), unsafe.sha256),
        "larger": variant("any", ["cpu"], edge.models.add(large), large.sha256, size="1Ki"),
        "healthy": variant("any", ["cpu"], edge.models.add(good), good.sha256),
        "nowhere": variant("any", ["cpu"], edge.models.add(good) + ".absent", good.sha256[::-1]),
    }
    for name, source in sources.items():
        edge.apply(namespace, manifest(name, [source], node=JETSON))
    return namespace


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_verified_never_reaches_triton(edge: Edge, bad: str, name: str) -> None:
    reason, words, final = BAD[name]
    found = edge.await_reason(bad, name, reason)
    assert words in condition(found, "Ready")["message"]
    assert condition(found, "Fetched")["status"] == "False"
    assert condition(found, "Stalled")["reason"] == (reason if final else "")
    for pod in edge.pods(bad, name):
        (server,) = pod.status.container_statuses
        assert server.state.waiting.reason == "PodInitializing"
        assert server.last_state.terminated is None
    events = edge.await_events(bad, name)
    assert [event.reason for event in events] == [reason]
    assert events[0].message == condition(found, "Ready")["message"]


def test_the_node_keeps_nothing_of_what_was_refused_and_others_serve_beside_it(edge: Edge, bad: str) -> None:
    edge.await_ready(bad, "healthy")
    assert edge.infer(edge.pod(bad, "healthy"), "healthy", 1) == 13
    folder = edge.node_folder(JETSON, bad)
    for name, (reason, _, _) in BAD.items():
        edge.await_reason(bad, name, reason)
    assert [entry.name for entry in (folder / "sha256").iterdir()] == [multiplier(13).sha256]
    assert list(folder.rglob("escaped")) == []
    assert not (folder.parent / "escaped").exists()
    # Tried again and again by the kubelet, and yet said once.
    pod = edge.pod(bad, "mismatch")
    until(
        lambda: (
            edge.core.read_namespaced_pod(pod.metadata.name, bad).status.init_container_statuses[0].restart_count >= 1
        ),
        timeout=60,
        failure=lambda: AssertionError("the kubelet does not try again"),
    )
    assert len(edge.await_events(bad, "mismatch")) == 1


def test_a_warm_restart_needs_no_source(edge: Edge, namespace: str) -> None:
    artifact = multiplier(11)
    edge.serve(namespace, "warm", artifact, node=T4)
    edge.await_ready(namespace, "warm")
    first = edge.pod(namespace, "warm")
    assert fetched(first)["models"][0]["source"] == "fetched"  # type: ignore[index]
    asked = edge.models.requests.count(f"/{artifact.name}")
    edge.models.stop()
    try:
        edge.core.delete_namespaced_pod(first.metadata.name, namespace)
        edge.await_model(namespace, "warm", lambda m: m["status"]["readyReplicas"] == 0, "without a replica")
        edge.await_ready(namespace, "warm")
        second = edge.pod(namespace, "warm")
        assert second.metadata.uid != first.metadata.uid
        assert edge.infer(second, "warm", 2) == 22
        report = fetched(second)
        assert report["models"][0]["source"] == "cache"  # type: ignore[index]
        assert report["kept"] == [artifact.sha256]
    finally:
        edge.models.start()
    assert edge.models.requests.count(f"/{artifact.name}") == asked == 1


def test_a_file_carried_to_the_node_is_served_with_a_generated_config(edge: Edge, namespaces: Namespaces) -> None:
    namespace = namespaces()
    carried = Artifact("carried.py", code(19))
    imports = edge.node_folder(JETSON, namespace) / "import" / "usb"
    imports.mkdir(parents=True)
    (imports / carried.name).write_bytes(carried.data)
    only = variant("any", ["cpu"], f"file:///import/usb/{carried.name}", carried.sha256)
    edge.apply(namespace, manifest("carried", [only], node=JETSON))
    edge.await_ready(namespace, "carried")
    pod = edge.pod(namespace, "carried")
    assert edge.infer(pod, "carried", 2) == 38
    assert fetched(pod)["models"][0]["source"] == "fetched"  # type: ignore[index]
    config = edge.exec(pod, "cat", f"{group.REPOSITORY_MOUNT}/carried/config.pbtxt").stdout
    assert 'backend: "python"' in config
    assert "KIND_CPU" in config


def test_a_source_that_is_down_is_tried_until_it_is_up(edge: Edge, bad: str, away: ModelServer) -> None:
    found = edge.await_reason(bad, "away", "SourceUnreachable")
    assert "Connection refused" in condition(found, "Ready")["message"]
    assert condition(found, "Stalled")["status"] == ""
    assert [event.reason for event in edge.await_events(bad, "away")] == ["SourceUnreachable"]
    away.start()
    edge.await_ready(bad, "away")
    assert edge.infer(edge.pod(bad, "away"), "away", 1) == 21
