"""What discovery works on: one node's facts, what may be looked up beside them, and the contradictions found so far.

A problem is a sentence for the EdgeNode's condition CapacityKnown: both figures where two facts differ, and what to do.
The sentences that several mechanisms share stand here, so that the same cause always reads the same.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Literal

from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.profile import Mechanism, Profile
from littoral.api.edgenode import EdgeNodeSpec
from littoral.api.group import CATALOGUE_CONFIGMAP, LABEL_PROFILE, OPERATOR_NAMESPACE
from littoral.api.workload import NodeFacts

DECLARATION: Final = "spec.accelerators"
TELL: Final = f"set the Node label {LABEL_PROFILE}, or {DECLARATION} of the EdgeNode"
"""What to do where nobody says which device it is."""

Reason = Literal[
    "AmbiguousDevice",
    "DeclaredMismatch",
    "DeviceUnhealthy",
    "MIGUnsupported",
    "RegisterUnreadable",
    "ResourceMissing",
    "SharingNotConfigured",
    "SharingUnsupported",
    "UnknownPowerMode",
    "UnknownProfile",
    "UnknownStack",
    "UnlikeDevices",
]
"""Reasons of CapacityKnown=False."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A contradiction, or a fact that cannot be used."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says that the node has `count` devices of this profile, each cut into `shares`; 0 is not said."""

    profile: Profile
    count: int
    shares: int
    source: str
    mode: Mechanism | None = None
    power_mode: str = ""

    @property
    def declared(self) -> bool:
        """Whether the EdgeNode says it."""
        return self.source == DECLARATION


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One node being looked at; `problems` grows meanwhile."""

    node: NodeFacts
    edge: EdgeNodeSpec
    catalogue: Catalogue
    runtime_classes: AbstractSet[str] | None = None
    """Those that exist in the cluster; None where nobody can say."""
    problems: list[Problem] = field(default_factory=list)

    def problem(self, reason: Reason, message: str) -> None:
        """Note a contradiction, once."""
        found = Problem(reason, message)
        if found not in self.problems:
            self.problems.append(found)

    def unknown_profile(self, where: str, word: str) -> None:
        """Somebody names a profile that is not in the catalogue."""
        self.problem(
            "UnknownProfile",
            f"{where} names the profile {word!r}, which the catalogue does not have: correct it, or add the profile "
            f"to the ConfigMap {CATALOGUE_CONFIGMAP} in the namespace {OPERATOR_NAMESPACE}",
        )

    def mismatch(self, figures: str, remedy: str) -> None:
        """A declaration and the Node differ."""
        self.problem("DeclaredMismatch", f"{figures}: {remedy}")

    def partitioned(self, fact: str) -> None:
        """The GPUs are partitioned by MIG."""
        self.problem(
            "MIGUnsupported",
            f"{fact} says that its GPUs are partitioned by MIG, and no provider hands out MIG partitions: set the Node "
            "label nvidia.com/mig.config=all-disabled to have whole GPUs",
        )

    def unsupported(self, profile: Profile, mechanism: str) -> None:
        """Somebody shares the device in a way that it, or Littoral, does not know."""
        known = ", ".join(profile.sharing)
        generic = f"{profile.name} cannot be shared by {mechanism}; the catalogue lists {known}"
        reason = next((why for name, why in profile.unsupported.items() if name == mechanism), generic)
        self.problem("SharingUnsupported", reason)

    def not_configured(self, profile: Profile, mechanism: Mechanism, shares: int, shown: str) -> None:
        """The declared way of sharing is not what the machine's device plugin does."""
        cut = f" in {shares} shares each" if shares > 1 else ""
        self.problem(
            "SharingNotConfigured",
            f"{DECLARATION} declares {profile.name} shared by {mechanism}{cut}, but {shown}: "
            f"{_remedy(self.node, mechanism, shares)}, or correct the declaration",
        )


def _remedy(node: NodeFacts, mechanism: Mechanism, shares: int) -> str:
    """What to put where, so that the device plugin shares as declared.

    Sources: README of NVIDIA/k8s-device-plugin 0.20 (ConfigMap, Node label nvidia.com/device-plugin.config), chart of
    HAMi 2.10 (ConfigMap hami-scheduler-device), ascend-device-plugin of Ascend/mind-cluster (flags).
    """
    replicas = str(shares) if shares > 1 else "the number wanted"
    key = node.labels.get("nvidia.com/device-plugin.config")
    where = (
        f"under the key {key} of the NVIDIA device plugin's ConfigMap"
        if key
        else "in the NVIDIA device plugin's ConfigMap (its key is named by the Node label "
        "nvidia.com/device-plugin.config)"
    )
    match mechanism:
        case "time-slicing":
            return f"set sharing.timeSlicing.resources[].replicas of nvidia.com/gpu to {replicas} {where}"
        case "mps":
            return f"set sharing.mps.resources[].replicas of nvidia.com/gpu to {replicas} {where}"
        case "hami":
            return (
                "have HAMi's device plugin run there in place of NVIDIA's (Node label gpu=on; deviceSplitCount in the "
                "ConfigMap hami-scheduler-device)"
            )
        case "vnpu":
            return (
                "create the vNPUs (npu-smi set -t create-vnpu) and start ascend-device-plugin with "
                "-presetVirtualDevice=true"
            )
        case "share-dev-count":
            return f"start ascend-device-plugin with -shareDevCount={replicas}"
        case "runtime":
            return "have no device plugin run there"
        case "whole":
            return "have the device plugin not share them"
        case _:
            return f"have the device plugin advertise {replicas} units for each device"
