"""Slices that users write: what is settled of them, whom that wakes, and whose figures they are."""

from typing import Any

import pytest

from littoral.api import group
from littoral.api.gpuslice import Allocation, GPUSlice
from littoral.api.inferencemodel import InferenceModel
from littoral.controller import kinds
from littoral.controller.reservation import Reservations, served
from littoral.controller.servers import Servers
from littoral.controller.slices import Slices
from littoral.controller.store import Store
from littoral.controller.writer import Writer
from littoral.placement.results import Assignment, ModelPlan, Plan, SlicePlan
from littoral.triton.replica import Replica
from littoral.triton.rollout import Step
from littoral.triton.tenant import Alone

KEY = ("line", "mine")
MODEL = ("line", "reader")
TIME = "2026-01-01T00:00:00Z"


def allocation(memory: str, **more: Any) -> Allocation:
    return Allocation(node="a", device="t4-0", profile="t4", provider="counted", memory=memory, **more)


def mine(memory: str, granted: Allocation | None, *, generation: int = 1) -> dict[str, Any]:
    """The slice, whose first generation was observed."""
    bound = {} if granted is None else {"allocation": granted.model_dump(mode="json", by_alias=True, exclude_none=True)}
    meta = {"namespace": KEY[0], "name": KEY[1], "uid": "u", "resourceVersion": "5", "generation": generation}
    return {"metadata": meta, "spec": {"memory": memory}, "status": {"observedGeneration": 1, **bound}}


def planned(granted: Allocation, *, judged: bool = True, models: bool = False, asked: str = "1Gi") -> Plan:
    """A plan that has the slice at these figures, and a model on it."""
    slice_ = SlicePlan(KEY, "a", "t4-0", granted, "Bound", "as planned", judged=judged)
    its = ModelPlan(1, (on(granted, asked),), releases=(), held=(), waiting=0, reason="Placed", message="")
    return Plan({MODEL: its} if models else {}, {KEY: slice_}, {})


def on(granted: Allocation, asked: str) -> Assignment:
    request = GPUSlice.model_validate(mine(asked, None)).spec
    return Assignment(KEY[1], "a", "t4-0", "t4", "v", "", "", request, allocation("1Gi"), granted)


