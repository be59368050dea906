"""An accountant who knows nothing of the ledger: what a node's slices and pods take, and what there is of it."""

from collections import Counter
from collections.abc import Iterator

from tests.placement.world import sure

from littoral.accelerators.device import Device
from littoral.api.gpuslice import Allocation
from littoral.api.inferencemodel import InferenceModel
from littoral.api.quantity import to_mib, to_thousandths
from littoral.placement.plan import Plan
from littoral.placement.snapshot import Key, Snapshot


def grants(snapshot: Snapshot, found: Plan) -> Iterator[tuple[Key, Allocation]]:
    """Each (slice, allocation) that exists or shall exist: the worst of what is, what runs, and what the plan adds."""
    for key, slice_ in snapshot.slices.items():
        if slice_.status.allocation is not None:
            yield key, slice_.status.allocation
    for pod in snapshot.pods.values():
        yield (pod.namespace, pod.slice), sure(pod.grant)
    for deployment in snapshot.deployments.values():
        key = (deployment.namespace, deployment.slice)
        if key not in snapshot.slices or snapshot.slices[key].status.allocation is None:
            yield key, sure(deployment.grant)
    for key, allocation in additions(snapshot, found):
        yield key, allocation


def additions(snapshot: Snapshot, found: Plan) -> Iterator[tuple[Key, Allocation]]:
    """What the plan grants beyond what is there."""
    for (namespace, _), its in found.models.items():
        for assignment in its.assignments:
            if assignment.target is not None and assignment.target != assignment.current:
                yield (namespace, assignment.slice), assignment.target
    for key, mine in found.slices.items():
        if mine.allocation is not None and mine.allocation != snapshot.slices[key].status.allocation:
            yield key, mine.allocation


def payer(devices: tuple[Device, ...], granted: Allocation) -> Device:
    """The device that pays: by its name, else by its resource, else any accelerator, for what runs is never free."""
    named = next((device for device in devices if device.id == granted.device), None)
    alike = next((device for device in devices if device.resource in granted.resources), None)
    return named or alike or devices[0]


def taken(snapshot: Snapshot, found: Plan, name: str) -> Counter[str]:
    """What is taken of a node on each axis, as an accountant would sum it up."""
    devices = found.nodes[name].discovery.devices
    worst: dict[tuple[Key, str], Counter[str]] = {}
    for key, granted in grants(snapshot, found):
        if granted.node == name:
            device = payer(devices, granted)
            of = worst.setdefault((key, device.id), Counter())
            of |= _costs(granted, device)
    total: Counter[str] = Counter()
    for costs in worst.values():
        total += costs
    return total + _beside(snapshot, found, name, {key for key, _ in worst})


def _costs(granted: Allocation, device: Device) -> Counter[str]:
    memory = "node memory" if device.shares_node_memory else f"{device.id} memory"
    costs = Counter({memory: to_mib(granted.memory), f"{device.id} percent": granted.compute})
    if device.resource is not None:
        costs[f"{device.id} units"] = int(granted.resources.get(device.resource, "1"))
    partitions = device.profile.partitions
    if device.provider == "vnpu" and partitions is not None:
        for template in partitions.templates:
            if template.resource in granted.resources:
                costs[f"{device.id} {template.name}"] = 1
                costs[f"{device.id} cores"] = template.cores
                costs[f"{device.id} cpus"] = template.cpus
    return costs


def capacity(snapshot: Snapshot, found: Plan, name: str) -> Counter[str]:
    """What there is of each axis; what is not listed is without bound."""
    facts, devices = snapshot.nodes[name], found.nodes[name].discovery.devices
    limits: Counter[str] = Counter({"node memory": devices[-1].memory, "millicores": facts.cpu})
    if facts.pods:
        limits["pods"] = facts.pods
    if facts.disk:
        limits["disk"] = facts.disk // 4
    for device in devices:
        limits[f"{device.id} percent"] = 100 * device.count
        if not device.shares_node_memory:
            limits[f"{device.id} memory"] = device.total_memory
        if device.resource is not None:
            limits[f"{device.id} units"] = device.units
        partitions = device.profile.partitions
        if device.provider == "vnpu" and partitions is not None:
            limits[f"{device.id} cores"] = partitions.cores * device.count
            limits[f"{device.id} cpus"] = partitions.cpus * device.count
            for template in partitions.templates:
                limits[f"{device.id} {template.name}"] = device.templates.get(template.name, 0)
    return limits


def _beside(snapshot: Snapshot, found: Plan, name: str, there: set[Key]) -> Counter[str]:
    """What servers take of the machine beside its accelerators."""
    total: Counter[str] = Counter()
    artifacts: Counter[tuple[str, str]] = Counter()
    cores = {key: granted.resources.get("cpu", "0") for key, granted in grants(snapshot, found) if granted.node == name}
    running = {(pod.namespace, pod.slice) for pod in snapshot.pods.values()}
    whose = tenants(snapshot, found)
    for key in there:
        if key not in running and key not in whose:
            continue  # a reservation that nobody serves on
        total["pods"] += 1
        total["millicores"] += to_thousandths(cores[key])
        model = whose.get(key)
        if model is None:
            continue
        serving = model.spec.serving
        total["millicores"] += to_thousandths(serving.resources.cpu or "0")
        total["node memory"] += to_mib(serving.resources.memory or "0")
        for variant in model.spec.variants:
            artifacts |= {(key[0], variant.source.digest): to_mib(variant.source.size or "0")}
        if serving.network != "Pod":
            total.update(f"port {port}" for port in (serving.ports.http, serving.ports.grpc, serving.ports.metrics))
    total["disk"] = sum(artifacts.values())
    return total


def tenants(snapshot: Snapshot, found: Plan) -> dict[Key, InferenceModel]:
    """The model of each slice that has one."""
    names = {key: (key[0], each.metadata.owner("InferenceModel")) for key, each in snapshot.slices.items()}
    names |= {(d.namespace, d.slice): (d.namespace, d.model) for d in snapshot.deployments.values()}
    for key in [(key[0], name) for key, its in found.models.items() for name in its.vacated]:
        names.pop(key, None)
    names |= {(key[0], a.slice): key for key, its in found.models.items() for a in its.assignments}
    return {key: snapshot.models[name] for key, name in names.items() if name in snapshot.models}  # type: ignore[index]
