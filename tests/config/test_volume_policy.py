"""Which PersistentVolumes the operator's account may make, by what a real API server answers."""

import copy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from kubernetes.utils import FailToCreateError, create_from_dict

from littoral.api import group
from littoral.triton import storage
from rig.controlplane import ControlPlane
from rig.kube import client
from rig.waiting import until

Json = dict[str, Any]
POLICY = Path(__file__).parents[2] / "config" / "policy-volumes.yaml"
ACCOUNT = f"system:serviceaccount:{group.OPERATOR_NAMESPACE}:{group.SERVICE_ACCOUNT}"
UID = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d11"
SECONDS = 60

NOT_A_PATH = "must be a hostPath"
ELSEWHERE = "named by a UID; not at "
TYPE = "must be a hostPath of type DirectoryOrCreate"
ONE = "must be bound beforehand, by claimRef, to the claim littoral-models of a namespace"
TWO = "may not specify more than 1 volume type"
ALL = "must be bound beforehand, by claimRef, to the claim littoral-cleanup in littoral-system"


def documents() -> tuple[Json, Json]:
    policy, binding = yaml.safe_load_all(POLICY.read_text(encoding="utf-8"))
    return policy, binding


def of_a_namespace(**spec: Any) -> Json:
    """The volume of a namespace, with other fields in its spec; None takes one out."""
    return changed(storage.persistent_volume("line", UID), spec)


def of_all(**spec: Any) -> Json:
    return changed(storage.cleanup_volume(group.OPERATOR_NAMESPACE, UID), spec)


def changed(volume: Json, spec: Json) -> Json:
    volume = copy.deepcopy(volume)
    volume["metadata"]["name"] = f"policy-{uuid.uuid4().hex[:8]}"
    del volume["metadata"]["ownerReferences"]  # to a namespace that is not there: the garbage collector would take it
    volume["spec"] = {key: value for key, value in {**volume["spec"], **spec}.items() if value is not None}
    return volume


def host(path: str, kind: str | None = "DirectoryOrCreate") -> Json:
    return {"path": path, **({"type": kind} if kind is not None else {})}


def reference(namespace: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name}


ROOTS = group.CACHE_ROOTS
REFUSED: dict[str, tuple[Json, str]] = {
    "the root": (of_a_namespace(hostPath=host("/")), f"{ELSEWHERE}/"),
    "the kubelet's folder": (of_a_namespace(hostPath=host("/var/lib/kubelet")), ELSEWHERE),
    "the folder above": (of_a_namespace(hostPath=host("/var/lib/littoral")), ELSEWHERE),
    "no UID": (of_a_namespace(hostPath=host(f"{ROOTS}/line")), ELSEWHERE),
    "below a namespace's folder": (of_a_namespace(hostPath=host(f"{ROOTS}/{UID}/sha256")), ELSEWHERE),
    "before a namespace's folder": (of_a_namespace(hostPath=host(f"/mnt{ROOTS}/{UID}")), ELSEWHERE),
    "beside it": (of_a_namespace(hostPath=host(f"{ROOTS}/{UID}0")), ELSEWHERE),
    "another spelling": (of_a_namespace(hostPath=host(f"{ROOTS}//{UID}")), ELSEWHERE),
    "with a slash at its end": (of_all(hostPath=host(f"{ROOTS}/")), ELSEWHERE),
    "another type": (of_a_namespace(hostPath=host(f"{ROOTS}/{UID}", "FileOrCreate")), TYPE),
    "no type": (of_a_namespace(hostPath=host(f"{ROOTS}/{UID}", None)), TYPE),
    "no type, of all": (of_all(hostPath=host(ROOTS, None)), TYPE),
    "for another claim": (of_a_namespace(claimRef=reference("line", "data")), ONE),
    "for no claim": (of_a_namespace(claimRef=None), ONE),
    "of a namespace, for the cleaning claim": (of_a_namespace(claimRef=of_all()["spec"]["claimRef"]), ONE),
    "of all, for a model's claim": (of_all(claimRef=reference("line", group.CACHE_CLAIM)), ALL),
    "of all, in another namespace": (of_all(claimRef=reference("line", group.CLEANUP_CLAIM)), ALL),
    "of all, for no claim": (of_all(claimRef=None), ALL),
    "another source": (of_a_namespace(hostPath=None, nfs={"server": "192.0.2.1", "path": "/"}), NOT_A_PATH),
    "a driver": (of_a_namespace(hostPath=None, csi={"driver": "csi.test", "volumeHandle": "1"}), NOT_A_PATH),
    "two sources": (
        of_a_namespace(nfs={"server": "192.0.2.1", "path": "/"}),
        "may not specify more than 1 volume type",
    ),
}
ALLOWED = {"a namespace's": of_a_namespace(), "the cleaning Jobs'": of_all()}


