"""Revisions of shared servers: what makes another one, what it keeps, and when an update of it has failed."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.triton.conftest import make_model, make_platform

from littoral.api.gpuslice import GPUSliceSpec
from littoral.api.inferencemodel import InferenceModel
from littoral.placement.groups import Group, compose
from littoral.placement.results import Assignment, Served
from littoral.triton import metadata, revision, server_revision
from littoral.triton.revision import Frozen

SOURCE = {"uri": "https://models.example/m.tar", "sha256": "a" * 64}


def member(name: str, digest: str = "a", **spec: Any) -> InferenceModel:
    only = {"name": "any", "accelerators": ["*"], "format": "onnx", "source": {**SOURCE, "sha256": digest * 64}}
    shared = {"variants": [only], "server": {"group": "vision"}, "serving": {}}
    return make_model({**shared, **spec}, {"name": name, "uid": f"{name}-uid"})


def group(*members: InferenceModel) -> Group:
    (found,) = compose(members).values()
    return found


def place(*names: str, profile: str = "t4", stack: str = "") -> Assignment:
    served = tuple(Served(name, "any", "first variant for t4") for name in names)
    return Assignment(
        "vision-1", "edge-a", "t4-0", profile, "", "", "", GPUSliceSpec(memory="1Gi"), None, None, stack=stack,
        members=served,
    )  # fmt: skip


def frozen(*members: InferenceModel) -> Frozen:
    at = place(*(model.metadata.name for model in members))
    return server_revision.freeze(group(*members), at, make_platform(), fetch_image="fetch:1", number=1)


NAME = server_revision.revision_name(group(member("a"), member("b")), place("a", "b"))
OTHERS = {
    "a model joins": (group(member("a"), member("b"), member("c")), place("a", "b", "c")),
    "a model leaves": (group(member("a")), place("a")),
    "a model changes": (group(member("a"), member("b", "c")), place("a", "b")),
    "another profile": (group(member("a"), member("b")), place("a", "b", profile="orin")),
    "another stack": (group(member("a"), member("b")), place("a", "b", stack="jetpack-6")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_revision_when(what: str) -> None:
    assert server_revision.revision_name(*OTHERS[what]) != NAME


def test_the_same_revision_whoever_is_the_oldest() -> None:
    assert server_revision.revision_name(group(member("b"), member("a")), place("a", "b")) == NAME
    assert server_revision.revision_name(group(member("a"), member("b", replicas=1)), place("a", "b")) == NAME


def test_a_model_that_is_left_out_there_makes_no_difference() -> None:
    assert server_revision.revision_name(group(member("a"), member("b"), member("c")), place("a", "b")) == NAME


def test_a_long_name_still_gives_one_that_can_be_remembered() -> None:
    long = group(member("a", server={"group": "g" * 63}))
    assert len(server_revision.revision_name(long, place("a"))) == 63


def test_is_read_back_as_it_was_stored_and_goes_with_the_last_of_its_models() -> None:
    mine = frozen(member("a"), member("b"))
    owner = metadata.together(("line", "group/vision"), "vision", [member("a").metadata, member("b").metadata])
    stored = json.loads(json.dumps(revision.controller_revision(owner, mine)))
    assert revision.read(stored) == mine
    assert [(each["name"], each["controller"]) for each in stored["metadata"]["ownerReferences"]] == [
        ("a", False),
        ("b", False),
    ]


GATES = {
    "a model changes": ((member("a"), member("b")), (member("a"), member("b", "c")), ("b",)),
    "a model joins": ((member("a"),), (member("a"), member("b")), ()),
    "a model leaves": ((member("a"), member("b")), (member("a"),), ()),
    "one joins, another changes": ((member("a"),), (member("a", "c"), member("b")), ("a",)),
}


@pytest.mark.parametrize("what", GATES)
def test_an_update_has_failed_only_by_the_models_that_it_changes(what: str) -> None:
    before, after, gate = GATES[what]
    assert server_revision.changed(frozen(*before), frozen(*after)) == gate


def test_nothing_is_compared_with_what_nobody_knows() -> None:
    assert server_revision.changed(None, frozen(member("a"))) == ()


def test_a_restart_is_announced_with_its_cause() -> None:
    before, after = frozen(member("a"), member("b")), frozen(member("b", "c"), member("d"))
    assert server_revision.announcement(before.members, after.members) == (
        "model d joins, model a leaves, model b changes"
    )
    assert server_revision.announcement(before.members, before.members) == "its figures or its template change"


def test_a_variant_that_the_user_took_away_meanwhile_is_left() -> None:
    gone = replace(place("a", "b"), members=(Served("a", "any", ""), Served("b", "former", "")))
    assert [part.model.metadata.name for part in server_revision.parts(group(member("a"), member("b")), gone)] == ["a"]
