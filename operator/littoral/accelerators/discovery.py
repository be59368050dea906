"""Which devices a node has, concluded from what its EdgeNode declares and from what its Node shows.

The order of trust: the EdgeNode's declaration, the Node label littoral.dev/profile, the labels by which the catalogue
identifies a profile. How many units there are is what the kubelet says (allocatable): labels and declarations can only
lower it. A contradiction never raises capacity; it becomes CapacityKnown=False with both figures and what to do.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.device import Device, Discovery
from littoral.accelerators.profile import CPU, Mechanism, Profile
from littoral.api.conditions import CAPACITY_KNOWN, Finding
from littoral.api.edgenode import EdgeNodeSpec
from littoral.api.group import CATALOGUE_CONFIGMAP, LABEL_POOL, LABEL_PROFILE, OPERATOR_NAMESPACE
from littoral.api.quantity import to_mib
from littoral.api.workload import NodeFacts

NVIDIA = "nvidia.com/"
LABEL_ZONE = "topology.kubernetes.io/zone"
EDGE_ROLES = {
    "node-role.kubernetes.io/edge": {""},  # KubeEdge
    "openyurt.io/is-edge-worker": {"true"},
}


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody says that the node has `count` devices of this profile, each cut into `shares`; 0 is not said."""

    profile: Profile
    count: int
    shares: int
    source: str


@dataclass(frozen=True, slots=True)
class _Problem:
    reason: str
    message: str


def discover(
    node: NodeFacts,
    edge: EdgeNodeSpec,
    catalogue: Catalogue,
    runtime_classes: AbstractSet[str] | None = None,  # noqa: ARG001
) -> Discovery:
    """The node's devices, its pool and site, and whether its capacity is known.

    `runtime_classes` are those that exist in the cluster; None where nobody can say.
    """
    problems: list[_Problem] = []
    read = _declared if edge.accelerators else _shown
    claims = read(node, edge, catalogue, problems)
    node_memory = max(0, node.memory - to_mib(edge.reserved.memory))
    devices = [_device(claim, node, edge, catalogue, problems) for claim in claims]
    devices = _unmixed(devices, problems)
    cpu = Device(
        CPU,
        catalogue.platform(catalogue.cpu),
        node_memory,
        "cpu",
        cpu=node.cpu,
        source="every Node has its own cores and memory",
    )
    family = devices[0].profile.family if devices else CPU
    return Discovery(
        devices=(*devices, cpu),
        findings=(_capacity(devices, problems),),
        pool=edge.pool or node.labels.get(LABEL_POOL) or family,
        site=node.labels.get(LABEL_ZONE, ""),
    )


def selected(node: NodeFacts, catalogue: Catalogue) -> bool:
    """Whether the operator makes an EdgeNode for this Node: it has a known accelerator, or somebody says it is ours."""
    labels = node.labels
    if LABEL_PROFILE in labels or LABEL_POOL in labels:
        return True
    if any(labels.get(role) in values for role, values in EDGE_ROLES.items()):
        return True
    return any(resource in node.resources for profile in catalogue.profiles.values() for resource in profile.resources)


def _declared(node: NodeFacts, edge: EdgeNodeSpec, catalogue: Catalogue, problems: list[_Problem]) -> list[_Claim]:
    """What the EdgeNode says, and where the Node's labels contradict it."""
    claims: dict[str, _Claim] = {}
    for declared in edge.accelerators:
        profile = catalogue.get(declared.profile)
        if profile is None:
            problems.append(_unknown("spec.accelerators", declared.profile))
        elif profile.is_cpu:
            continue  # every node has it
        elif profile.name in claims:
            claims[profile.name] = replace(claims[profile.name], count=claims[profile.name].count + declared.count)
        else:
            claims[profile.name] = _Claim(profile, declared.count, declared.sharing.replicas, "spec.accelerators")
    for shown in _shown(node, edge, catalogue, []):
        rival = next((c for c in claims.values() if set(c.profile.resources) & set(shown.profile.resources)), None)
        if rival is not None and shown.profile.name not in claims:
            problems.append(
                _mismatch(
                    f"spec.accelerators declares {rival.profile.name}, but {shown.source} says {shown.profile.name}",
                    "correct the one that is wrong; until then the declaration holds",
                )
            )
    for claim in claims.values():
        count = _label(node, claim.profile, "gpu.count")
        if count and count != claim.count:
            problems.append(
                _mismatch(
                    f"spec.accelerators declares {claim.count} x {claim.profile.name}, but the Node label "
                    f"nvidia.com/gpu.count says {count}",
                    "correct `count`",
                )
            )
    return list(claims.values())


def _shown(
    node: NodeFacts,
    edge: EdgeNodeSpec,  # noqa: ARG001 (as _declared)
    catalogue: Catalogue,
    problems: list[_Problem],
) -> list[_Claim]:
    """What the Node's labels say: littoral.dev/profile, else for each resource the profile that fits most closely."""
    named = node.labels.get(LABEL_PROFILE)
    if named is not None:
        profile = catalogue.get(named)
        if profile is None:
            problems.append(_unknown(f"Node label {LABEL_PROFILE}", named))
        if profile is None or profile.is_cpu:
            return []
        return [_labelled(node, profile, f"Node label {LABEL_PROFILE}={named}")]
    matches = [profile for profile in catalogue.profiles.values() if _identified(node, profile)]
    # More labels in common is a closer match (a product before a family); the name decides what is left.
    matches.sort(key=lambda profile: (-len(profile.labels), profile.name))
    claims: list[_Claim] = []
    taken: set[str] = set()
    for profile in matches:
        if taken.isdisjoint(profile.resources):
            taken.update(profile.resources)
            key = min(profile.labels)
            claims.append(_labelled(node, profile, f"Node label {key}={node.labels[key]}"))
    return claims


