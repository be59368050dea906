"""The nodes' network: a switch in a namespace of its own, to which the host and every node have a cable.

    host (SUBNET.2) ──┐
    edge-a (SUBNET.11) ─┤ switch namespace: bridge and router (SUBNET.1)
    edge-b (SUBNET.12) ─┘

The host gets one interface and one route, and nothing else: no bridge, no forwarding, no iptables rule, so that a
Docker on it is neither disturbed nor in the way. The switch routes each node's pods to that node. Cutting a node off is
taking its port on the switch down. Both the namespaces and the interface are named after the cluster (see
`paths.cluster_id`); deleting the switch's namespace deletes every cable and every route with it.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.errors import RigError

_CANDIDATES = tuple(ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(210, 250))
_FIRST_NODE = 10
_NAMESPACES = Path("/run/netns")


@dataclass(frozen=True)
class Plan:
    """The addresses of one cluster, all out of one /16: its first /24 is the cable network, the others are pods'."""

    cluster: str
    supernet: ipaddress.IPv4Network
    services: ipaddress.IPv4Network

    @property
    def switch(self) -> str:
        """The switch's network namespace."""
        return f"{self.cluster}-switch"

    @property
    def host_address(self) -> str:
        """The host's address on the cable network: where the API server listens, and what pods can fetch from."""
        return str(self.supernet[2])

    @property
    def router_address(self) -> str:
        """The switch's own address: the nodes' default route."""
        return str(self.supernet[1])

    def node_address(self, index: int) -> str:
        """The address of node `index` (from 1)."""
        return str(self.supernet[_FIRST_NODE + index])

    def pods(self, index: int) -> ipaddress.IPv4Network:
        """The pod addresses of node `index` (from 1)."""
        return list(self.supernet.subnets(new_prefix=24))[index]

    def namespace(self, node: str) -> str:
        """The network namespace of a node."""
        return f"{self.cluster}-{node}"


def choose(cluster: str, taken: Iterable[ipaddress.IPv4Network]) -> Plan:
    """Addresses that overlap with none of the networks in `taken` (what this machine has or has routes to)."""
    used = list(taken)
    free = [network for network in _CANDIDATES if not any(network.overlaps(other) for other in used)]
    if len(free) < 2:
        raise RigError(f"no two free networks among {_CANDIDATES[0]} to {_CANDIDATES[-1]}: this machine routes to them")
    return Plan(cluster, free[0], free[1])


def networks_in(routes: Sequence[dict[str, object]]) -> list[ipaddress.IPv4Network]:
    """The networks that `ip -json route show table all` names, less the default route, which covers everything."""
    found = []
    for route in routes:
        destination = str(route.get("dst", "default"))
        if destination not in {"default", "0.0.0.0/0"} and ":" not in destination:
            found.append(ipaddress.IPv4Network(destination, strict=False))
    return found


def taken() -> list[ipaddress.IPv4Network]:
    """The networks that this machine has already."""
    return networks_in(json.loads(ip("-4", "-json", "route", "show", "table", "all") or "[]"))


def ip(*arguments: str) -> str:
    """Run iproute2's `ip`; raises RigError with its own words."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RigError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def lay(plan: Plan) -> None:
    """Make the switch and the host's cable to it."""
    ip("netns", "add", plan.switch)
    inside = ("-n", plan.switch)
    ip(*inside, "link", "set", "lo", "up")
    ip(*inside, "link", "add", "switch", "type", "bridge", "forward_delay", "0")
    ip(*inside, "addr", "add", f"{plan.router_address}/24", "dev", "switch")
    ip(*inside, "link", "set", "switch", "up")
    _set_forwarding(plan.switch)
    ip("link", "add", plan.cluster, "type", "veth", "peer", "name", "host", "netns", plan.switch)
    ip(*inside, "link", "set", "host", "master", "switch", "up")
    ip("addr", "add", f"{plan.host_address}/24", "dev", plan.cluster)
    ip("link", "set", plan.cluster, "up")
    ip("route", "add", str(plan.supernet), "via", plan.router_address)


def plug(plan: Plan, node: str, index: int) -> None:
    """Make a node's namespace and its cable, and route its pods to it."""
    namespace = plan.namespace(node)
    ip("netns", "add", namespace)
    inside = ("-n", namespace)
    ip("-n", plan.switch, "link", "add", _port(index), "type", "veth", "peer", "name", "eth0", "netns", namespace)
    ip("-n", plan.switch, "link", "set", _port(index), "master", "switch", "up")
    ip(*inside, "link", "set", "lo", "up")
    ip(*inside, "addr", "add", f"{plan.node_address(index)}/24", "dev", "eth0")
    ip(*inside, "link", "set", "eth0", "up")
    ip(*inside, "route", "add", "default", "via", plan.router_address)
    _set_forwarding(namespace)
    ip("-n", plan.switch, "route", "add", str(plan.pods(index)), "via", plan.node_address(index))


def unplug(plan: Plan, node: str, index: int) -> None:
    """Take a node's namespace and its cable away, with all that was in it: a machine without power. Undoes `plug`."""
    ip("-n", plan.switch, "route", "delete", str(plan.pods(index)))
    ip("-n", plan.switch, "link", "delete", _port(index))
    # When it is back its card has another hardware address, and no announcement tells the router.
    ip("-n", plan.switch, "neighbour", "flush", "to", plan.node_address(index))
    ip("netns", "delete", plan.namespace(node))


def set_cable(plan: Plan, index: int, *, connected: bool) -> None:
    """Pull or put back a node's cable, at the switch: inside the node its addresses and its pods stay as they are."""
    ip("-n", plan.switch, "link", "set", _port(index), "up" if connected else "down")
    if connected:  # the kernel dropped nothing of the switch's routes, but a bridge port forgets its own state
        ip("-n", plan.switch, "route", "replace", str(plan.pods(index)), "via", plan.node_address(index))


def tear(cluster: str) -> list[str]:
    """Remove every namespace and the interface of `cluster`, whatever there is of them; returns what was removed."""
    removed = []
    for path in sorted(_NAMESPACES.glob(f"{cluster}-*")):
        ip("netns", "delete", path.name)
        removed.append(f"network namespace {path.name}")
    if Path(f"/sys/class/net/{cluster}").exists():
        # A namespace is destroyed some time after its last process ended, and its cables with it.
        subprocess.run(["ip", "link", "delete", cluster], capture_output=True, check=False)
        removed.append(f"interface {cluster}")
    return removed


def _port(index: int) -> str:
    return f"node{index}"


def _set_forwarding(namespace: str) -> None:
    done = subprocess.run(
        ["nsenter", f"--net={_NAMESPACES / namespace}", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RigError(f"forwarding could not be turned on in the namespace {namespace}: {done.stderr.strip()}")
