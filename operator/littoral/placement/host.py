"""The machine beside its accelerators: pods, cores, memory, disk and ports, and what our servers claim of them.

Each slice is one pod. What a pod needs of the machine is its model's (spec.serving.resources and ports), plus the cores
of a grant on cpu. Node memory is charged to the one account that unified devices and cpu draw on.

Of the disk models may take a quarter, those of all namespaces together; the rest is for images and for what is not
ours, of which nobody says how large it is. What counts are the artifacts, as far as their size is declared: each once
in a namespace, whose cache on the node keeps it once, whichever models serve it. A node whose disk fills up all the
same says so itself (littoral.placement.exclusions).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from littoral.api.gpuslice import Allocation
from littoral.api.inferencemodel import InferenceModel, Serving
from littoral.api.quantity import short_mib, to_thousandths
from littoral.api.workload import NodeFacts
from littoral.placement.ledger import Account, Slot, mib
from littoral.placement.snapshot import Key
from littoral.slicing.provider import Refusal


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model's server needs of the machine beside its accelerator."""

    cpu: int = 0
    """Thousandths of a core."""
    memory: int = 0
    """MiB."""
    ports: tuple[int, ...] = ()
    """Of the node."""


NO_NEEDS: Final = Needs()
_SHARE: Final = 4
"""Models may take one part in so many of a node's disk."""


class Artifact(NamedTuple):
    """A model's file or folder, as the cache of a namespace keeps it."""

    namespace: str
    digest: str
    size: int
    """As declared, MiB."""


@lru_cache(maxsize=4096)
def _needs(cpu: str | None, memory: str | None, ports: tuple[int, ...]) -> Needs:
    return Needs(to_thousandths(cpu or "0"), mib(memory or "0"), ports)


def needs(serving: Serving) -> Needs:
    """What spec.serving asks of the machine."""
    ports = serving.ports
    claimed = () if serving.network == "Pod" else (ports.http, ports.grpc, ports.metrics)
    return _needs(serving.resources.cpu, serving.resources.memory, claimed)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one slice's pod takes of the machine."""

    needs: Needs = NO_NEEDS
    cores: int = 0
    """Thousandths of a core that were granted as the accelerator, on cpu."""
    artifacts: tuple[Artifact, ...] = ()
    """Whose size is declared."""


NOTHING: Final = Claim()