def test_speaks_of_the_names_that_the_operator_uses() -> None:
    policy, binding = documents()
    said = yaml.safe_dump(policy, width=10_000).replace("''", "'")

    for name in (ACCOUNT, group.CACHE_ROOTS, f"'{group.CACHE_CLAIM}", f"'{group.CLEANUP_CLAIM}"):
        assert name in said
    assert f"variables.claimant == '{group.OPERATOR_NAMESPACE}'" in said
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    assert policy["spec"]["failurePolicy"] == "Fail"


@pytest.fixture(scope="module")
def administrator(control_plane: ControlPlane) -> Iterator[Any]:
    """A client of a cluster in which the policy is in force."""
    with client(control_plane.kubeconfig) as api:
        for document in documents():
            create(api, document)
        until(
            lambda: answer(api, REFUSED["the root"][0]) is not None,
            timeout=SECONDS,
            failure=lambda: TimeoutError("the policy did not come into force"),
        )
        yield api


def create(api: Any, document: Json) -> None:
    """Another module of the session may have made it; it is then the same."""
    try:
        create_from_dict(api, document)
    except FailToCreateError as error:
        if any(failure.status != 409 for failure in error.api_exceptions):
            raise


def answer(api: Any, volume: Json, user: str = ACCOUNT) -> str | None:
    """Why somebody with every right but this name may not make the volume; None where he may."""
    headers = {"Impersonate-User": user, "Impersonate-Group": "system:masters"}
    core = kubernetes.client.CoreV1Api(api)
    try:
        core.create_persistent_volume(volume, dry_run="All", _headers=headers)
    except ApiException as refused:
        if refused.status != 422:
            raise
        return str(refused.body)
    return None


@pytest.mark.contract
def test_every_expression_is_understood(administrator: Any) -> None:
    policies = kubernetes.client.AdmissionregistrationV1Api(administrator)
    name = documents()[0]["metadata"]["name"]

    def checked() -> bool:
        status = policies.read_validating_admission_policy(name).status
        return status is not None and status.type_checking is not None

    until(checked, timeout=SECONDS, failure=lambda: TimeoutError("nobody has checked the policy"))

    assert not policies.read_validating_admission_policy(name).status.type_checking.expression_warnings


@pytest.mark.contract
@pytest.mark.parametrize("case", ALLOWED)
def test_the_operator_makes_its_own(administrator: Any, case: str) -> None:
    assert answer(administrator, ALLOWED[case]) is None


@pytest.mark.contract
@pytest.mark.parametrize("case", REFUSED)
def test_the_operator_makes_no_other(administrator: Any, case: str) -> None:
    volume, sentence = REFUSED[case]

    assert sentence in (answer(administrator, volume) or "")


@pytest.mark.contract
def test_the_operator_deletes_its_own_and_no_other(administrator: Any) -> None:
    core = kubernetes.client.CoreV1Api(administrator)
    headers = {"Impersonate-User": ACCOUNT, "Impersonate-Group": "system:masters"}
    mine, other = of_a_namespace(), of_a_namespace(hostPath=host("/srv"))
    for volume in (mine, other):
        core.create_persistent_volume(volume)
    try:
        core.delete_persistent_volume(mine["metadata"]["name"], dry_run="All", _headers=headers)
        with pytest.raises(ApiException, match=ELSEWHERE):
            core.delete_persistent_volume(other["metadata"]["name"], dry_run="All", _headers=headers)
    finally:
        for volume in (mine, other):
            core.delete_persistent_volume(volume["metadata"]["name"])


@pytest.mark.contract
@pytest.mark.parametrize("user", ["system:serviceaccount:kube-system:provisioner", "system:admin"])
@pytest.mark.parametrize("case", ["the root", "another source", "for no claim"])
def test_others_are_not_concerned(administrator: Any, case: str, user: str) -> None:
    assert answer(administrator, REFUSED[case][0], user) is None


@pytest.mark.contract
def test_the_operator_changes_none_into_another(administrator: Any) -> None:
    core = kubernetes.client.CoreV1Api(administrator)
    made = core.create_persistent_volume(of_a_namespace(claimRef=reference("line", "data")))
    headers = {"Impersonate-User": ACCOUNT, "Impersonate-Group": "system:masters"}
    try:
        with pytest.raises(ApiException) as refused:
            core.patch_persistent_volume(made.metadata.name, {"metadata": {"labels": {"a": "b"}}}, _headers=headers)
    finally:
        core.delete_persistent_volume(made.metadata.name)

    assert (refused.value.status, ONE in str(refused.value.body)) == (422, True)