def _identified(node: NodeFacts, profile: Profile) -> bool:
    return bool(profile.labels) and all(
        node.labels.get(key) in ((value,) if isinstance(value, str) else value) for key, value in profile.labels.items()
    )


def _labelled(node: NodeFacts, profile: Profile, source: str) -> _Claim:
    return _Claim(profile, _label(node, profile, "gpu.count"), max(1, _label(node, profile, "gpu.replicas")), source)


def _label(node: NodeFacts, profile: Profile, name: str) -> int:
    """A figure of gpu-feature-discovery's; 0 where it says nothing, or speaks of another vendor's devices."""
    text = node.labels.get(NVIDIA + name, "")
    ours = any(resource.startswith(NVIDIA) for resource in profile.resources)
    return int(text) if ours and text.isascii() and text.isdigit() else 0


def _device(
    claim: _Claim, node: NodeFacts, edge: EdgeNodeSpec, catalogue: Catalogue, problems: list[_Problem]
) -> Device:
    """The devices of one claim, with the units that may be handed out: 0 where it is not safe to hand out any."""
    profile = claim.profile
    advertised = [name for name in profile.resources if name in node.resources]
    resource = max(advertised, key=lambda name: node.resources[name] > 0, default=profile.resources[0])
    there = node.resources.get(resource, 0)
    count = claim.count or max(1, there // claim.shares)
    expected = count * claim.shares
    units = min(expected, there)
    if there == 0:
        problems.append(
            _Problem(
                "ResourceMissing",
                f"the Node does not advertise {resource}, so nothing new is placed on its {profile.name}: "
                "see that the device plugin runs; what is bound stays",
            )
        )
    elif claim.source == "spec.accelerators" and there != expected:
        problems.append(
            _mismatch(
                f"spec.accelerators declares {count} x {profile.name} in {claim.shares} shares each, {expected} units "
                f"of {resource}, but the Node advertises {there}",
                "correct `count` and `sharing.replicas`, or the device plugin's configuration",
            )
        )
    if there > expected and count > 1:
        units = 0  # more units than shares: two of them may lie on one device, and nobody says which
    mechanism: Mechanism = profile.sharing[0]
    if claim.shares > 1 and "counted" in profile.sharing:
        mechanism = "counted"
    elif claim.shares > 1:
        units = 0
        problems.append(
            _Problem(
                "SharingUnsupported",
                f"each {profile.name} is cut into {claim.shares} shares, but such a device can only be given whole",
            )
        )
    if profile.unified:
        node_memory = max(0, node.memory - to_mib(edge.reserved.memory))
        memory = min(node_memory, to_mib(profile.memory)) if profile.memory else node_memory
    else:
        sizes = (to_mib(profile.memory or "0"), _label(node, profile, "gpu.memory"))
        memory = max(0, min(size for size in sizes if size) - to_mib(edge.reserved.memory))
    name = f"{profile.name}-0" if count == 1 else profile.name
    return Device(
        name, catalogue.platform(profile), memory, mechanism, claim.shares, count, resource, units, source=claim.source
    )


def _unmixed(devices: list[Device], problems: list[_Problem]) -> list[Device]:
    """Unlike devices under one resource name cannot be told apart by a pod: none of them is handed out."""
    shared = Counter(device.resource for device in devices)
    if all(times == 1 for times in shared.values()):
        return devices
    for resource in sorted(str(name) for name, times in shared.items() if times > 1):
        kinds = " and ".join(device.profile.name for device in devices if device.resource == resource)
        problems.append(
            _Problem(
                "UnlikeDevices",
                f"{kinds} are both advertised as {resource}, so a pod may get either: have the device plugins "
                "advertise them under names of their own",
            )
        )
    return [replace(device, units=0) if shared[device.resource] > 1 else device for device in devices]


def _capacity(devices: Iterable[Device], problems: list[_Problem]) -> Finding:
    if problems:
        message = "; ".join(problem.message for problem in problems)
        return Finding(CAPACITY_KNOWN, "False", problems[0].reason, message)
    known = list(devices)
    if not known:
        return Finding(CAPACITY_KNOWN, "True", "NoAccelerator", "No accelerator is declared or shown: cpu only")
    reason = "Declared" if known[0].source == "spec.accelerators" else "Discovered"
    parts = (f"{device.count} x {device.profile.name} ({device.source})" for device in known)
    return Finding(CAPACITY_KNOWN, "True", reason, ", ".join(parts))


def _unknown(where: str, word: str) -> _Problem:
    return _Problem(
        "UnknownProfile",
        f"{where} names the profile {word!r}, which the catalogue does not have: correct it, or add the profile "
        f"to the ConfigMap {CATALOGUE_CONFIGMAP} in the namespace {OPERATOR_NAMESPACE}",
    )


def _mismatch(figures: str, remedy: str) -> _Problem:
    return _Problem("DeclaredMismatch", f"{figures}: {remedy}")
