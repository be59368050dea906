"""What a Node's labels say about its devices: gpu-feature-discovery, node-feature-discovery, MindCluster, our own.

Labels are written by many hands and all values are text: what cannot be read says nothing. A figure of one vendor's
labels is never applied to another vendor's device.
"""

import re
from typing import Final

from littoral.accelerators.profile import Profile
from littoral.api.workload import NodeFacts

NVIDIA: Final = "nvidia.com/"
HUAWEI: Final = "huawei.com/"
PRODUCT: Final = "nvidia.com/gpu.product"
STRATEGY: Final = "nvidia.com/gpu.sharing-strategy"
REPLICAS: Final = "nvidia.com/gpu.replicas"
SHARED: Final = "-SHARED"
"""gpu-feature-discovery's suffix of a product that is shared under its own resource name, without `.shared`."""
CHIP: Final = "node.kubernetes.io/npu.chip.name"
"""By ascend-device-plugin: 310, 310P3, 310B4, 910B4."""
ASCEND: Final = "accelerator"
"""By the administrator, for MindCluster: huawei-Ascend310P. Nothing in it tells a 310 from a 310B."""
SERVER: Final = "servertype"
"""By ascend-device-plugin: the resource's name and the AI cores, Ascend310P-8."""
PCI: Final = "feature.node.kubernetes.io/pci-10de.present"
"""By node-feature-discovery: a card of NVIDIA's (PCI vendor 10de)."""
TEGRA: Final = "feature.node.kubernetes.io/cpu-model.vendor_id"
"""By node-feature-discovery: NVIDIA on some Tegra, which is what a Jetson is."""
OURS: Final = {
    "node-role.kubernetes.io/edge": {""},  # KubeEdge
    "openyurt.io/is-edge-worker": {"true"},
    PCI: {"true"},
    TEGRA: {"NVIDIA"},
}
"""Labels that make a node an EdgeNode, also before anybody says what its accelerator is."""
_CHIP: Final = re.compile(r"[0-9]+[A-Z]?")


def nvidia(profile: Profile) -> bool:
    """Whether NVIDIA's labels speak of such a device."""
    return any(resource.startswith(NVIDIA) for resource in profile.resources)


def figure(node: NodeFacts, profile: Profile, name: str) -> int:
    """A figure of gpu-feature-discovery's; 0 where it says nothing, or speaks of another vendor's devices."""
    text = node.labels.get(NVIDIA + name, "")
    return int(text) if nvidia(profile) and text.isascii() and text.isdigit() else 0


def identifies(node: NodeFacts, profile: Profile) -> bool:
    """Whether the Node has every label by which the catalogue knows the profile."""
    return bool(profile.labels) and all(_matches(node, key, wanted) for key, wanted in profile.labels.items())


def contradicts(node: NodeFacts, profile: Profile) -> bool:
    """Whether the Node has a label by which the catalogue knows the profile, with another value that says something."""
    return any(_values(node, key) and not _matches(node, key, wanted) for key, wanted in profile.labels.items())


def _matches(node: NodeFacts, key: str, wanted: str | tuple[str, ...]) -> bool:
    accepted = (wanted,) if isinstance(wanted, str) else wanted
    return any(value in accepted for value in _values(node, key))


def _values(node: NodeFacts, key: str) -> tuple[str, ...]:
    """What the Node says under a label, in every spelling that means the same."""
    value = node.labels.get(key)
    if key in {ASCEND, CHIP}:
        return _ascend(node, key, value)
    if value is None:
        return ()
    return (value, value.removesuffix(SHARED)) if key == PRODUCT else (value,)


def _ascend(node: NodeFacts, key: str, value: str | None) -> tuple[str, ...]:
    """One of MindCluster's labels, or what the others come to; a 310 is one only if the chip's own label says so."""
    family = _chip_family(node)
    if key == CHIP:
        return (value, family) if value else ("310P", "310P3") if family == "310P" else ()
    if value is None:
        return (f"huawei-Ascend{family}",) if family in {"310", "310P"} else ()
    return () if value == "huawei-Ascend310" and family != "310" else (value,)


def _chip_family(node: NodeFacts) -> str:
    """The Ascend chip without its grade: 310, 310P, 310B; empty where no label names it."""
    found = _CHIP.match(node.labels.get(CHIP, ""))
    if found:
        return found[0]
    its = node.labels
    return "310P" if its.get(ASCEND) == "huawei-Ascend310P" or its.get(SERVER, "").startswith("Ascend310P-") else ""


def partitioned(node: NodeFacts) -> str:
    """The fact that says that the Node's GPUs are partitioned by MIG; empty where none does.

    mig.strategy=single alone does not: gpu-feature-discovery writes it wherever it is so configured, also on cards that
    have no MIG (NVIDIA/k8s-device-plugin, internal/lm/mig-strategy.go).
    """
    product = node.labels.get(PRODUCT, "")
    if "-MIG-" in product:
        return f"the Node label {PRODUCT}={product}"
    partitions = sorted(name for name, units in node.resources.items() if name.startswith("nvidia.com/mig-") and units)
    whole = any(node.resources.get(name) for name in ("nvidia.com/gpu", "nvidia.com/gpu.shared"))
    return f"the Node's resource {partitions[0]}" if partitions and not whole else ""
