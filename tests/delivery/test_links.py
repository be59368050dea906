"""Every kind of source over links that are slow, late, cut and reset: in the end the model is there."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.delivery.conftest import Servers
from tests.delivery.node import Node, Published

from littoral.modelstore.transfer import Patience
from rig.servers.faults import FaultyLink, faulty
from rig.servers.toxiproxy import Link
from rig.waiting import until

pytestmark = pytest.mark.contract

STUBBORN = Patience(attempts=200, staked=3600.0, sleep=lambda _: time.sleep(0.01))
"""Does not give up while a test disturbs the link; the waits only keep it from spinning."""

DISTURBANCES: dict[str, Callable[[Link], None]] = {
    "cut": lambda link: link.poison("limit_data", bytes=50_000),
    "reset": lambda link: link.poison("reset_peer", timeout=0),
    "silent, then closed": lambda link: link.poison("timeout", timeout=100),
    "down": Link.down,
}


def test_a_sound_link_delivers(node: Node, published: Published) -> None:
    report = node.fetch(node.request(published))

    assert report.ok, report.message
    assert (report.models[0].digest, report.models[0].source) == (published.sha256, "fetched")
    assert node.serves(published)


def test_what_arrived_is_served_with_the_source_gone(node: Node, servers: Servers, published: Published) -> None:
    with servers.toxiproxy.link(published.upstream) as link:
        request = node.request(published, link.address)
        assert node.fetch(request).ok
        link.down()
        report = node.fetch(request)

    assert report.ok, report.message
    assert report.models[0].source == "cache"
    assert node.serves(published)


def test_a_slow_link_takes_its_time(node: Node, servers: Servers, published: Published) -> None:
    with servers.toxiproxy.link(published.upstream) as link:
        link.poison("bandwidth", rate=2_000)
        link.poison("latency", latency=20)
        link.poison("slow_close", delay=20)
        report = node.fetch(node.request(published, link.address))

    assert report.ok, report.message
    assert report.models[0].seconds > 0.25, "2 MB/s was the bound"
    assert node.serves(published)


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_link_that_fails_in_mid_download_is_survived(
    node: Node, servers: Servers, published: Published, disturbance: str
) -> None:
    with (
        servers.toxiproxy.link(published.upstream) as link,
        faulty(link.address) as seen,
        ThreadPoolExecutor() as threads,
    ):
        link.poison("bandwidth", rate=2_000)
        run = threads.submit(node.fetch, node.request(published, seen.address), STUBBORN)
        until(lambda: seen.carried > 100_000, timeout=20, interval=0.005, failure=lambda: _stuck(seen))
        ended = seen.ended
        DISTURBANCES[disturbance](link)
        until(lambda: seen.ended > ended, timeout=20, interval=0.005, failure=lambda: _stuck(seen))
        assert node.empty(), "nothing is there for Triton before all of it is"
        seen.reroute(published.upstream)
        report = run.result(timeout=30)

    assert report.ok, report.message
    assert node.serves(published)


def test_a_link_that_stays_down_is_named_and_leaves_nothing_for_triton(
    node: Node, servers: Servers, published: Published
) -> None:
    with servers.toxiproxy.link(published.upstream) as link:
        request = node.request(published, link.address)
        link.down()
        report = node.fetch(request)

        assert (report.outcome, report.reason) == ("failed", "SourceUnreachable")
        assert link.address in report.message
        assert node.empty()

        link.up()
        assert node.fetch(request).ok
        assert node.serves(published)


def _stuck(link: FaultyLink) -> AssertionError:
    return AssertionError(f"after {link.carried} bytes and {link.ended} connections")
