"""What is written of prefetch Jobs: what they are told, whose place they take, and what may not be begun."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from tests.controller.cluster import Cluster, Json
from tests.triton.conftest import make_frozen, make_model
from tests.triton.rollouts import replica

from littoral.accelerators.catalogue import load
from littoral.api import group
from littoral.api.workload import JobFacts
from littoral.controller import kinds
from littoral.controller.prefetches import Prefetches, size
from littoral.controller.revisions import Revisions
from littoral.controller.store import Store
from littoral.controller.writer import Writer
from littoral.triton import prefetch_job
from littoral.triton.errors import Unservable
from littoral.triton.prefetch_steps import JobStep
from littoral.triton.replica import Replica
from littoral.triton.revision import Frozen
from littoral.triton.tenant import Alone

MODEL = make_model()
TENANT = Alone(MODEL)
FROZEN = make_frozen(MODEL)
NAME = prefetch_job.name("s-a", FROZEN.name)
LATER = '{"words": "of another day"}'


def at(revision: str) -> Replica:
    return replica("a", revision, wanted=FROZEN.name)


class Operator:
    """The parts that write Jobs, on a node with two slices of the namespace."""

    def __init__(self, *, labels: Json | None = None, quota: str = "20Gi") -> None:
        self.cluster, self.store = Cluster(), Store()
        notes = {group.ANNOTATION_CACHE_QUOTA: quota}
        self.cluster.put(kinds.NAMESPACES, {"metadata": {"name": "line", "labels": labels or {}, "annotations": notes}})
        ready = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": "0"}}
        self.cluster.put(kinds.NODES, {"metadata": {"name": "a"}, "status": ready})
        for name in ("s-a", "another"):
            self.slice(name)
        writer = Writer(self.cluster, self.store, list)  # type: ignore[arg-type]
        self.prefetches = Prefetches(self.store, writer)
        self.revisions = Revisions(self.store, writer, catalogue=load, fetch_image="littoral:7")
        self.cluster.list_into(self.store)

    def slice(self, name: str) -> None:
        bound = {"node": "a", "device": "t4-0", "profile": "t4", "provider": "counted", "memory": "1Gi"}
        meta = {"namespace": "line", "name": name}
        self.cluster.put(kinds.SLICES, {"metadata": meta, "spec": {"memory": "1Gi"}, "status": {"allocation": bound}})

    async def write(self, steps: Iterable[JobStep], of: Replica, frozen: Frozen = FROZEN) -> None:
        known = {FROZEN.name: frozen}
        for write in self.prefetches.writes(TENANT, [of], list(steps), known, permit=self.revisions.permit):
            await write
        self.cluster.list_into(self.store)

    @property
    def job(self) -> Json:
        body: Json = self.cluster.objects[kinds.JOBS, "line", NAME]
        return body

    @property
    def facts(self) -> JobFacts:
        ((facts,), _) = self.store.prefetches_of(("line", "s-a"))
        return facts

    def room(self) -> str:
        """What a Job would be told of now."""
        node = self.store.node("a")
        return self.prefetches.of(TENANT, ("line", "s-a"), node, None, FROZEN.name, {FROZEN.name: FROZEN}).room


MAKE = JobStep("Prefetch", "s-a", FROZEN.name)


async def test_one_takes_the_place_of_another_at_once_and_knows_how_many_came_before() -> None:
    operator = Operator()
    await operator.write([MAKE], at("old"))
    first = operator.facts

    await operator.write([JobStep("Replace", "s-a", FROZEN.name, first, attempt=1)], at("old"))

    assert operator.cluster.writes == [f"create jobs {NAME}", f"delete jobs {NAME}", f"create jobs {NAME}"]
    assert (first.attempt, operator.facts.attempt) == (0, 1)


async def test_what_it_was_told_is_another_once_the_quota_or_the_slices_are() -> None:
    operator = Operator()
    await operator.write([MAKE], at("old"))
    told = operator.facts.room

    assert told == operator.room()

    operator.slice("third")
    operator.cluster.list_into(operator.store)
    more = operator.room()
    namespace = copy.deepcopy(operator.cluster.objects[kinds.NAMESPACES, "", "line"])
    namespace["metadata"]["annotations"] = {group.ANNOTATION_CACHE_QUOTA: "30Gi"}
    operator.cluster.put(kinds.NAMESPACES, namespace)
    operator.cluster.list_into(operator.store)
    assert len({told, more, operator.room()}) == 3


SIGNED = {group.LABEL_REQUIRE_SIGNATURE: "true"}


async def test_what_is_not_signed_is_brought_nowhere_but_to_where_it_serves() -> None:
    operator = Operator(labels=SIGNED)
    with pytest.raises(Unservable, match="is not signed"):
        await operator.write([MAKE], at("old"))
    await operator.write([MAKE], at(FROZEN.name))
    assert operator.cluster.writes == [f"create jobs {NAME}"]


def of_another_day() -> Frozen:
    template: Any = copy.deepcopy(dict(FROZEN.template))
    (fetch,) = template["spec"]["initContainers"]
    fetch["env"] = [{"name": "LITTORAL_FETCH", "value": LATER}]
    return replace(FROZEN, template=template)


@pytest.mark.parametrize(
    ("labels", "frozen", "reason"),
    [
        ({}, {FROZEN.name: FROZEN}, None),
        ({}, {}, ""),
        (SIGNED, {FROZEN.name: FROZEN}, "SignatureRequired"),
        ({}, {FROZEN.name: of_another_day()}, "RevisionUnreadable"),
    ],
    ids=["nothing in the way", "not frozen yet", "not signed", "frozen by a later version"],
)
def test_to_what_nothing_may_be_updated(labels: Json, frozen: dict[str, Frozen], reason: str | None) -> None:
    operator = Operator(labels=labels)
    found = operator.revisions.barred(TENANT, [at("old")], frozen)
    said = {name: "" if why is None else why.reason for name, why in found.items()}
    assert said == ({} if reason is None else {FROZEN.name: reason})
    assert operator.revisions.barred(TENANT, [at(FROZEN.name)], frozen) == {}, "what serves it serves on"


def test_one_that_a_later_version_froze_runs_where_it_ran_and_is_begun_where_nothing_need_be_read() -> None:
    """Its pods are made of the template as it stands."""
    operator = Operator()
    operator.revisions.permit(TENANT, of_another_day())
    assert size(of_another_day()) is None
