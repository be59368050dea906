"""What counts as drift, by table; and what must hold for every pair of trees."""

import copy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from littoral.controller.drift import Tolerated, first_difference


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "triton", **container}]}}}}


CONTAINER = "spec.template.spec.containers[triton]"


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, id="a default was added"),
        pytest.param({"metadata": {"labels": {"x": "1"}}}, {"metadata": {"labels": {"x": "1", "y": "2"}}}, id="label"),
        pytest.param(pod(image="i"), pod(image="i", imagePullPolicy="IfNotPresent"), id="inside a merged list"),
        pytest.param({"args": []}, {}, id="empty list dropped"),
        pytest.param({"nodeSelector": {}}, {}, id="empty map dropped"),
        pytest.param({"spec": {"nodeSelector": {}, "x": ""}}, {}, id="map of nothing dropped"),
        pytest.param({"clusterIP": ""}, {"clusterIP": ""}, id="empty string"),
        pytest.param({"priority": None}, {"priority": 7}, id="None is no opinion"),
        pytest.param({"limits": {"memory": "4096Mi"}}, {"limits": {"memory": "4Gi"}}, id="Mi and Gi"),
        pytest.param({"requests": {"cpu": "1000m"}}, {"requests": {"cpu": "1"}}, id="milli"),
        pytest.param({"requests": {"nvidia.com/gpu": 1}}, {"requests": {"nvidia.com/gpu": "1"}}, id="number as string"),
        pytest.param({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}, id="sizeLimit"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "B", "value": "2"}, {"name": "X"}, {"name": "A", "value": "1"}]},
            id="a merged list in another order, with a stranger's element",
        ),
        pytest.param(
            {"ports": [{"containerPort": 8000}]},
            {"ports": [{"containerPort": 9}, {"containerPort": 8000, "protocol": "TCP"}]},
            id="ports by number",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b", "readOnly": True}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/b", "readOnly": True}, {"name": "v", "mountPath": "/a"}]},
            id="one volume mounted twice",
        ),
    ],
)
def test_no_drift(desired: dict[str, Any], live: dict[str, Any]) -> None:
    assert first_difference(desired, live) is None


@pytest.mark.parametrize(
    ("desired", "live", "path"),
    [
        pytest.param(pod(image="a"), pod(image="b"), f"{CONTAINER}.image", id="edited"),
        pytest.param(pod(image="a"), pod(), f"{CONTAINER}.image", id="removed"),
        pytest.param(
            pod(), {"spec": {"template": {"spec": {"containers": [{"name": "x"}]}}}}, CONTAINER, id="container"
        ),
        pytest.param({"spec": {"replicas": 0}}, {"spec": {"replicas": 1}}, "spec.replicas", id="zero"),
        pytest.param({"automount": False}, {}, "automount", id="false differs from absent"),
        pytest.param({"replicas": 0}, {}, "replicas", id="zero differs from absent"),
        pytest.param({"a": True}, {"a": 1}, "a", id="a boolean is no number"),
        pytest.param({"port": 80}, {"port": "80"}, "port", id="int-or-string keeps its kind"),
        pytest.param({"a": ""}, {"a": "x"}, "a", id="emptied on purpose"),
        pytest.param({"args": ["a", "b"]}, {"args": ["b", "a"]}, "args[0]", id="order matters in an atomic list"),
        pytest.param({"args": ["a"]}, {"args": ["a", "b"]}, "args", id="an atomic list is longer"),
        pytest.param({"args": []}, {"args": ["x"]}, "args", id="an atomic list is to be empty"),
        pytest.param({"a": {"b": 1}}, {"a": [1]}, "a", id="another type"),
        pytest.param({"limits": {"memory": "4Gi"}}, {"limits": {"memory": "4G"}}, "limits.memory", id="Gi is not G"),
        pytest.param({"labels": {"v": "1000m"}}, {"labels": {"v": "1"}}, "labels.v", id="a label is no quantity"),
        pytest.param({"limits": {"memory": "x"}}, {"limits": {"memory": "y"}}, "limits.memory", id="not numbers"),
        pytest.param(
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "a"}, {"key": "b"}]},
            "tolerations",
            id="tolerations are atomic",
        ),
    ],
)
def test_drift(desired: dict[str, Any], live: dict[str, Any], path: str) -> None:
    assert first_difference(desired, live) == path


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab1", max_size=3)
FIELDS = st.sampled_from(["a", "b", "limits", "containers", "args", "ports"])
TREES = st.dictionaries(
    FIELDS,
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(FIELDS, inner, max_size=3)
            | st.lists(st.dictionaries(FIELDS, inner, max_size=2), max_size=3).map(
                lambda elements: [{**element, "name": f"n{i}", "port": i} for i, element in enumerate(elements)]
            )
        ),
        max_leaves=12,
    ),
    max_size=4,
)


