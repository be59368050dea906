import json

import pytest
from tests.triton.conftest import Json, make_frozen

from littoral.api import group
from littoral.triton import storage

UID = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d11"


@pytest.fixture
def volume() -> Json:
    return storage.persistent_volume("line", UID)


@pytest.fixture
def claim() -> Json:
    return storage.claim("line", UID)


def test_volume_and_claim_name_each_other(volume: Json, claim: Json) -> None:
    reference = volume["spec"]["claimRef"]

    assert (reference["namespace"], reference["name"]) == (claim["metadata"]["namespace"], claim["metadata"]["name"])
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"] == storage.volume_name(UID)


@pytest.mark.parametrize("field", ["storageClassName", "accessModes"])
def test_they_agree_so_that_they_bind(volume: Json, claim: Json, field: str) -> None:
    assert volume["spec"][field] == claim["spec"][field]


def test_no_class_provisions_a_disk(volume: Json, claim: Json) -> None:
    assert volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"] == ""


def test_the_claim_asks_no_more_than_the_volume_has(volume: Json, claim: Json) -> None:
    assert claim["spec"]["resources"]["requests"]["storage"] == volume["spec"]["capacity"]["storage"]


def test_each_node_has_a_folder_for_the_namespace_by_uid(volume: Json) -> None:
    assert volume["spec"]["hostPath"] == {
        "path": f"{group.CACHE_HOST_PATH}/namespaces/{UID}",
        "type": "DirectoryOrCreate",
    }
    assert storage.persistent_volume("line", "other-uid")["spec"]["hostPath"] != volume["spec"]["hostPath"]


def test_models_on_the_nodes_outlive_the_claim(volume: Json) -> None:
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_pods_of_many_nodes_use_it_at_once(volume: Json) -> None:
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "nodeAffinity" not in volume["spec"]


def test_the_volume_goes_with_its_namespace_and_the_claim_with_no_model(volume: Json, claim: Json) -> None:
    (owner,) = volume["metadata"]["ownerReferences"]

    assert (owner["apiVersion"], owner["kind"], owner["name"], owner["uid"]) == ("v1", "Namespace", "line", UID)
    assert "ownerReferences" not in claim["metadata"]


def test_the_pods_name_the_claim(claim: Json) -> None:
    volumes = make_frozen().template["spec"]["volumes"]

    assert {"claimName": claim["metadata"]["name"]} in [volume.get("persistentVolumeClaim") for volume in volumes]


def test_the_operators_pair_is_over_all_folders_and_bound_as_the_others_are() -> None:
    volume, claim = storage.cleanup_volume("littoral-system", UID), storage.cleanup_claim("littoral-system")
    reference = volume["spec"]["claimRef"]

    assert volume["spec"]["hostPath"] == {"path": group.CACHE_ROOTS, "type": "DirectoryOrCreate"}
    assert storage.persistent_volume("line", UID)["spec"]["hostPath"]["path"] == f"{group.CACHE_ROOTS}/{UID}"
    assert (reference["namespace"], reference["name"]) == ("littoral-system", claim["metadata"]["name"])
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"] == ""
    assert [owner["name"] for owner in volume["metadata"]["ownerReferences"]] == ["littoral-system"]


def test_both_are_marked_as_ours_and_plain_json(volume: Json, claim: Json) -> None:
    for manifest in (volume, claim):
        assert manifest["metadata"]["labels"][group.LABEL_MANAGED_BY] == group.MANAGER
        assert json.loads(json.dumps(manifest)) == manifest