class Host:
    """What one machine has, and who claims what of it."""

    __slots__ = ("account", "claims", "cpu", "disk", "facts", "memory", "ports")

    def __init__(self, facts: NodeFacts | None = None, slots: Iterable[Slot] = ()) -> None:
        cores = next((slot for slot in slots if slot.device.profile.is_cpu), None)
        self.facts = facts
        self.account = Account() if cores is None else cores.account
        self.memory = 0 if cores is None else cores.device.memory
        self.claims: dict[Key, Claim] = {}
        self.cpu = 0
        self.ports: Counter[int] = Counter()

    def hold(self, key: Key, claim: Claim) -> None:
        """Charge the slice the larger of what it claims and this."""
        held = self.claims.get(key)
        if held == claim:
            return
        if held is not None:
            self._add(held, -1)
            claim = _larger(held, claim)
        self.claims[key] = claim
        self._add(claim, 1)

    def clear(self) -> None:
        """Take all claims away, and what is charged to the node's memory."""
        self.claims.clear()
        self.ports.clear()
        self.cpu = self.account.charged = 0

    def refuses(self, key: Key | None, claim: Claim) -> Refusal | None:
        """Why the machine cannot take this claim; the slice's own does not count against it. Memory is asked apart."""
        facts, own = self.facts, NOTHING if key is None else self.claims.get(key, NOTHING)
        if facts is None:
            return None
        others = len(self.claims) - (key in self.claims)
        if facts.pods and others >= facts.pods:
            return Refusal("NoPodLeft", f"with all {facts.pods} pods in use", near=0.5)
        wanted = claim.needs
        for port in wanted.ports:
            if self.ports[port] > (port in own.needs.ports):
                return Refusal("PortInUse", f"with port {port} in use")
        return self._cpu(own, claim) or self._disk(key, claim)

    def more_memory(self, key: Key | None, wanted: Needs) -> int:
        """MiB of node memory that are to be charged for the slice beside its grant, beyond what is charged already."""
        if not wanted.memory:
            return 0
        own = NOTHING if key is None else self.claims.get(key, NOTHING)
        return wanted.memory - own.needs.memory

    def short_of_memory(self, more: int) -> Refusal | None:
        """Why the machine cannot give so many MiB more of its memory."""
        free = max(0, self.memory - self.account.charged)
        if more <= free:
            return None
        message = f"with {short_mib(free)} of node memory free of {short_mib(more)} needed"
        return Refusal("InsufficientNodeMemory", message, near=free / more)

    def _cpu(self, own: Claim, claim: Claim) -> Refusal | None:
        needed = claim.needs.cpu + claim.cores
        total = self.facts.cpu if self.facts else 0
        free = total - self.cpu + own.needs.cpu + own.cores
        if not needed or not total or needed <= free:
            return None
        return Refusal(
            "InsufficientCpu", f"with {_cores(free)} cores free of {_cores(needed)} needed", near=max(0, free) / needed
        )

    def _disk(self, key: Key | None, claim: Claim) -> Refusal | None:
        total = self.facts.disk if self.facts else 0
        if not claim.artifacts or not total:
            return None
        wanted = _sizes(claim.artifacts)
        held = _sizes(
            each
            for other, claimed in self.claims.items()
            for each in claimed.artifacts
            if other != key or each[:2] in wanted
        )
        needed = sum(max(0, size - held.get(name, 0)) for name, size in wanted.items())
        free = max(0, total // _SHARE - sum(held.values()))
        if needed <= free:
            return None
        what = f"{short_mib(free)} free of {short_mib(needed)} needed"
        message = f"with {what} in the quarter of its disk that models may take"
        return Refusal("InsufficientDisk", message, near=free / needed)

    def _add(self, claim: Claim, sign: int) -> None:
        self.cpu += sign * (claim.needs.cpu + claim.cores)
        self.account.charged += sign * claim.needs.memory
        for port in claim.needs.ports:
            self.ports[port] += sign


def claim(allocation: Allocation, model: InferenceModel | None, variant: str) -> Claim:
    """What a slice with this allocation claims; without a model what its grant alone says."""
    cores = allocation.resources.get("cpu")
    thousandths = 0 if cores is None else to_thousandths(cores)
    if model is None:
        return Claim(cores=thousandths)
    return Claim(needs(model.spec.serving), thousandths, artifacts(model, variant))


def artifacts(model: InferenceModel, variant: str) -> tuple[Artifact, ...]:
    """What a variant of the model has on the node's disk, as far as its size is declared."""
    sources = (each.source for each in model.spec.variants if each.name == variant)
    return tuple(
        Artifact(model.metadata.namespace, source.digest, mib(source.size)) for source in sources if source.size
    )


def _larger(one: Claim, other: Claim) -> Claim:
    asked = Needs(
        max(one.needs.cpu, other.needs.cpu),
        max(one.needs.memory, other.needs.memory),
        tuple(sorted({*one.needs.ports, *other.needs.ports})),
    )
    kept = tuple(sorted({*one.artifacts, *other.artifacts}))
    return Claim(asked, max(one.cores, other.cores), kept)


def _sizes(artifacts: Iterable[Artifact]) -> dict[tuple[str, str], int]:
    """What each artifact takes, by (namespace, digest): the most that anybody declares of it."""
    sizes: dict[tuple[str, str], int] = {}
    for namespace, digest, size in artifacts:
        sizes[namespace, digest] = max(sizes.get((namespace, digest), 0), size)
    return sizes


def _cores(thousandths: int) -> str:
    return f"{max(0, thousandths) / 1000:.3f}".rstrip("0").rstrip(".")
