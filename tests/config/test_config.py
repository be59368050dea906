"""The kustomize base builds; the operator may do what it does, and nothing by which it could do more."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from littoral.api import group

CONFIG = Path(__file__).parents[2] / "config"
READ = {"get", "list", "watch"}
MAY_WRITE = {
    ("littoral.dev", "edgenodes"): {"create"},
    ("littoral.dev", "gpuslices"): {"create", "patch", "delete"},
    ("littoral.dev", "edgenodes/status"): {"patch"},
    ("littoral.dev", "gpuslices/status"): {"patch"},
    ("littoral.dev", "inferencemodels/status"): {"patch"},
    ("apps", "deployments"): {"create", "patch", "delete"},
    ("apps", "controllerrevisions"): {"create", "delete"},
    ("", "services"): {"create", "patch"},
    ("batch", "jobs"): {"create", "patch", "delete"},
    ("discovery.k8s.io", "endpointslices"): {"create", "patch", "delete"},
    ("", "persistentvolumes"): {"create", "delete"},
    ("", "persistentvolumeclaims"): {"create"},
    ("", "events"): {"create"},
    ("coordination.k8s.io", "leases"): {"create", "patch"},
}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CONFIG / name).read_text(encoding="utf-8")))


def rules(*names: str) -> list[dict[str, Any]]:
    return [rule for name in names for document in documents(name) for rule in document["rules"]]


ALL_RULES = rules("clusterrole.yaml", "role.yaml")


def granted() -> dict[tuple[str, str], set[str]]:
    verbs: dict[tuple[str, str], set[str]] = {}
    for rule in ALL_RULES:
        for api_group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs.setdefault((api_group, resource), set()).update(rule["verbs"])
    return verbs


@pytest.mark.parametrize("field", ["apiGroups", "resources", "verbs"])
def test_no_wildcard(field: str) -> None:
    assert not any("*" in word for rule in ALL_RULES for word in rule[field])


@pytest.mark.parametrize(
    "resource",
    ["secrets", "nodes/proxy", "nodes/status", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"],
)
def test_never_reaches(resource: str) -> None:
    assert not any(resource in rule["resources"] for rule in ALL_RULES)


@pytest.mark.parametrize("verb", ["escalate", "bind", "impersonate", "approve", "sign", "deletecollection", "update"])
def test_never_does(verb: str) -> None:
    assert not any(verb in rule["verbs"] for rule in ALL_RULES)


def test_writes_what_it_makes_and_nothing_else() -> None:
    writes = {key: verbs - READ for key, verbs in granted().items() if verbs - READ}

    assert writes == MAY_WRITE


@pytest.mark.parametrize("resource", ["nodes", "namespaces", "pods"])
def test_only_reads_what_it_plans_with(resource: str) -> None:
    assert granted()["", resource] == READ


def test_reads_one_config_map_and_no_other() -> None:
    (rule,) = [rule for rule in ALL_RULES if "configmaps" in rule["resources"]]

    assert rule["resourceNames"] == [group.CATALOGUE_CONFIGMAP]
    assert rule["resources"] == ["configmaps"]


def test_holds_one_lease() -> None:
    leases = [rule for rule in rules("role.yaml") if "leases" in rule["resources"]]
    unbounded = [rule["verbs"] for rule in leases if "resourceNames" not in rule]

    assert unbounded == [["create"]]
    assert [rule["resourceNames"] for rule in leases if "resourceNames" in rule] == [[group.LEASE_NAME]]
    assert not any("leases" in rule["resources"] for rule in rules("clusterrole.yaml"))


def test_rights_go_to_the_operators_account() -> None:
    for binding in documents("rolebindings.yaml"):
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (group.SERVICE_ACCOUNT, group.OPERATOR_NAMESPACE)
    (account,) = documents("serviceaccount.yaml")
    assert account["metadata"]["name"] == group.SERVICE_ACCOUNT


def test_serving_outlives_others_under_pressure_and_preempts_nobody() -> None:
    (priority,) = documents("priorityclass.yaml")

    assert priority["metadata"]["name"] == group.PRIORITY_CLASS
    assert priority["value"] > 0
    assert priority["globalDefault"] is False
    assert priority["preemptionPolicy"] == "Never"


def test_signatures_are_required_where_a_namespace_says_so_and_nowhere_else() -> None:
    policy, binding = documents("policy-signatures.yaml")

    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    selected = binding["spec"]["matchResources"]["namespaceSelector"]
    assert selected == {"matchLabels": {group.LABEL_REQUIRE_SIGNATURE: "true"}}
    assert group.LABEL_REQUIRE_SIGNATURE in policy["spec"]["validations"][0]["messageExpression"]
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["inferencemodels"], "neither status nor scale is judged"


def test_the_operators_namespace_lets_cleaning_jobs_be_root_and_warns_of_all_else() -> None:
    (namespace,) = documents("namespace.yaml")
    levels = {
        key.rpartition("/")[2]: value
        for key, value in namespace["metadata"]["labels"].items()
        if key.startswith("pod-security.kubernetes.io/")
    }

    assert levels == {"enforce": "baseline", "warn": "restricted", "audit": "restricted"}


def test_builds_with_the_crds() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH")
    built = subprocess.run([kubectl, "kustomize", str(CONFIG)], capture_output=True, text=True, check=True)
    kinds = [(document["kind"], document["metadata"]["name"]) for document in yaml.safe_load_all(built.stdout)]

    for plural in ("edgenodes", "gpuslices", "inferencemodels"):
        assert ("CustomResourceDefinition", f"{plural}.littoral.dev") in kinds
    assert ("ServiceAccount", group.SERVICE_ACCOUNT) in kinds
    assert ("PriorityClass", group.PRIORITY_CLASS) in kinds
    assert ("ValidatingAdmissionPolicy", "littoral-require-signature") in kinds
    assert not built.stderr