@given(TREES)
def test_nothing_drifts_from_itself(tree: dict[str, Any]) -> None:
    assert first_difference(tree, copy.deepcopy(tree)) is None


@given(TREES, st.data())
def test_fields_that_others_add_are_no_drift(tree: dict[str, Any], data: st.DataObject) -> None:
    live = copy.deepcopy(tree)
    for _ in range(3):
        data.draw(st.sampled_from(list(maps_of(live)))).setdefault("zz-added", data.draw(SCALARS))
    assert first_difference(tree, live) is None


@given(TREES, st.data())
def test_every_scalar_that_somebody_changes_is_drift(tree: dict[str, Any], data: st.DataObject) -> None:
    live = copy.deepcopy(tree)
    places = [(at, key) for at, key in scalars_of(live) if at[key] is not None]
    assume(places)
    at, key = data.draw(st.sampled_from(places))
    at[key] = "another"
    assert first_difference(tree, live) is not None


def maps_of(tree: Any) -> Any:
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from maps_of(child)


def scalars_of(tree: Any) -> Any:
    for key, child in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)):
        if isinstance(child, dict | list):
            yield from scalars_of(child)
        else:
            yield tree, key


def service(uid: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s", "namespace": "n", "uid": uid}, "spec": spec}


def test_a_field_that_the_server_drops_is_learned_once_for_the_kind() -> None:
    tolerated = Tolerated()
    desired, stored = service("1", trafficDistribution="PreferClose", type="ClusterIP"), service("1", type="ClusterIP")
    assert tolerated.first_difference("Service", desired, stored) == "spec.trafficDistribution"
    tolerated.learn("Service", desired, stored)
    assert tolerated.first_difference("Service", desired, stored) is None
    other = service("2", trafficDistribution="PreferSameNode", type="ClusterIP")
    assert tolerated.first_difference("Service", other, service("2", type="ClusterIP")) is None
    assert tolerated.first_difference("Service", other, service("2", type="NodePort")) == "spec.type"
    assert tolerated.first_difference("Pod", desired, stored) == "spec.trafficDistribution"


def test_a_false_that_is_dropped_does_not_excuse_a_true_that_is_missing() -> None:
    tolerated = Tolerated()
    tolerated.learn("Service", service("1", hostNetwork=False), service("1"))
    assert tolerated.first_difference("Service", service("1", hostNetwork=False), service("1")) is None
    assert tolerated.first_difference("Service", service("1", hostNetwork=True), service("1")) == "spec.hostNetwork"


def test_a_value_that_a_webhook_overrules_is_tolerated_there_and_nowhere_else() -> None:
    tolerated = Tolerated()
    desired, answer = service("1", image="a"), service("1", image="mirror/a")
    tolerated.learn("Service", desired, answer)
    assert tolerated.first_difference("Service", desired, answer) is None
    assert tolerated.first_difference("Service", desired, service("1", image="evil")) == "spec.image"
    assert tolerated.first_difference("Service", service("1", image="b"), answer) == "spec.image"
    assert (
        tolerated.first_difference("Service", service("2", image="a"), service("2", image="mirror/a")) == "spec.image"
    )
    tolerated.forget("1")
    assert tolerated.first_difference("Service", desired, answer) == "spec.image"


def test_what_a_later_write_mends_is_no_longer_tolerated() -> None:
    tolerated = Tolerated()
    desired, answer = service("1", image="a"), service("1", image="mirror/a")
    tolerated.learn("Service", desired, answer)
    tolerated.learn("Service", desired, desired)
    assert tolerated.first_difference("Service", desired, answer) == "spec.image"
