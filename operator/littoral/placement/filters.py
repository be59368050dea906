"""The filters: small pure functions, each (what is asked, node) -> why not, in the order in which they are asked.

What keeps a bound replica where it is (STAY) is less than what lets a new one in (ADMIT): a cordon, a taint or a node
that is not ready moves nothing that serves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from littoral.accelerators.device import Device
from littoral.api.inferencemodel import InferenceModel, Toleration
from littoral.api.workload import Taint
from littoral.placement.host import NO_NEEDS, Needs, needs
from littoral.placement.nodes import NodeView
from littoral.placement.wants import Demand
from littoral.slicing.provider import Refusal

_SENTENCE: Final = 200


@dataclass(frozen=True, slots=True)
class Ask:
    """What a replica, or a reservation, asks of a node."""

    demand: Demand
    pools: tuple[str, ...] = ()
    selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    namespace: tuple[tuple[str, str], ...] = ()
    """Labels of its namespace, sorted."""
    needs: Needs = NO_NEEDS
    """Of the machine beside its accelerator."""


def ask(model: InferenceModel, demand: Demand, namespace: Mapping[str, str]) -> Ask:
    """What a model's replica asks; `namespace` are the labels of its namespace."""
    placement = model.spec.placement
    return Ask(
        demand,
        placement.pools,
        tuple(sorted(placement.node_selector.items())),
        placement.tolerations,
        tuple(sorted(namespace.items())),
        needs(model.spec.serving),
    )


def in_pool(asked: Ask, node: NodeView) -> Refusal | None:
    """The user's own division of the fleet comes before anything that Littoral finds out."""
    if not asked.pools or node.discovery.pool in asked.pools:
        return None
    return Refusal("OtherPool", "in other pools")


def has_labels(asked: Ask, node: NodeView) -> Refusal | None:
    """The Deployment is pinned by name, so the scheduler would never look at a selector: it is honoured here."""
    labels: Mapping[str, str] = node.facts.labels if node.facts else {}
    if all(labels.get(key) == value for key, value in asked.selector):
        return None
    return Refusal("SelectorMismatch", "without the labels of nodeSelector")


def is_allowed(asked: Ask, node: NodeView) -> Refusal | None:
    """Whose machine it is says whose models may use it."""
    selector = node.edge.spec.allowed_namespaces.selector if node.edge else None
    if selector is None or selector.empty or selector.matches(dict(asked.namespace)):
        return None
    return Refusal("NamespaceNotAllowed", "closed to its namespace")


def is_connected(_: Ask, node: NodeView) -> Refusal | None:
    """Nothing new goes where nobody can say whether it arrived."""
    return None if node.presence == "Connected" else Refusal("Offline", "offline")


def not_cordoned(_: Ask, node: NodeView) -> Refusal | None:
    """The EdgeNode's own cordon and kubectl's both mean: nothing new."""
    cordoned = (node.edge and node.edge.spec.cordoned) or (node.facts and node.facts.unschedulable)
    return Refusal("Cordoned", "cordoned") if cordoned else None


def is_ready(_: Ask, node: NodeView) -> Refusal | None:
    """A node that says itself that it is not ready would not start a pod."""
    return None if node.facts and node.facts.ready == "True" else Refusal("NotReady", "not ready")


NodeFilter = Callable[[Ask, NodeView], Refusal | None]
STAY: Final[tuple[NodeFilter, ...]] = (in_pool, has_labels, is_allowed)
ADMIT: Final[tuple[NodeFilter, ...]] = (in_pool, has_labels, is_allowed, is_connected, not_cordoned, is_ready)

# Written by the node lifecycle controller and by the kubelet: connectivity and readiness are judged by the filters
# above, pressure is the kubelet's to judge when the pod arrives.
_CONDITIONS: Final = frozenset(
    f"node.kubernetes.io/{name}"
    for name in (
        "unreachable",
        "not-ready",
        "unschedulable",
        "memory-pressure",
        "disk-pressure",
        "pid-pressure",
        "network-unavailable",
    )
)


def tolerates(asked: Ask, node: NodeView, device: Device) -> Refusal | None:
    """The scheduler and the kubelet would refuse the pod: its tolerations are the model's and the stack's."""
    for taint in node.facts.taints if node.facts else ():
        if taint.effect == "PreferNoSchedule" or taint.key in _CONDITIONS:
            continue
        if not any(_matches(toleration, taint) for toleration in (*asked.tolerations, *device.stack.tolerations)):
            value = f"={taint.value}" if taint.value else ""
            return Refusal("Tainted", f"with the taint {taint.key}{value}:{taint.effect}")
    return None


def same_architecture(_: Ask, node: NodeView, device: Device) -> Refusal | None:
    """The profile's image is built for one architecture; a declaration on the wrong machine would only crash there."""
    profile, architecture = device.profile, node.facts.architecture if node.facts else ""
    if not profile.architecture or not architecture or profile.architecture == architecture:
        return None
    return Refusal("OtherArchitecture", f"of {architecture}, not the {profile.architecture} of {profile.name}")


def not_excluded(_: Ask, node: NodeView, device: Device) -> Refusal | None:
    """What the scheduler or the kubelet refused a moment ago they would refuse again: tried later."""
    for excluded in node.exclusions:
        if excluded.device == device.id:
            why = excluded.message or excluded.reason
            return Refusal("Excluded", f"whose {device.id} is not tried for a while: {why[:_SENTENCE]}")
    return None


DeviceFilter = Callable[[Ask, NodeView, Device], Refusal | None]
DEVICE: Final[tuple[DeviceFilter, ...]] = (tolerates, same_architecture, not_excluded)


def _matches(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.operator == "Exists":
        return toleration.key in ("", taint.key)
    return toleration.key == taint.key and toleration.value == taint.value
