"""Revisions: what makes a new one, what never does, and that one, once frozen, stays as it is."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.triton.conftest import Json, make_frozen, make_model, make_platform

from littoral.api import group
from littoral.api.inferencemodel import InferenceModel
from littoral.triton import metadata, revision
from littoral.triton.errors import Unservable


def source(**changes: Any) -> Json:
    return {"uri": "https://models.example/plate/7.tgz", "sha256": "a" * 64, "size": "180Mi", **changes}


def variant(**changes: Any) -> Json:
    return {"name": "portable", "accelerators": ["*"], "format": "onnx", "source": source(), **changes}


SERVING = {"modelName": "plate_reader", "startupTimeout": "90s"}
TOLERATION = {"key": "line", "operator": "Exists", "effect": "NoSchedule"}
DECIDES = {
    "version": {"version": "8"},
    "variant name": {"variants": [variant(name="other")]},
    "format": {"variants": [variant(format="python")]},
    "uri": {"variants": [variant(source=source(uri="https://models.example/plate/8.tgz"))]},
    "digest": {"variants": [variant(source=source(sha256="b" * 64))]},
    "size": {"variants": [variant(source=source(size="181Mi"))]},
    "layout": {"variants": [variant(source=source(layout="Repository"))]},
    "secret": {"variants": [variant(source=source(secretName="reader"))]},
    "settings": {"variants": [variant(source=source(configMapName="proxies"))]},
    "signature": {"variants": [variant(source=source(signature={}))]},
    "the signature's URI": {"variants": [variant(source=source(signature={"uri": "https://models.example/m.sig"}))]},
    "model name": {"serving": SERVING | {"modelName": "other"}},
    "image": {"serving": SERVING | {"image": "mine:1"}},
    "startup timeout": {"serving": SERVING | {"startupTimeout": "91s"}},
    "tolerations": {"placement": {"tolerations": [TOLERATION]}},
    "priority class": {"placement": {"priorityClassName": "line-critical"}},
    "network": {"serving": SERVING | {"network": "HostPort"}},
    "ports": {"serving": SERVING | {"ports": {"http": 18000}}},
    "resources": {"serving": SERVING | {"resources": {"cpu": "1"}}},
}
DECIDES_NOTHING = {
    "replicas": {"replicas": 5},
    "paused": {"paused": True},
    "mode": {"placement": {"mode": "PerNode"}},
    "pools": {"placement": {"pools": ["line3"]}},
    "node selector": {"placement": {"nodeSelector": {"a": "b"}}},
    "slice": {"slice": {"memory": "2Gi", "compute": 50, "isolation": "Hard"}},
    "variant's slice": {"variants": [variant(slice={"memory": "2Gi"})]},
    "variant's accelerators": {"variants": [variant(accelerators=["t4"])]},
    "another variant beside it": {"variants": [variant(), variant(name="more")]},
    "a field of a later version": {"autonomy": {"duration": "72h"}},
}


def name_of(model: InferenceModel) -> str:
    return revision.revision_name(model, model.spec.variants[0], "t4")


class TestName:
    @pytest.mark.parametrize("change", DECIDES.values(), ids=DECIDES)
    def test_changes_with_what_decides_the_pod(self, change: Json) -> None:
        assert name_of(make_model(change)) != name_of(make_model())
        assert revision.model_revision(make_model(change)) != revision.model_revision(make_model())

    @pytest.mark.parametrize("change", DECIDES_NOTHING.values(), ids=DECIDES_NOTHING)
    def test_stays_for_all_else(self, change: Json) -> None:
        assert name_of(make_model(change)) == name_of(make_model())
        assert make_frozen(make_model(change)) == make_frozen()

    def test_changes_with_the_profile(self) -> None:
        model = make_model()

        assert revision.revision_name(model, model.spec.variants[0], "jetson-orin-nx-16gb") != name_of(model)

    def test_changes_on_refresh(self) -> None:
        refreshed = make_model(metadata={"annotations": {group.ANNOTATION_REFRESH: "2026-01-01T00:00:00Z"}})

        assert name_of(refreshed) != name_of(make_model())
        assert revision.model_revision(refreshed) != revision.model_revision(make_model())

    def test_other_annotations_do_not_count(self) -> None:
        assert name_of(make_model(metadata={"annotations": {"note": "x"}, "generation": 4})) == name_of(make_model())

    def test_a_default_written_out_is_no_change(self) -> None:
        assert name_of(make_model({"serving": {"startupTimeout": "10m"}})) == name_of(make_model({"serving": {}}))

    def test_fits_a_label_and_begins_with_the_models_name(self) -> None:
        longest = name_of(make_model(metadata={"name": "p" * 40}))

        assert re.fullmatch(r"p{40}-[0-9a-f]{10}", longest)
        assert len(longest) <= 63

    def test_is_the_same_in_every_version(self) -> None:
        """A change here restarts every server in the field when the operator is upgraded: it may not change."""
        model = make_model({"placement": {"tolerations": [TOLERATION]}})

        assert name_of(model) == "plate-a30f644d5d"
        assert revision.model_revision(model) == "44c6e43997"

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["onnx", "python"]), st.sampled_from("ab"), st.sampled_from(["1", "2"]), st.booleans()
            ),
            min_size=2,
            max_size=2,
        )
    )
    def test_is_equal_exactly_where_what_decides_is(self, facts: list[tuple[str, str, str, bool]]) -> None:
        def build(format_: str, digest: str, version: str, paused: bool) -> str:
            variants = [variant(format=format_, source=source(sha256=digest * 64))]
            return name_of(make_model({"variants": variants, "version": version, "paused": paused}))

        first, second = facts
        assert (build(*first) == build(*second)) == (first[:3] == second[:3])


def test_the_order_of_variants_is_no_revision() -> None:
    one, two = variant(), variant(name="more", format="python")

    assert revision.model_revision(make_model({"variants": [one, two]})) == revision.model_revision(
        make_model({"variants": [two, one]})
    )


class TestFreeze:
    def test_is_deterministic(self) -> None:
        assert json.dumps(make_frozen().template) == json.dumps(make_frozen().template)

    def test_names_what_it_was_resolved_from(self) -> None:
        frozen = make_frozen(number=4)

        assert frozen.name == name_of(make_model())
        assert (frozen.variant, frozen.profile, frozen.number, frozen.startup_timeout) == ("portable", "t4", 4, 90)
        assert frozen.template["metadata"]["labels"][group.LABEL_REVISION] == frozen.name

    @pytest.mark.parametrize(
        ("profile", "expected"),
        [
            ({}, False),
            ({"unified": True}, True),
            ({"name": "cpu", "family": "cpu", "sharing": ["cpu"]}, True),
        ],
    )
    def test_knows_whether_the_grant_is_node_memory(self, profile: Json, expected: bool) -> None:
        assert make_frozen(platform=make_platform(**profile)).node_memory is expected

    @pytest.mark.parametrize(
        "stack",
        [
            {"image": "registry.example/triton:2"},
            {"arguments": ["--log-verbose=1"]},
            {"env": {}},
            {"instanceKind": "KIND_CPU"},
            {"securityContext": {"runAsUser": 7}},
        ],
    )
    def test_another_catalogue_gives_another_template_under_the_same_name(self, stack: Json) -> None:
        now, then = make_frozen(platform=make_platform(stack)), make_frozen()

        assert now.name == then.name
        assert now.template != then.template

    def test_another_fetch_image_gives_another_template_under_the_same_name(self) -> None:
        now, then = make_frozen(fetch_image="registry.example/littoral:2"), make_frozen()

        assert now.name == then.name
        assert now.template != then.template

    def test_refuses_what_the_catalogue_cannot_serve(self) -> None:
        with pytest.raises(Unservable):
            make_frozen(platform=make_platform({"backends": {}}))


class TestControllerRevision:
    @pytest.fixture
    def manifest(self) -> Json:
        return revision.controller_revision(metadata.alone(make_model().metadata), make_frozen(number=3))

    def test_belongs_to_the_model(self, manifest: Json) -> None:
        assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "ControllerRevision")
        assert manifest["metadata"]["namespace"] == "line"
        assert manifest["metadata"]["labels"][group.LABEL_MODEL] == "plate"
        assert manifest["metadata"]["labels"][group.LABEL_MANAGED_BY] == group.MANAGER
        assert manifest["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "littoral.dev/v1alpha1",
                "kind": "InferenceModel",
                "name": "plate",
                "uid": "model-uid",
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
        assert manifest["revision"] == 3

    def test_reads_back_as_it_was_frozen(self, manifest: Json) -> None:
        assert revision.read(json.loads(json.dumps(manifest))) == make_frozen(number=3)

    def test_reads_when_it_was_stored(self, manifest: Json) -> None:
        manifest["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"

        created = datetime(2026, 1, 1, tzinfo=UTC)
        assert revision.read(manifest) == dataclasses.replace(make_frozen(number=3), created=created)

    def test_one_that_is_not_ours_is_an_error(self) -> None:
        with pytest.raises((KeyError, TypeError)):
            revision.read({"metadata": {"name": "web-5d4f"}, "revision": 1, "data": {"spec": {}}})
