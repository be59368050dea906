"""Whatever the link does, wherever: a fetch succeeds or names why not, and no unverified byte is within Triton's reach.

The faults strike at bytes that hypothesis draws, over every kind of source; the same draw does the same again.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.delivery.conftest import KINDS, Servers
from tests.delivery.node import Node

from littoral.modelstore.errors import REASONS
from littoral.modelstore.report import Report
from littoral.modelstore.sources import http, stores
from rig.servers.faults import Fault, FaultyLink, faulty
from rig.waiting import until

pytestmark = pytest.mark.contract

NAMED = frozenset(REASONS) - {"InternalError", "RequestInvalid", "CacheUnusable"}
"""What a fault of the link or of the source may be called: nothing that blames this program or the node's disk."""
LENGTH = 700_000
"""Beyond the last byte of any artifact here as it travels."""

PLACES = st.one_of(st.integers(0, 2_000), st.integers(0, LENGTH))
"""The heads of answers, and anywhere."""
FAULTS = st.lists(
    st.builds(Fault, kind=st.sampled_from(["flip", "cut", "reset"]), at=PLACES, every=st.booleans()),
    min_size=1,
    max_size=4,
)
# A process is patient: with what never ends, or with a length that a flip made too long, it would be for minutes.
ENDING = st.lists(
    st.one_of(
        st.builds(Fault, kind=st.sampled_from(["cut", "reset"]), at=PLACES),
        st.builds(Fault, kind=st.just("flip"), at=st.integers(2_000, LENGTH)),
    ),
    min_size=1,
    max_size=3,
)
examples = settings(
    deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
processes = settings(examples, phases=[Phase.explicit, Phase.reuse, Phase.generate], max_examples=6)
"""A few examples, as they were drawn: seconds each."""


@pytest.fixture(scope="module")
def hasty() -> Iterator[None]:
    """An answer that stays away counts as cut after a second, not after thirty: of a length that a flip made longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "READ_TIMEOUT", 1.0)
        patch.setattr(stores, "READ_TIMEOUT", 1.0)
        yield


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(faults=FAULTS)
@settings(examples, max_examples=6)
@pytest.mark.usefixtures("hasty")
def test_a_fetch_over_a_faulty_link(servers: Servers, kind: str, faults: list[Fault]) -> None:
    published = KINDS[kind](servers)
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder))
        with faulty(published.upstream, *faults) as link:
            request = node.request(published, link.address)
            first = node.fetch(request)
            assert node.wrong(published) == ""
            assert_told(first, node.serves(published), node.empty())
            link.mend()
            second = node.fetch(request)

        assert node.wrong(published) == ""
        assert_told(second, node.serves(published), node.empty())
        # A mismatch is not fetched again at once; any other trouble is over when the link is sound.
        assert second.ok or first.reason == "DigestMismatch"


@given(kind=st.sampled_from(sorted(KINDS)), faults=ENDING)
@processes
def test_a_container_over_a_faulty_link(servers: Servers, kind: str, faults: list[Fault]) -> None:
    published = KINDS[kind](servers)
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder))
        with faulty(published.upstream, *faults) as link, node.watched(published):
            with node.container(node.request(published, link.address)) as container:
                container.communicate(timeout=60)
            report = node.report()

            assert container.returncode == int(not report.ok)
            assert_told(report, node.serves(published), node.empty())


@given(kind=st.sampled_from(sorted(KINDS)), deaths=st.lists(st.integers(0, LENGTH), min_size=1, max_size=3))
@processes
def test_a_container_killed_at_any_byte(servers: Servers, kind: str, deaths: list[int]) -> None:
    published = KINDS[kind](servers)
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder))
        with servers.toxiproxy.link(published.upstream) as slow, faulty(slow.address) as link, node.watched(published):
            slow.poison("bandwidth", rate=4_000)
            request = node.request(published, link.address)
            for death in deaths:
                with node.container(request) as container:
                    kill_at(container, link, link.carried + death)
            link.reroute(published.upstream)
            with node.container(request) as container:
                container.communicate(timeout=60)

            assert node.report().ok, node.report().message
            assert node.serves(published)


def kill_at(container: "subprocess.Popen[str]", link: FaultyLink, carried: int) -> None:
    """Kill the container when the link has carried so many bytes, unless it has ended before."""
    until(
        lambda: link.carried >= carried or container.poll() is not None,
        timeout=60,
        interval=0.001,
        failure=lambda: AssertionError(f"after {link.carried} bytes"),
    )
    container.kill()
    container.communicate()


def assert_told(report: Report, serves: bool, empty: bool) -> None:
    if report.ok:
        assert serves
    else:
        assert report.reason in NAMED, f"{report.reason}: {report.message}"
        assert report.message
        assert empty
