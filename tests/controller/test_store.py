"""What the store takes in, what it makes worth looking at, and what no event or LIST may undo."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as configured
from hypothesis import strategies as st

from littoral.api import group
from littoral.api.gpuslice import GPUSlice
from littoral.controller import kinds
from littoral.controller.kinds import KINDS, Kind
from littoral.controller.store import Store
from littoral.controller.work import CLEANING, PLAN, Refused, Work

KEY = ("line", "s1")
MODEL = Work("Model", "line", "plate")
SPEC = {
    "variants": [
        {
            "name": "v",
            "accelerators": ["*"],
            "format": "onnx",
            "source": {"uri": "https://models.example/7", "sha256": "a" * 64},
        }
    ]
}
ALLOCATION = {"node": "a", "device": "t4-0", "profile": "t4", "provider": "counted", "memory": "1Gi"}
GRANT = '{"node":"a","device":"t4-0","profile":"t4","provider":"counted","memory":"1Gi"}'


def body(name: str, version: int, *, namespace: str = "line", uid: str = "u1", meta: Any = None, **rest: Any) -> Any:
    where = {"namespace": namespace} if namespace else {}
    return {"metadata": {"name": name, **where, "uid": uid, "resourceVersion": str(version), **(meta or {})}, **rest}


def owned(kind: str = "InferenceModel", name: str = "plate") -> dict[str, Any]:
    return {
        "ownerReferences": [
            {"apiVersion": group.API_VERSION, "kind": kind, "name": name, "uid": "o", "controller": True}
        ]
    }


def slice_(version: int, *, allocation: Any = None, memory: str = "1Gi", ours: bool = True, **more: Any) -> Any:
    status = {"allocation": allocation} if allocation else {}
    return body("s1", version, meta=owned() if ours else None, spec={"memory": memory}, status=status, **more)


def node(version: int, *, ready: str = "True", heartbeat: str = "1", labels: Any = None, **status: Any) -> Any:
    condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}
    return body("a", version, namespace="", meta={"labels": labels or {}}, status={"conditions": [condition], **status})


def pod(version: int, *, grant: str = GRANT, ready: bool = False, notes: Any = None, **more: Any) -> Any:
    labels = {group.LABEL_SLICE: "s1", group.LABEL_MODEL: "plate"}
    meta = {"labels": labels, "annotations": {group.ANNOTATION_GRANT: grant, **(notes or {})}}
    statuses = [{"name": group.SERVER_CONTAINER, "ready": ready, "state": {"running": {}}}]
    return body("p", version, meta=meta, status={"phase": "Running", "containerStatuses": statuses}, **more)


def refused(version: int) -> Any:
    since = "2026-01-01T00:00:00Z"
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes", "lastTransitionTime": since}
    found = pod(version)
    return {**found, "status": {"phase": "Pending", "conditions": [condition]}}


def deployment(version: int, *, replicas: int = 1, **status: Any) -> Any:
    meta = {"labels": {group.LABEL_SLICE: "s1", group.LABEL_MODEL: "plate"}}
    template = {"metadata": {"annotations": {group.ANNOTATION_GRANT: GRANT}}}
    return body("s1", version, meta=meta, spec={"replicas": replicas, "template": template}, status=status)


def model(version: int, *, status: Any = None, meta: Any = None, **spec: Any) -> Any:
    return body("plate", version, meta=meta, spec={**SPEC, **spec}, status=status or {})


def allocated(store: Store) -> bool:
    found = store.get(kinds.SLICES, KEY)
    return isinstance(found, GPUSlice) and found.status.allocation is not None


# Time


def test_a_list_that_was_begun_before_a_bind_does_not_undo_it() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(5))
    page = slice_(5)  # drawn at 6
    store.apply(kinds.SLICES, slice_(7, allocation=ALLOCATION))  # our bind comes back while the pages arrive
    assert store.apply(kinds.SLICES, page) == set()
    assert store.sweep(kinds.SLICES, {KEY}, 6) == set()
    assert allocated(store)


def test_a_list_does_not_bring_back_what_was_deleted_after_it_was_begun() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(5))
    store.apply(kinds.SLICES, slice_(8), deleted=True)
    store.apply(kinds.SLICES, slice_(2), deleted=True)  # an old deletion, told again, opens no door
    assert store.apply(kinds.SLICES, slice_(5)) == set()
    store.sweep(kinds.SLICES, {KEY}, 6)
    assert store.apply(kinds.SLICES, slice_(6)) == set()
    assert store.get(kinds.SLICES, KEY) is None
    store.apply(kinds.SLICES, slice_(9, uid="u2"))
    assert store.get(kinds.SLICES, KEY) is not None


def test_a_list_drops_what_it_lacks_and_keeps_what_is_newer() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(5))
    store.apply(kinds.MODELS, model(9))
    assert store.sweep(kinds.SLICES, set(), 6) >= {MODEL}
    assert store.sweep(kinds.MODELS, set(), 6) == set()
    assert store.get(kinds.SLICES, KEY) is None
    kept = store.get(kinds.MODELS, ("line", "plate"))
    assert kept is not None
    assert kept.metadata.resource_version == "9"


def test_an_event_that_is_late_changes_nothing() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(7, allocation=ALLOCATION))
    assert store.apply(kinds.SLICES, slice_(6)) == set()
    assert store.apply(kinds.SLICES, slice_(6), deleted=True) == set()
    assert allocated(store)


def test_what_is_assumed_counts_until_it_is_forgotten() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(5))
    store.assume(kinds.SLICES, KEY, GPUSlice.model_validate(slice_(5, allocation=ALLOCATION)))
    store.apply(kinds.SLICES, slice_(6))
    assert allocated(store)
    assert store.values(kinds.SLICES)[KEY].status.allocation is not None
    store.forget(kinds.SLICES, KEY)
    assert not allocated(store)
    assert list(store.of_owner(kinds.SLICES, ("line", "plate"))) == ["s1"]


def test_an_assumed_object_that_was_never_made_leaves_nothing() -> None:
    store = Store()
    store.assume(kinds.SLICES, KEY, GPUSlice.model_validate(slice_(5)))
    assert list(store.of_owner(kinds.SLICES, ("line", "plate"))) == ["s1"]
    store.forget(kinds.SLICES, KEY)
    assert store.of_owner(kinds.SLICES, ("line", "plate")) == {}
    assert store.values(kinds.SLICES) == {}


# Consequences

EDGE = Work("EdgeNode", "", "a")
EXCLUSION = {
    "device": "t4-0",
    "reason": "Unschedulable",
    "since": "2026-01-01T00:00:00Z",
    "until": "2026-01-01T00:01:00Z",
}
EXCLUDING = body("a", 1, namespace="", spec={}, status={"exclusions": [EXCLUSION]})
OTHER_GRANT = GRANT.replace("1Gi", "8Gi")
BOUND = [(kinds.SLICES, slice_(1, allocation=ALLOCATION))]
UID = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d11"
OTHER = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d12"
LINE = body("line", 1, namespace="", uid=UID)
ENDED = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}


def edge(version: int, *uids: str) -> Any:
    """An EdgeNode on which caches of the namespace line are noted."""
    caches = [{"uid": uid, "namespace": "line"} for uid in uids]
    return body("a", version, namespace="", spec={}, status={"caches": caches})


KNOWN = (kinds.EDGENODES, edge(2))


CASES: dict[str, tuple[list[tuple[Any, Any]], Any, Any, set[Work]]] = {
    "a new node": ([], kinds.NODES, node(5), {PLAN, EDGE}),
    "a heartbeat": ([(kinds.NODES, node(2))], kinds.NODES, node(5, heartbeat="2"), set()),
    "a node's resources": (
        [*BOUND, (kinds.NODES, node(2))],
        kinds.NODES,
        node(5, allocatable={"nvidia.com/gpu": "4"}),
        {PLAN, EDGE},
    ),
    "a node goes offline": (
        [*BOUND, (kinds.NODES, node(2))],
        kinds.NODES,
        node(5, ready="Unknown"),
        {PLAN, EDGE, MODEL},
    ),
    "a node is ready again, for which an update waited": (
        [*BOUND, (kinds.NODES, node(2, ready="False"))],
        kinds.NODES,
        node(5),
        {PLAN, EDGE, MODEL},
    ),
    "a node is called by another address": (
        [*BOUND, (kinds.NODES, node(2))],
        kinds.NODES,
        node(5, addresses=[{"type": "InternalIP", "address": "10.0.0.9"}]),
        {PLAN, EDGE, MODEL},
    ),
    "a node is of another site": (
        [*BOUND, (kinds.NODES, node(2))],
        kinds.NODES,
        node(5, labels={"topology.kubernetes.io/zone": "hall-2"}),
        {PLAN, EDGE, MODEL},
    ),
    "our status on a model": ([(kinds.MODELS, model(2))], kinds.MODELS, model(5, status={"url": "x"}), set()),
    "a model is scaled": ([(kinds.MODELS, model(2))], kinds.MODELS, model(5, replicas=3), {MODEL, PLAN}),
    "a model is paused": ([(kinds.MODELS, model(2))], kinds.MODELS, model(5, paused=True), {MODEL}),
    "a model is refreshed": (
        [(kinds.MODELS, model(2))],
        kinds.MODELS,
        model(5, meta={"annotations": {group.ANNOTATION_REFRESH: "now"}}),
        {MODEL, PLAN},
    ),
    "our status on an EdgeNode": (
        [(kinds.EDGENODES, body("a", 2, namespace="", spec={}))],
        kinds.EDGENODES,
        body("a", 5, namespace="", spec={}, status={"pool": "p"}),
        {EDGE},
    ),
    "an EdgeNode is cordoned": (
        [(kinds.EDGENODES, body("a", 2, namespace="", spec={}))],
        kinds.EDGENODES,
        body("a", 5, namespace="", spec={"cordoned": True}),
        {EDGE, PLAN},
    ),
    "an EdgeNode's exclusion": (
        [(kinds.EDGENODES, body("a", 2, namespace="", spec={}))],
        kinds.EDGENODES,
        body("a", 5, namespace="", spec={}, status={"exclusions": [EXCLUSION]}),
        {EDGE, PLAN},
    ),
    "an EdgeNode where a server waits for it": (BOUND, kinds.EDGENODES, edge(5), {EDGE, PLAN, MODEL}),
    "a cache of a namespace that is there": ([(kinds.NAMESPACES, LINE), KNOWN], kinds.EDGENODES, edge(5, UID), {EDGE}),
    "a cache of one that is not": ([KNOWN], kinds.EDGENODES, edge(5, UID), {EDGE, CLEANING}),
    "a cache of a namesake": ([(kinds.NAMESPACES, LINE), KNOWN], kinds.EDGENODES, edge(5, OTHER), {EDGE, CLEANING}),
    "a node that comes back with such a cache": (
        [(kinds.EDGENODES, edge(2, UID)), (kinds.NODES, node(3, ready="Unknown"))],
        kinds.NODES,
        node(5),
        {PLAN, EDGE, CLEANING},
    ),
    "a cleaning Job": (
        [(kinds.JOBS, body("c", 2, meta={"labels": {group.LABEL_CACHE: UID}}))],
        kinds.JOBS,
        body("c", 5, meta={"labels": {group.LABEL_CACHE: UID}}, status=ENDED),
        {CLEANING},
    ),
    "a RuntimeClass": ([], kinds.RUNTIMECLASSES, body("nvidia", 5, namespace=""), {PLAN}),
    "a PriorityClass": ([], kinds.PRIORITYCLASSES, body("first", 5, namespace="", value=7), {PLAN}),
    "a Namespace's labels": (
        [(kinds.NAMESPACES, body("line", 2, namespace=""))],
        kinds.NAMESPACES,
        body("line", 5, namespace="", meta={"labels": {"team": "press"}}),
        {PLAN, Work("Namespace", "", "line")},
    ),
    "a Namespace's annotations": (
        [(kinds.NAMESPACES, body("line", 2, namespace=""))],
        kinds.NAMESPACES,
        body("line", 5, namespace="", meta={"annotations": {"note": "x"}}),
        {Work("Namespace", "", "line")},
    ),
    "a Namespace that asks for signatures from now on": (
        [(kinds.NAMESPACES, body("line", 2, namespace="")), (kinds.MODELS, model(2))],
        kinds.NAMESPACES,
        body("line", 5, namespace="", meta={"labels": {"littoral.dev/require-signature": "true"}}),
        {PLAN, Work("Namespace", "", "line"), MODEL},
    ),
    "a Namespace's quota": (
        [(kinds.NAMESPACES, body("line", 2, namespace="")), (kinds.MODELS, model(2))],
        kinds.NAMESPACES,
        body("line", 5, namespace="", meta={"annotations": {"littoral.dev/model-cache-quota": "1Gi"}}),
        {Work("Namespace", "", "line"), MODEL},
    ),
    "a Namespace that was not known": (
        [(kinds.MODELS, model(2))],
        kinds.NAMESPACES,
        body("line", 5, namespace=""),
        {PLAN, Work("Namespace", "", "line"), MODEL, CLEANING},
    ),
    "a pod that the scheduler refuses": ([*BOUND, (kinds.PODS, pod(2))], kinds.PODS, refused(5), {MODEL, EDGE}),
    "a pod that it refuses no longer": ([*BOUND, (kinds.PODS, refused(2))], kinds.PODS, pod(5), {MODEL, EDGE}),
    "a pod that it refuses where something is excluded": (
        [*BOUND, (kinds.EDGENODES, EXCLUDING), (kinds.PODS, pod(2))],
        kinds.PODS,
        refused(5),
        {MODEL, EDGE, PLAN},
    ),
    "HAMi says which card a pod has": (
        [*BOUND, (kinds.PODS, pod(2))],
        kinds.PODS,
        pod(5, notes={"hami.io/vgpu-devices-allocated": "GPU-1,NVIDIA,1024,25:;"}),
        {MODEL, PLAN},
    ),
    "a pod on a slice that a user wrote": (
        [(kinds.SLICES, slice_(1, allocation=ALLOCATION, ours=False))],
        kinds.PODS,
        pod(5),
        {MODEL, PLAN},
    ),
    "a bind": ([(kinds.SLICES, slice_(2))], kinds.SLICES, slice_(5, allocation=ALLOCATION), {MODEL, PLAN}),
    "the time of a cutover": (
        BOUND,
        kinds.SLICES,
        slice_(5, allocation={**ALLOCATION, "updatedAt": "2026-01-01T00:00:00Z"}),
        {MODEL},
    ),
    "a user's slice": ([], kinds.SLICES, slice_(5, ours=False), {Work("Slice", *KEY), PLAN}),
    "a pod on its slice's figures": (BOUND, kinds.PODS, pod(5), {MODEL}),
    "a pod on former figures": (BOUND, kinds.PODS, pod(5, grant=OTHER_GRANT), {MODEL, PLAN}),
    "a pod without a slice": ([], kinds.PODS, pod(5), {MODEL, PLAN}),
    "a pod becomes ready": ([*BOUND, (kinds.PODS, pod(2))], kinds.PODS, pod(5, ready=True), {MODEL}),
    "a Deployment's status": (
        [*BOUND, (kinds.DEPLOYMENTS, deployment(2))],
        kinds.DEPLOYMENTS,
        deployment(5, readyReplicas=1),
        set(),
    ),
    "somebody scales a Deployment": (
        [*BOUND, (kinds.DEPLOYMENTS, deployment(2))],
        kinds.DEPLOYMENTS,
        deployment(5, replicas=0),
        {MODEL},
    ),
    "a Deployment without a slice": ([], kinds.DEPLOYMENTS, deployment(5), {MODEL, PLAN}),
    "a claim": ([], kinds.CLAIMS, body("littoral-models", 5), {Work("Namespace", "", "line")}),
    "a volume": (
        [],
        kinds.VOLUMES,
        body("v", 5, namespace="", spec={"claimRef": {"namespace": "line"}}),
        {Work("Namespace", "", "line")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_makes_worth_looking_at(case: str) -> None:
    before, resource, change, work = CASES[case]
    store = Store()
    for kind, each in before:
        store.apply(kind, each)
    assert store.apply(resource, change) == work


def test_a_namespace_that_goes_is_cleaned_up_after() -> None:
    store = Store()
    store.apply(kinds.NAMESPACES, LINE)
    assert CLEANING in store.apply(kinds.NAMESPACES, body("line", 2, namespace="", uid=UID), deleted=True)


@pytest.mark.parametrize("grant", [GRANT, OTHER_GRANT])
def test_memory_that_only_a_pod_held_is_planned_anew_when_it_ends(grant: str) -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(1, allocation=ALLOCATION))
    store.apply(kinds.PODS, pod(2, grant=grant))
    assert (PLAN in store.apply(kinds.PODS, pod(3, grant=grant), deleted=True)) is (grant != GRANT)


# What cannot be read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["spec", "status", "data", "conditions", "template", "allocation", "variants", "containerStatuses", "claimRef"]
TREES = st.dictionaries(
    st.sampled_from(FIELDS), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), max_size=4
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)
@configured(max_examples=60, deadline=None)
@given(contents=st.lists(TREES, min_size=1, max_size=4))
def test_no_content_stops_the_watch(kind: Kind, contents: list[Mapping[str, Any]]) -> None:
    store = Store()
    key = ("line" if kind.resource.namespaced else "", "x")
    for version, content in enumerate(contents, 1):
        store.apply(kind.resource, {**body("x", version, namespace=key[0]), **content})
        found = store.get(kind.resource, key)
        assert found is not None
        assert (key in store.values(kind.resource)) is not isinstance(found, Refused)
        assert (key in store.refused(kind.resource)) is isinstance(found, Refused)
    store.apply(kind.resource, body("x", 99, namespace=key[0]), deleted=True)
    assert store.get(kind.resource, key) is None


def test_what_is_refused_says_which_field() -> None:
    store = Store()
    store.apply(kinds.MODELS, model(1, replicas="many"))
    assert store.refused(kinds.MODELS)["line", "plate"].startswith("spec.replicas: Input should be a valid integer")
    store.apply(kinds.NODES, node(1, allocatable={"memory": "plenty"}))
    assert store.node("a") is None


# Indices

OWNERS = st.sampled_from([None, "m1", "m2"])


@configured(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["slice", "pod", "assume", "forget"]), st.sampled_from("xyz"), OWNERS, st.booleans()),
        max_size=25,
    )
)
def test_the_indices_are_what_a_look_at_everything_finds(history: list[tuple[str, str, str | None, bool]]) -> None:
    store = Store()
    for version, (what, name, owner, deleted) in enumerate(history, 1):
        meta = owned(name=owner) if owner else {}
        one = body(name, version, meta=meta, spec={"memory": "1Gi"})
        if what == "slice":
            store.apply(kinds.SLICES, one, deleted=deleted)
        elif what == "pod":
            store.apply(
                kinds.PODS, body(name, version, meta={"labels": {group.LABEL_SLICE: owner or ""}}), deleted=deleted
            )
        elif what == "forget":
            store.forget(kinds.SLICES, ("line", name))
        elif (known := store.get(kinds.SLICES, ("line", name))) is None or known.metadata.owner(
            "InferenceModel"
        ) == owner:
            store.assume(kinds.SLICES, ("line", name), GPUSlice.model_validate(one))
    slices, pods = store.values(kinds.SLICES), store.values(kinds.PODS)
    for owner in ("m1", "m2"):
        naive = {key[1] for key, one in slices.items() if one.metadata.owner("InferenceModel") == owner}
        assert set(store.of_owner(kinds.SLICES, ("line", owner))) == naive
        assert {one.name for one in store.pods_of(("line", owner))} == {
            p.name for p in pods.values() if p.slice == owner
        }


def test_nothing_is_kept_of_what_is_gone() -> None:
    store = Store()
    store.apply(kinds.SLICES, slice_(1, allocation=ALLOCATION))
    store.apply(kinds.PODS, pod(2))
    store.apply(kinds.SLICES, slice_(3, allocation=ALLOCATION), deleted=True)
    store.apply(kinds.PODS, pod(4), deleted=True)
    indices = (store._by_owner[kinds.SLICES], store._by_slice, store._by_node)
    assert [dict(index) for index in indices] == [{}, {}, {}]
