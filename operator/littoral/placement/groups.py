"""Groups: models of one namespace that share a slice and a Triton server on each node (spec.server.group).

A group is placed as one unit, by what its oldest member says: how many, where, and how the server is reached. A member
that says otherwise cannot be served by that server; it waits with a sentence that names the field. Everything else is
each member's own: its variants, their figures, its revision.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from littoral.api.base import Metadata
from littoral.api.inferencemodel import HostResources, InferenceModel, Serving
from littoral.api.quantity import from_mib, from_thousandths, to_mib, to_thousandths
from littoral.placement.replicas import seniority
from littoral.placement.results import Assignment, ModelPlan, Served
from littoral.placement.shared import Shared, together
from littoral.placement.snapshot import Key
from littoral.placement.wants import demand

MISMATCH: Final = "GroupMismatch"
"""The reason of a member that its group's server cannot serve."""
LEFT_OUT: Final = "LeftOut"
"""The reason of a member that has no variant for any device on which the group is."""
_PREFIX: Final = "group/"
"""No object's name holds a slash: a group's key is never a model's."""


@dataclass(frozen=True, slots=True)
class Group:
    """The models of a group, sorted out."""

    key: Key
    """(namespace, group)."""
    unit: InferenceModel
    """What is placed, as if it were one model: its key is unit_key(key)."""
    members: tuple[InferenceModel, ...]
    """Those that share, oldest first."""
    mismatched: Mapping[Key, str] = field(default_factory=dict)
    """Those that cannot, with why."""

    @property
    def demand(self) -> Shared:
        """What its models ask together."""
        return together({model.metadata.name: demand(model) for model in self.members})


def group_of(model: InferenceModel) -> Key | None:
    """The group that a model names; None for one with a server of its own."""
    name = model.spec.server.group
    return None if name is None else (model.metadata.namespace, name)


def unit_key(key: Key) -> Key:
    """The key under which a group is placed."""
    return key[0], f"{_PREFIX}{key[1]}"


def group_named(name: str) -> str | None:
    """The group whose unit has this name; None for a model's name."""
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None


def compose(models: Iterable[InferenceModel]) -> dict[Key, Group]:
    """The groups that these models name, by (namespace, group)."""
    named: dict[Key, list[InferenceModel]] = {}
    for model in sorted(models, key=lambda model: seniority(model.metadata)):
        key = group_of(model)
        if key is not None:
            named.setdefault(key, []).append(model)
    return {key: _sorted_out(key, members) for key, members in sorted(named.items())}


def _sorted_out(key: Key, models: list[InferenceModel]) -> Group:
    lead = models[0]
    members: list[InferenceModel] = []
    mismatched: dict[Key, str] = {}
    for model in models:
        why = _mismatch(model, lead, members)
        if why:
            mismatched[model.metadata.key] = f"cannot share the server of group {key[1]}: {why}"
        else:
            members.append(model)
    return Group(key, _unit(key, lead, members), tuple(members), mismatched)


def _unit(key: Key, lead: InferenceModel, members: list[InferenceModel]) -> InferenceModel:
    namespace, name = unit_key(key)
    metadata = Metadata(name=name, namespace=namespace, creation_timestamp=lead.metadata.creation_timestamp)
    spec = lead.spec.model_copy(update={"serving": serving(members), "slice_ref": None})
    return lead.model_copy(update={"metadata": metadata, "spec": spec})


def serving(members: Iterable[InferenceModel]) -> Serving:
    """How the shared server is served: as its oldest member says, with what all of them need of the machine."""
    of = [model.spec.serving for model in members]
    cpus = [each.resources.cpu for each in of if each.resources.cpu is not None]
    memories = [each.resources.memory for each in of if each.resources.memory is not None]
    resources = HostResources(
        cpu=from_thousandths(sum(map(to_thousandths, cpus))) if cpus else None,
        memory=from_mib(sum(map(to_mib, memories))) if memories else None,
    )
    return of[0].model_copy(update={"resources": resources})


# One server has one place and one set of ports. A latency is asked of a member's own variants and a startup timeout is
# a member's own, so both may differ.
_COMMON: Final[Mapping[str, Callable[[InferenceModel], Any]]] = {
    "spec.placement.mode": lambda model: model.spec.placement.mode,
    "spec.placement.pools": lambda model: frozenset(model.spec.placement.pools),
    "spec.placement.nodeSelector": lambda model: dict(model.spec.placement.node_selector),
    "spec.placement.tolerations": lambda model: frozenset(model.spec.placement.tolerations),
    "spec.placement.spread": lambda model: model.spec.placement.spread,
    "spec.placement.priorityClassName": lambda model: model.spec.placement.priority_class_name,
    "spec.replicas": lambda model: model.spec.replicas if model.spec.placement.mode == "Replicas" else None,
    "spec.serving.network": lambda model: model.spec.serving.network,
    "spec.serving.ports": lambda model: model.spec.serving.ports if model.spec.serving.network != "Pod" else None,
    "spec.serving.image": lambda model: model.spec.serving.image,
}


def _mismatch(model: InferenceModel, lead: InferenceModel, members: Iterable[InferenceModel]) -> str:
    """Why a model cannot share with the lead and those that do already; empty where it can."""
    for path, read in _COMMON.items():
        if read(model) != read(lead):
            return f"{path} is not that of {lead.metadata.name}, the group's oldest member; make them equal"
    namesake = next((other for other in members if other.model_name == model.model_name), None)
    if namesake is not None:
        return (
            f"spec.serving.modelName {model.model_name} is that of {namesake.metadata.name} already; "
            "a server has one model of a name"
        )
    return ""


def shares(group: Group, plan: ModelPlan) -> dict[Key, ModelPlan]:
    """What the group's plan is for each model that names the group."""
    namespace = group.key[0]
    found = {key: _waits(plan, MISMATCH, why) for key, why in group.mismatched.items()}
    return found | {(namespace, model.metadata.name): _share(group, plan, model) for model in group.members}


def _share(group: Group, plan: ModelPlan, model: InferenceModel) -> ModelPlan:
    name = model.metadata.name
    mine = [part for assignment in plan.assignments if (part := share(assignment, name)) is not None]
    without = {
        assignment.node: left.message
        for assignment in plan.assignments
        for left in assignment.left_out
        if left.model == name
    }
    reason, message = plan.reason, plan.message
    if without:
        node, why = next(iter(sorted(without.items())))
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        message = f"{message}; left out of group {group.key[1]} on {node}{more}, {why}"
    if without and not mine:
        reason = LEFT_OUT
    waiting = plan.waiting or (len(without) if not mine else 0)
    return replace(
        plan,
        wanted=plan.wanted - (len(without) if mine else 0),
        assignments=tuple(mine),
        releases=(),
        held=(),
        waiting=waiting,
        reason=reason,
        message=message,
    )


def share(assignment: Assignment, model: str) -> Assignment | None:
    """The assignment of a group's server as one of its models sees it; None where it is not served there."""
    served: Served | None = next((part for part in assignment.members if part.model == model), None)
    return None if served is None else replace(assignment, variant=served.variant, why=served.why)


def _waits(plan: ModelPlan, reason: str, message: str) -> ModelPlan:
    """The plan of a model that gets no place."""
    wanted = max(1, plan.wanted)
    return ModelPlan(wanted, (), releases=(), held=(), waiting=wanted, reason=reason, message=message)