class Cluster:
    """A client that does every write to the one object there is, and keeps what was asked."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.writes: list[tuple[str, Any]] = []

    async def patch_status(self, _resource: Any, _namespace: Any, _name: Any, status: Any, **_: Any) -> Any:
        self.writes.append(("status", status))
        meta = self.body["metadata"]
        meta = {**meta, "resourceVersion": str(int(meta["resourceVersion"]) + 1)}
        merged = {key: value for key, value in {**self.body["status"], **status}.items() if value is not None}
        self.body = {**self.body, "metadata": meta, "status": merged}
        return self.body

    async def patch(self, _resource: Any, _namespace: Any, _name: Any, patch: Any, **_: Any) -> Any:
        self.writes.append(("object", patch))
        return self.body

    async def delete(self, resource: Any, _namespace: Any, name: Any, **_: Any) -> None:
        self.writes.append((f"delete {resource.plural}", name))


def edge_of(body: dict[str, Any], *, ready: str = "True") -> tuple[Cluster, Store, Slices, Writer]:
    cluster, store = Cluster(body), Store()
    store.apply(kinds.SLICES, body)
    conditions = [{"type": "Ready", "status": ready}]
    store.apply(kinds.NODES, {"metadata": {"name": "a", "resourceVersion": "1"}, "status": {"conditions": conditions}})
    writer = Writer(cluster, store, list)  # type: ignore[arg-type]
    return cluster, store, Slices(store, writer), writer


async def reconciled(body: dict[str, Any], plan: Plan) -> tuple[bool, dict[str, Any]]:
    cluster, store, slices, writer = edge_of(body)
    bound = await Reservations(store, writer, slices).reconcile(KEY, plan)
    await Reservations(store, writer, slices).reconcile(KEY, plan)
    assert len(cluster.writes) <= 1, "the second visit finds what the first has written"
    return bound, cluster.body["status"]


async def test_a_slice_that_is_bound_wakes_the_model_that_is_to_serve_on_it() -> None:
    plan = planned(allocation("1Gi"), models=True)
    assert (await reconciled(mine("1Gi", None), plan))[0]
    assert served(KEY, plan) == [MODEL]
    assert not (await reconciled(mine("1Gi", allocation("1Gi")), plan))[0]


async def test_what_is_bound_keeps_its_times_whatever_the_plan_knows_of_them() -> None:
    body = mine("1Gi", allocation("1Gi", bound_at=TIME, started_at=TIME))
    _, status = await reconciled(body, planned(allocation("1Gi")))
    assert (status["allocation"]["boundAt"], status["allocation"]["startedAt"]) == (TIME, TIME)


@pytest.mark.parametrize(
    ("plan", "memory", "observed"),
    [
        (planned(allocation("1Gi")), "1Gi", 2),
        (planned(allocation("2Gi"), judged=False), "2Gi", 1),  # its node is offline: the wish is not forgotten
        (planned(allocation("1Gi"), models=True), "2Gi", 1),  # the server on it has yet to take it over
    ],
)
async def test_a_smaller_slice_is_settled_when_it_is_smaller(plan: Plan, memory: str, observed: int) -> None:
    _, status = await reconciled(mine("1Gi", allocation("2Gi", bound_at=TIME), generation=2), plan)
    assert (status["allocation"]["memory"], status["observedGeneration"]) == (memory, observed)
    if plan.models:
        said = "2Gi of t4-0 on a; its server is to take over 1Gi"
        assert [each["message"] for each in status["conditions"]] == [said]


def serving(deployed: Allocation) -> dict[str, Any]:
    labels = {group.LABEL_SLICE: KEY[1], group.LABEL_MODEL: MODEL[1]}
    template = {"metadata": {"annotations": {group.ANNOTATION_GRANT: deployed.model_dump_json(by_alias=True)}}}
    meta = {"namespace": KEY[0], "name": KEY[1], "uid": "d", "resourceVersion": "6", "labels": labels}
    return {"metadata": meta, "spec": {"template": template}}


@pytest.mark.parametrize(("ready", "deleted"), [("True", True), ("Unknown", False)])
async def test_what_is_to_leave_a_users_slice_stays_while_its_own_node_is_offline(ready: str, deleted: bool) -> None:
    moved = allocation("1Gi").model_copy(update={"node": "elsewhere"})
    cluster, store, slices, writer = edge_of(mine("1Gi", moved), ready=ready)
    store.apply(kinds.DEPLOYMENTS, serving(allocation("1Gi")))
    servers = Servers(store, writer, slices=slices, storage=None, caches=None, revisions=None)  # type: ignore[arg-type]
    await servers.vacate(("line", "another"), KEY[1])
    assert cluster.writes == []
    await servers.vacate(MODEL, KEY[1])
    assert cluster.writes == ([("delete deployments", KEY[1])] if deleted else [])


@pytest.mark.parametrize(("ready", "deleted"), [("True", True), ("Unknown", False)])
async def test_the_prefetch_of_one_that_leaves_goes_also_where_no_deployment_is_left(ready: str, deleted: bool) -> None:
    cluster, store, slices, writer = edge_of(mine("1Gi", allocation("1Gi")), ready=ready)
    labels = {group.LABEL_PREFETCH: KEY[1], group.LABEL_MODEL: MODEL[1]}
    meta = {"namespace": KEY[0], "name": "j", "uid": "j", "resourceVersion": "6", "labels": labels}
    store.apply(kinds.JOBS, {"metadata": meta})
    servers = Servers(store, writer, slices=slices, storage=None, caches=None, revisions=None)  # type: ignore[arg-type]
    await servers.vacate(("line", "another"), KEY[1])
    assert cluster.writes == []
    await servers.vacate(MODEL, KEY[1])
    assert cluster.writes == ([("delete jobs", "j")] if deleted else [])


async def test_figures_that_its_user_has_changed_since_the_plan_are_not_put_back(model: Any) -> None:
    cluster, store, slices, writer = edge_of(mine("4Gi", allocation("1Gi"), generation=3))
    servers = Servers(store, writer, slices=slices, storage=None, caches=None, revisions=None)  # type: ignore[arg-type]
    replica = Replica(on(allocation("2Gi"), "2Gi"), "r1", allocation=allocation("1Gi"))
    step = Step("Update", KEY[1], "r1")
    await servers._step(Alone(model), replica, step, None)  # type: ignore[arg-type]
    assert cluster.writes == []


@pytest.fixture
def model() -> Any:
    source = {"uri": "https://models.example/7", "sha256": "a" * 64}
    variants = [{"name": "v", "accelerators": ["*"], "format": "onnx", "source": source}]
    body = {
        "metadata": {"namespace": MODEL[0], "name": MODEL[1], "uid": "m"},
        "spec": {"variants": variants, "sliceRef": {"name": KEY[1]}},
    }
    return InferenceModel.model_validate(body)
