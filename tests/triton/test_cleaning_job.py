import json
from pathlib import Path

import pytest
from tests.triton.conftest import Json

from littoral.api import group
from littoral.api.base import Metadata
from littoral.modelstore import clean
from littoral.triton import cleaning_job, storage
from littoral.triton.cleaning_job import build, name

UID = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d11"
EDGE = Metadata(name="press-4.line3", uid="e")


@pytest.fixture
def job() -> Json:
    return build(EDGE, UID, namespace="littoral-system", image="littoral:7")


@pytest.fixture
def pod(job: Json) -> Json:
    spec: Json = job["spec"]["template"]["spec"]
    return spec


def test_removes_one_namespaces_folder(pod: Json, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (container,) = pod["containers"]
    python, _, module, *arguments = list[str](container["command"])
    (tmp_path / UID).mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(clean, "CACHE_ROOTS", str(tmp_path))

    assert (python, module) == ("python3", clean.__name__)
    assert clean.main(arguments) == clean.GONE

    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_sees_the_caches_of_its_node_and_nothing_else_of_it(pod: Json) -> None:
    (volume,) = pod["volumes"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    claim = storage.cleanup_claim("littoral-system")
    behind = storage.cleanup_volume("littoral-system", "u")

    assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    assert claim["spec"]["volumeName"] == behind["metadata"]["name"]
    assert behind["spec"]["hostPath"]["path"] == group.CACHE_ROOTS
    assert mount == {"name": volume["name"], "mountPath": group.CACHE_ROOTS}


def test_runs_on_its_node_whatever_keeps_others_away(pod: Json) -> None:
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]

    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [EDGE.name]}]}
    assert pod["tolerations"] == [{"operator": "Exists"}]


def test_is_root_that_may_remove_anybodys_files_and_no_more_without_a_token(pod: Json) -> None:
    context = pod["containers"][0]["securityContext"]

    assert (context["runAsUser"], context["runAsNonRoot"]) == (0, False)
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}
    assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}


def test_there_is_one_for_each_node_and_namespace(job: Json) -> None:
    assert job["metadata"]["name"] == name(EDGE.name, UID)
    assert len({name(node, uid) for node in ("a", "b") for uid in (UID, UID[::-1])}) == 4


def test_is_found_again_by_its_labels_and_its_pods_are_not_watched(job: Json) -> None:
    labels, pods = job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]

    assert labels[group.LABEL_MANAGED_BY] == group.MANAGER
    assert (labels[group.LABEL_NODE], labels[group.LABEL_CACHE]) == (EDGE.name, UID)
    assert group.LABEL_MANAGED_BY not in pods
    assert pods[group.LABEL_COMPONENT] == cleaning_job.COMPONENT


def test_goes_with_its_edge_node(job: Json) -> None:
    (owner,) = job["metadata"]["ownerReferences"]

    assert (owner["kind"], owner["name"], owner["uid"]) == ("EdgeNode", EDGE.name, "e")


def test_what_no_further_try_would_change_ends_it_at_once(job: Json) -> None:
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]

    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [clean.main(["nobody"])]
    assert rule["onExitCodes"]["containerName"] == job["spec"]["template"]["spec"]["containers"][0]["name"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_ends_in_time_and_is_plain_json(job: Json) -> None:
    assert job["spec"]["activeDeadlineSeconds"] == cleaning_job.LIMIT_SECONDS
    assert json.loads(json.dumps(job)) == job
