"""The prefetch Job: what of a revision's pod it takes over, what it leaves out, and whose it is."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.triton.conftest import Json, make_frozen, make_model

from littoral.api import group
from littoral.modelstore.request import parse_request
from littoral.triton import metadata, prefetch_job, revision, service
from littoral.triton.errors import Unservable
from littoral.triton.prefetch_job import Slice

GOLDEN = Path(__file__).parent / "golden"
MODEL = make_model()
OWNER = metadata.alone(MODEL.metadata)
FROZEN = revision.read(json.loads((GOLDEN / "controllerrevision.json").read_text(encoding="utf-8")))
OF = Slice(name="plate-x7k2", uid="slice-uid")


def build(of: Slice | None = OF, quota: int | None = None, ttl: int | None = None) -> Json:
    return prefetch_job.build(
        OWNER, FROZEN, "edge-a", of=of, slices=["plate-x7k2", "lane-1"], quota=quota, made_on="uid/boot", ttl=ttl
    )


def pod(job: Json) -> Json:
    spec: Json = job["spec"]["template"]["spec"]
    return spec


def asked(job: Json) -> Json:
    (fetch,) = pod(job)["initContainers"]
    return {variable["name"]: variable["value"] for variable in fetch["env"]}


def test_is_what_it_was_for_a_stored_revision() -> None:
    expected = json.loads((GOLDEN / "prefetch_job.json").read_text(encoding="utf-8"))
    assert build() == expected


def test_the_fetch_is_the_revisions_own_and_lays_nothing_out() -> None:
    before, request = prefetch_job.request(FROZEN), parse_request(asked(build())["LITTORAL_FETCH"])
    assert request.models == before.models
    assert (request.prefetch, request.slices) == (True, ("lane-1", "plate-x7k2"))


def test_a_dollar_in_a_uri_survives_the_kubelet() -> None:
    uri = "https://models.example/$(HOME)/$$7"
    source = {"uri": uri, "sha256": "a" * 64}
    spec = {"variants": [{"name": "v", "accelerators": ["*"], "format": "onnx", "source": source}]}
    frozen = make_frozen(make_model(spec))
    assert prefetch_job.request(frozen).models[0].uri == uri
    job = prefetch_job.build(OWNER, frozen, "edge-a", of=OF, slices=[])
    assert parse_request(asked(job)["LITTORAL_FETCH"].replace("$$", "$")).models[0].uri == uri


def test_the_quota_is_the_present_one() -> None:
    assert parse_request(asked(build(quota=7))["LITTORAL_FETCH"]).quota == 7


def test_the_image_is_run_once_and_nothing_but_the_image() -> None:
    server = next(c for c in FROZEN.template["spec"]["containers"] if c["name"] == group.SERVER_CONTAINER)
    (image,) = pod(build())["containers"]
    assert (image["image"], image["command"]) == (server["image"], ["true"])
    assert image["env"] == [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]
    assert not image.keys() & {"ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "volumeMounts"}
    assert "resources" not in image, "a node that was granted to the last millicore would not take it"


def test_it_says_what_room_it_knows_of_and_the_how_many_th_it_is() -> None:
    def notes(**changes: Any) -> Json:
        arguments = {"of": OF, "slices": ["a", "b"], "made_on": "uid/boot", **changes}
        found: Json = prefetch_job.build(OWNER, FROZEN, "edge-a", **arguments)["metadata"]["annotations"]
        return found

    assert notes()[group.ANNOTATION_ROOM] == prefetch_job.room(["b", "a"], None)
    others = [notes(**each)[group.ANNOTATION_ROOM] for each in ({"quota": 7}, {"slices": ["a"]}, {"slices": None})]
    assert len({notes()[group.ANNOTATION_ROOM], *others}) == 4
    assert (group.ANNOTATION_ATTEMPT in notes(), notes(attempt=3)[group.ANNOTATION_ATTEMPT]) == (False, "3")


def test_a_revision_of_a_later_version_is_refused_by_its_name() -> None:
    template = copy.deepcopy(dict(FROZEN.template))
    (fetch,) = template["spec"]["initContainers"]
    fetch["env"] = [{"name": "LITTORAL_FETCH", "value": '{"words": "of another day"}'}]
    later = replace(FROZEN, template=template)
    for read in (
        prefetch_job.request,
        prefetch_job.size,
        lambda f: prefetch_job.build(OWNER, f, "a", of=OF, slices=[]),
    ):
        with pytest.raises(
            Unservable, match=rf"revision {FROZEN.name} was frozen by another version .*: upgrade"
        ) as told:
            read(later)
        assert told.value.reason == "RevisionUnreadable"


def test_it_is_pinned_and_stays_when_its_node_goes_offline() -> None:
    spec = pod(build())
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["edge-a"]}]}]
    assert spec["tolerations"] == FROZEN.template["spec"]["tolerations"]
    assert spec["restartPolicy"] == "OnFailure"


def test_it_comes_before_nothing_that_serves() -> None:
    assert "priorityClassName" not in pod(build())


def test_neither_a_service_nor_the_ledger_takes_it_for_a_server() -> None:
    template = build()["spec"]["template"]["metadata"]
    selected = service.build(MODEL)["spec"]["selector"]
    assert not selected.items() <= template["labels"].items()
    assert group.LABEL_SLICE not in template["labels"]
    assert template["labels"][group.LABEL_PREFETCH] == "plate-x7k2"
    assert group.ANNOTATION_GRANT not in template.get("annotations", {})


def test_it_goes_with_its_slice_unless_that_is_its_users() -> None:
    (owner,) = build()["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("GPUSlice", "plate-x7k2", "slice-uid")
    users = Slice(name="mine", uid="u", owners=OWNER.references)
    (owner,) = build(users)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("InferenceModel", "model-uid")


def test_without_a_slice_it_pins_nothing_is_not_watched_and_removes_itself() -> None:
    job = build(None, ttl=600)
    assert "ownerReferences" not in job["metadata"]
    assert group.LABEL_MANAGED_BY not in job["metadata"]["labels"]
    assert group.LABEL_MANAGED_BY not in job["spec"]["template"]["metadata"]["labels"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 600
    assert "LITTORAL_SLICE" not in asked(job)
    assert asked(build())["LITTORAL_SLICE"] == "plate-x7k2"


def test_its_name_is_a_label_and_another_for_each_slice_and_revision() -> None:
    names = {prefetch_job.name(*pair) for pair in (("a", "r1"), ("a", "r2"), ("b", "r1"), (("x" * 51) + ".y", "r1"))}
    assert len(names) == 4
    assert all(len(name) <= 63 and ".-" not in name for name in names)


def test_the_size_is_known_where_all_models_declare_theirs() -> None:
    assert prefetch_job.size(FROZEN) == 180 * 2**20
    source = {"uri": "https://models.example/7", "sha256": "a" * 64}
    spec = {"variants": [{"name": "v", "accelerators": ["*"], "format": "onnx", "source": source}]}
    assert prefetch_job.size(make_frozen(make_model(spec))) is None


def test_what_the_slice_is_put_back_to_is_kept_and_the_list_has_its_time() -> None:
    source = {"uri": "https://models.example/6", "sha256": "b" * 64}
    back = make_frozen(
        make_model({"variants": [{"name": "v", "accelerators": ["*"], "format": "onnx", "source": source}]})
    )
    job = prefetch_job.build(OWNER, FROZEN, "edge-a", of=OF, slices=[], listed=1_700_000_000, back=back)
    request = parse_request(asked(job)["LITTORAL_FETCH"])
    assert (request.last, request.listed) == (("b" * 64,), 1_700_000_000)
    assert parse_request(asked(build())["LITTORAL_FETCH"]).last == (), "then the pin keeps what it says"
