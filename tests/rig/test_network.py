from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig import network
from rig.errors import RigError
from rig.network import Plan


@pytest.mark.parametrize(
    ("taken", "supernet", "services"),
    [
        ([], "10.210.0.0/16", "10.211.0.0/16"),
        (["10.210.7.0/24"], "10.211.0.0/16", "10.212.0.0/16"),
        (["10.211.0.1/32"], "10.210.0.0/16", "10.212.0.0/16"),
        (["10.208.0.0/14"], "10.212.0.0/16", "10.213.0.0/16"),
        (["172.17.0.0/16", "192.168.0.0/16"], "10.210.0.0/16", "10.211.0.0/16"),
    ],
)
def test_addresses_avoid_what_the_machine_has(taken: list[str], supernet: str, services: str) -> None:
    plan = network.choose("lit123456", map(IPv4Network, taken))
    assert (str(plan.supernet), str(plan.services)) == (supernet, services)


def test_a_machine_that_routes_all_of_it_is_told_so() -> None:
    with pytest.raises(RigError, match="free networks"):
        network.choose("lit123456", [IPv4Network("10.0.0.0/8")])


@given(st.sets(st.integers(1, 240), min_size=2, max_size=2))
def test_no_two_nodes_share_an_address(pair: set[int]) -> None:
    first, second = pair
    plan = Plan("lit123456", IPv4Network("10.210.0.0/16"), IPv4Network("10.211.0.0/16"))
    cables = plan.pods(0)
    fixed = {plan.host_address, plan.router_address}
    assert len({plan.node_address(first), plan.node_address(second), *fixed}) == 4
    assert not plan.pods(first).overlaps(plan.pods(second))
    assert not plan.pods(first).overlaps(cables)


def test_the_default_route_is_not_a_network_that_is_taken() -> None:
    routes: list[dict[str, object]] = [
        {"dst": "default"},
        {"dst": "192.0.2.0/24"},
        {"dst": "10.0.0.1"},
        {"dst": "fe80::/64"},
        {"type": "x"},
    ]
    assert network.networks_in(routes) == [IPv4Network("192.0.2.0/24"), IPv4Network("10.0.0.1/32")]
