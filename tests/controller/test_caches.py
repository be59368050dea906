"""EdgeNode.status.caches: noted before the first pod, by one writer, and lost to nobody."""

import asyncio
import uuid

import pytest
from tests.controller.cluster import Cluster, Json
from tests.placement.world import t4, world

from littoral.api.edgenode import MAX_CACHES, EdgeNode
from littoral.controller import edgenode, kinds
from littoral.controller.caches import Caches, TooManyCachesError
from littoral.controller.store import Store
from littoral.controller.writer import Writer, status_patch
from littoral.placement.plan import plan

UIDS = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in ("line", "other", "third")}


def entry(namespace: str) -> Json:
    return {"uid": UIDS[namespace], "namespace": namespace}


def edge(caches: list[Json], name: str = "a") -> Json:
    return {"metadata": {"name": name}, "spec": {}, "status": {"free": "1Gi", "caches": caches}}


def at_work(*caches: Json, edge_node: bool = True) -> tuple[Cluster, Store, Caches]:
    cluster, store = Cluster(), Store()
    for name, uid in UIDS.items():
        cluster.put(kinds.NAMESPACES, {"metadata": {"name": name, "uid": uid}})
    if edge_node:
        cluster.put(kinds.EDGENODES, edge(list(caches)))
    cluster.list_into(store)
    return cluster, store, Caches(store, Writer(cluster, store, list))  # type: ignore[arg-type]


def noted(cluster: Cluster) -> list[str]:
    status = cluster.objects[kinds.EDGENODES, "", "a"]["status"]
    assert status["free"] == "1Gi", "what others write of the status stays"
    return [each["namespace"] for each in status["caches"]]


async def test_a_namespace_is_noted_once() -> None:
    cluster, _, caches = at_work()
    assert not caches.noted("line", "a")

    await caches.note("line", "a")
    await caches.note("line", "a")

    assert cluster.objects[kinds.EDGENODES, "", "a"]["status"]["caches"] == [entry("line")]
    assert caches.noted("line", "a")
    assert len(cluster.writes) == 1


async def test_namespaces_that_come_at_the_same_time_are_all_noted() -> None:
    cluster, _, caches = at_work()

    await asyncio.gather(*(caches.note(name, "a") for name in UIDS))

    assert sorted(noted(cluster)) == sorted(UIDS)


@pytest.mark.parametrize("change", ["note", "forget"])
async def test_what_another_operator_noted_meanwhile_stays(change: str) -> None:
    cluster, _, caches = at_work(entry("third"))
    cluster.meanwhile.append(lambda: cluster.put(kinds.EDGENODES, edge([entry("third"), entry("other")])))

    await (caches.note("line", "a") if change == "note" else caches.forget("a", UIDS["third"]))

    assert noted(cluster) == (["third", "other", "line"] if change == "note" else ["other"])


async def test_who_never_gets_at_it_says_so_and_has_noted_nothing() -> None:
    cluster, _, caches = at_work()
    cluster.meanwhile.extend([lambda: cluster.put(kinds.EDGENODES, edge([]))] * 10)

    with pytest.raises(Exception, match="modified"):
        await caches.note("line", "a")

    assert not caches.noted("line", "a")


async def test_where_there_is_no_edge_node_yet_nothing_is_noted_and_nothing_begins() -> None:
    cluster, _, caches = at_work(edge_node=False)

    await caches.note("line", "a")

    assert (cluster.writes, caches.noted("line", "a")) == ([], False)


async def test_a_namespace_that_is_going_is_not_noted() -> None:
    cluster, store, caches = at_work()
    going = {"name": "line", "uid": UIDS["line"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    cluster.put(kinds.NAMESPACES, {"metadata": going})
    cluster.list_into(store)

    await caches.note("line", "a")

    assert (cluster.writes, caches.noted("line", "a")) == ([], False)


async def test_one_made_again_is_noted_beside_its_namesake() -> None:
    cluster, _, caches = at_work({"uid": UIDS["other"], "namespace": "line"})
    assert not caches.noted("line", "a")

    await caches.note("line", "a")

    assert cluster.objects[kinds.EDGENODES, "", "a"]["status"]["caches"][1:] == [entry("line")]


async def test_a_machine_has_so_many_and_says_so() -> None:
    full = [{"uid": str(uuid.UUID(int=number)), "namespace": "line"} for number in range(MAX_CACHES)]
    cluster, _, caches = at_work(*full)

    with pytest.raises(TooManyCachesError, match=r"^EdgeNode a has model caches of 512 namespaces, .* place the model"):
        await caches.note("line", "a")

    assert cluster.writes == []


def test_what_an_edge_node_says_of_its_machine_leaves_the_notes_alone() -> None:
    there = t4("a")
    its = plan(world([there])).nodes["a"]

    for caches in ([entry("line")], []):
        for facts, planned in ((there, its), (None, None)):
            known = EdgeNode.model_validate(edge(caches))
            patch = status_patch(known.status, edgenode.status(known, facts, planned))
            assert patch
            assert "caches" not in patch
