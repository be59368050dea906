"""What a node kept through a loss of power is served again with no source in reach, if it is still what it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.node.edge import T4, Edge, condition
from tests.node.fetching import entry, fetch_log, fetched, replace_pod
from tests.node.models import Artifact, multiplier

from rig.waiting import until

pytestmark = pytest.mark.node

ANOTHER_BOOT = "00000000-0000-4000-8000-000000000000"
ARTIFACT = multiplier(31)
NAME = "survives"


@pytest.fixture(scope="module")
def stored(edge: Edge, namespace: str) -> Path:
    """The cache's entry of a model that serves."""
    edge.serve(namespace, NAME, ARTIFACT, node=T4)
    edge.await_ready(namespace, NAME)
    return entry(edge, T4, namespace, ARTIFACT.sha256)


@pytest.fixture
def sources_down(edge: Edge) -> Iterator[None]:
    """No source answers."""
    edge.models.stop()
    yield
    edge.models.start()


def of_another_boot(stored: Path) -> None:
    """Rewrite the marker as another boot would have left it: the nodes here share the machine's kernel and its id."""
    marker = stored / "verified.json"
    content = json.loads(marker.read_bytes())
    assert content["boot"] == this_boot()
    marker.write_text(json.dumps({**content, "boot": ANOTHER_BOOT}), encoding="utf-8")


def this_boot() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def test_a_node_that_lost_power_serves_again_with_every_source_down(
    edge: Edge, namespace: str, stored: Path, sources_down: None
) -> None:
    before = edge.pod(namespace, NAME)
    node = edge.cluster.nodes[T4]
    node.power_off()
    of_another_boot(stored)
    edge.cluster.power_on(T4)
    after = until(
        lambda: _restarted(edge, namespace, before),
        timeout=120,
        interval=0.3,
        failure=lambda: AssertionError(edge.pod(namespace, NAME).status),
    )
    # Its node is a new member of the network, and the router has yet to find its way there.
    answer = until(
        lambda: _answer(edge, namespace),
        timeout=60,
        interval=0.3,
        failure=lambda: AssertionError(f"nobody answers at {edge.pod(namespace, NAME).status.pod_ip}"),
    )
    assert answer == 62
    report = fetched(after)
    assert (report["outcome"], report["models"][0]["source"]) == ("ok", "cache")
    # The copy was written under another boot, so it was read once more before it was loaded, and is trusted again.
    assert "it is compared with its listing" in fetch_log(edge, after)
    assert json.loads((stored / "verified.json").read_bytes())["boot"] == this_boot()
    edge.await_ready(namespace, NAME)


def test_a_copy_that_lost_a_bit_is_never_loaded_and_is_fetched_anew(edge: Edge, namespace: str, stored: Path) -> None:
    code = stored / "content" / "1" / "model.py"
    rotten = bytearray(code.read_bytes())
    rotten[len(rotten) // 2] ^= 1
    code.write_bytes(rotten)
    of_another_boot(stored)
    edge.models.stop()
    try:
        replace_pod(edge, namespace, NAME)
        found = edge.await_reason(namespace, NAME, "SourceUnreachable")
        assert condition(found, "Fetched")["status"] == "False"
        (server,) = edge.pod(namespace, NAME).status.container_statuses
        assert server.state.waiting.reason == "PodInitializing"
    finally:
        edge.models.start()
    edge.await_ready(namespace, NAME)
    pod = edge.pod(namespace, NAME)
    assert fetched(pod)["models"][0]["source"] == "fetched"
    assert code.read_bytes() == _member(ARTIFACT)
    assert edge.infer(pod, NAME, 2) == 62


def _restarted(edge: Edge, namespace: str, before: Any) -> Any:
    """The same pod once it runs anew and answers."""
    (pod,) = [p for p in edge.pods(namespace, NAME) if p.metadata.uid == before.metadata.uid]
    (server,) = pod.status.container_statuses
    anew = server.container_id != before.status.container_statuses[0].container_id
    return pod if anew and server.ready else None


def _answer(edge: Edge, namespace: str) -> int | None:
    """What it makes of 2; None where its address is not reached."""
    try:
        return edge.infer(edge.pod(namespace, NAME), NAME, 2)
    except OSError:
        return None


def _member(artifact: Artifact) -> bytes:
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(artifact.data)) as tar:
        file = tar.extractfile("1/model.py")
        assert file is not None
        return file.read()
