"""What is taken for granted of a node that no kubelet has reported: an EdgeNode alone, or a Node written by hand.

It is ready, and it has what its declaration implies. Everything taken for granted is told.
"""

from collections.abc import Mapping
from typing import Any, Final

from littoral.accelerators.catalogue import Catalogue
from littoral.accelerators.profile import Profile
from littoral.api.edgenode import Accelerator, EdgeNode
from littoral.api.quantity import short_mib, to_mib

_CPUS: Final = 8
_MEMORY: Final = "32Gi"
_SHARED: Final = frozenset({"counted", "time-slicing", "mps", "share-dev-count"})
"""Mechanisms by which a device plugin advertises several units of the same resource for each device."""
_REPORTED: Final = {
    "vnpu": "which vNPUs were made on it",
    "hami": "what HAMi registers in the Node's annotations",
}
"""Mechanisms whose devices only the machine itself can describe."""


def node_status(body: Mapping[str, Any], edge: EdgeNode | None, catalogue: Catalogue) -> tuple[dict[str, Any], str]:
    """(the Node's status with what it leaves out, what was taken for granted in a sentence; empty if nothing was)."""
    status = dict(body.get("status") or {})
    said: list[str] = []
    if not any(each.get("type") == "Ready" for each in status.get("conditions") or ()):
        status["conditions"] = [*(status.get("conditions") or ()), {"type": "Ready", "status": "True"}]
        said.append("Ready")
    if not status.get("allocatable") and status.get("capacity"):
        status["allocatable"] = status["capacity"]
        said.append("allocatable as its capacity")
    elif not status.get("allocatable"):
        declared = edge.spec.accelerators if edge else ()
        architecture = _architecture(body, declared, catalogue)
        status.setdefault("nodeInfo", {"architecture": architecture})
        said.append(architecture)
        status["allocatable"] = _allocatable(declared, catalogue, said)
    return status, f"assumed {', '.join(said)}" if _worth_telling(said) else ""


def _worth_telling(said: list[str]) -> bool:
    """That a Node with figures is Ready goes without saying."""
    return said not in ([], ["Ready"])


def _allocatable(declared: tuple[Accelerator, ...], catalogue: Catalogue, said: list[str]) -> dict[str, str]:
    memory = _MEMORY
    resources: dict[str, int] = {}
    for accelerator in declared:
        profile = catalogue.get(accelerator.profile)
        if profile is None or profile.is_cpu:
            continue
        if profile.unified and profile.memory:
            memory = profile.memory
        mode = accelerator.sharing.mode or _usual(accelerator, profile)
        if mode in _REPORTED:
            said.append(f"nothing of its {profile.name}, for no Node says {_REPORTED[mode]}")
        elif units := _units(accelerator, profile, mode):
            resources[profile.resources[0]] = resources.get(profile.resources[0], 0) + units
    said.append(f"{_CPUS} cores, {short_mib(to_mib(memory))}")
    said += [f"{name}: {units}" for name, units in resources.items()]
    figures = {name: str(units) for name, units in resources.items()}
    return {"cpu": str(_CPUS), "memory": memory, **figures}


def _usual(accelerator: Accelerator, profile: Profile) -> str:
    """How such a device is given where nobody says: most modules have no device plugin, cards have one."""
    if profile.unified and "runtime" in profile.sharing and accelerator.sharing.replicas == 1:
        return "runtime"
    return profile.sharing[0]


def _units(accelerator: Accelerator, profile: Profile, mode: str) -> int:
    """What the device plugin would advertise; none where the device is reached through the runtime alone."""
    if mode == "runtime" or not profile.resources:
        return 0
    shared = mode in _SHARED or accelerator.sharing.replicas > 1
    return accelerator.count * (accelerator.sharing.replicas if shared else 1)


def _architecture(body: Mapping[str, Any], declared: tuple[Accelerator, ...], catalogue: Catalogue) -> str:
    labelled = (body["metadata"].get("labels") or {}).get("kubernetes.io/arch")
    profiles = (catalogue.get(each.profile) for each in declared)
    return str(labelled or next((each.architecture for each in profiles if each and each.architecture), "amd64"))
