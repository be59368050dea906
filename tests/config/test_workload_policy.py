"""Which Deployments and Jobs the operator's account may make, by what a real API server answers."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from tests.config.test_volume_policy import ACCOUNT, SECONDS, create

from littoral.api import group
from littoral.api.base import Metadata
from littoral.triton import cleaning_job
from rig.controlplane import ControlPlane
from rig.kube import client
from rig.waiting import until

Json = dict[str, Any]
POLICY = Path(__file__).parents[2] / "config" / "policy-workloads.yaml"
GOLDEN = Path(__file__).parents[1] / "triton" / "golden"
NAMESPACE = "default"

MOUNTS = "mounts emptyDirs, claims, Secrets and ConfigMaps alone"
CLAIM = "mounts the claim of a model cache and no other"
PRIVILEGE = "has no privilege and gains none"
CAPABILITY = "adds no capability"
ACCOUNTS = "runs as no ServiceAccount and has no token"
PROCESSES = "sees no processes of its node"


def documents() -> tuple[Json, Json]:
    policy, binding = yaml.safe_load_all(POLICY.read_text(encoding="utf-8"))
    return policy, binding


def golden(name: str, **more: Any) -> Json:
    """What the operator makes, as a test of its builder has it; `more` is laid over its pod."""
    body: Json = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    body["metadata"] = {"name": "policy", "namespace": NAMESPACE, "labels": body["metadata"]["labels"]}
    body["spec"]["template"]["spec"] |= more
    return body


def cleaning(namespace: str = group.OPERATOR_NAMESPACE) -> Json:
    uid = "6c1cbe8e-7f4e-4c53-8f4b-7a5c8c6c5d11"
    body = cleaning_job.build(Metadata(name="a", uid="u"), uid, namespace=namespace, image="i")
    del body["metadata"]["ownerReferences"]
    return body


def mounting(volume: Json, name: str = "deployment") -> Json:
    body = golden(name)
    body["spec"]["template"]["spec"]["volumes"].append({"name": "more", **volume})
    return body


def contained(context: Json, *, init: bool = False) -> Json:
    """A Deployment of which one container has another security context."""
    body = golden("deployment")
    pod = body["spec"]["template"]["spec"]
    container = pod["initContainers" if init else "containers"][0]
    container["securityContext"] = {**container["securityContext"], **context}
    return body


ALLOWED: dict[str, Callable[[], Json]] = {
    "a server": lambda: golden("deployment"),
    "a server with ports of the node": lambda: golden("deployment", hostNetwork=True),
    "a prefetch": lambda: golden("prefetch_job"),
    "the removal of a cache": cleaning,
}
REFUSED: dict[str, tuple[Callable[[], Json], str]] = {
    "a folder of the node": (lambda: mounting({"hostPath": {"path": "/"}}), MOUNTS),
    "a folder of the node, in a Job": (lambda: mounting({"hostPath": {"path": "/"}}, "prefetch_job"), MOUNTS),
    "a token by projection": (
        lambda: mounting({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
        MOUNTS,
    ),
    "somebody's data": (lambda: mounting({"persistentVolumeClaim": {"claimName": "data"}}), CLAIM),
    "all caches": (lambda: mounting({"persistentVolumeClaim": {"claimName": group.CLEANUP_CLAIM}}), CLAIM),
    "privileged": (lambda: contained({"privileged": True, "allowPrivilegeEscalation": True}), PRIVILEGE),
    "gaining privilege": (lambda: contained({"allowPrivilegeEscalation": True}, init=True), PRIVILEGE),
    "a capability": (lambda: contained({"capabilities": {"add": ["SYS_ADMIN"]}}), CAPABILITY),
    "anybody's files": (lambda: contained({"capabilities": {"add": ["DAC_OVERRIDE"]}}), CAPABILITY),
    "a ServiceAccount": (lambda: golden("deployment", serviceAccountName="admin"), ACCOUNTS),
    "a token": (lambda: golden("deployment", automountServiceAccountToken=True), ACCOUNTS),
    "processes of the node": (lambda: golden("deployment", hostPID=True), PROCESSES),
    "the removal of caches elsewhere": (lambda: cleaning(NAMESPACE), CLAIM),
}


def answer(api: Any, body: Json, user: str = ACCOUNT) -> str | None:
    """Why somebody with every right but this name may not make it; None where he may."""
    headers = {"Impersonate-User": user, "Impersonate-Group": "system:masters"}
    apps, batch = kubernetes.client.AppsV1Api(api), kubernetes.client.BatchV1Api(api)
    make = apps.create_namespaced_deployment if body["kind"] == "Deployment" else batch.create_namespaced_job
    try:
        make(body["metadata"]["namespace"], copy.deepcopy(body), dry_run="All", _headers=headers)
    except ApiException as refused:
        if refused.status != 422:
            raise
        return str(refused.body)
    return None


@pytest.fixture(scope="module")
def administrator(control_plane: ControlPlane) -> Iterator[Any]:
    """A client of a cluster in which the policy is in force."""
    with client(control_plane.kubeconfig) as api:
        create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": group.OPERATOR_NAMESPACE}})
        for document in documents():
            create(api, document)
        until(
            lambda: answer(api, REFUSED["a folder of the node"][0]()) is not None,
            timeout=SECONDS,
            failure=lambda: TimeoutError("the policy did not come into force"),
        )
        yield api


def test_speaks_of_the_names_that_the_operator_uses() -> None:
    policy, binding = documents()
    said = yaml.safe_dump(policy, width=10_000).replace("''", "'")
    for name in (ACCOUNT, group.OPERATOR_NAMESPACE, group.CACHE_CLAIM, group.CLEANUP_CLAIM):
        assert f"'{name}'" in said
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    assert policy["spec"]["failurePolicy"] == "Fail"


@pytest.mark.contract
@pytest.mark.parametrize("case", ALLOWED)
def test_the_operator_makes_what_its_builders_build(administrator: Any, case: str) -> None:
    assert answer(administrator, ALLOWED[case]()) is None


@pytest.mark.contract
@pytest.mark.parametrize("case", REFUSED)
def test_the_operator_makes_nothing_else(administrator: Any, case: str) -> None:
    build, sentence = REFUSED[case]
    assert sentence in (answer(administrator, build()) or "")


@pytest.mark.contract
@pytest.mark.parametrize("case", ["a folder of the node", "privileged"])
def test_others_are_not_concerned(administrator: Any, case: str) -> None:
    assert answer(administrator, REFUSED[case][0](), "system:admin") is None
