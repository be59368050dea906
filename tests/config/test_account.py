"""What a real API server lets the operator's account do, where the roles' text alone does not tell."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from kubernetes.utils import FailToCreateError, create_from_dict

from littoral.api import group
from rig.controlplane import ControlPlane
from rig.kube import client

pytestmark = pytest.mark.contract
CONFIG = Path(__file__).parents[2] / "config"
FILES = ("namespace.yaml", "serviceaccount.yaml", "clusterrole.yaml", "role.yaml", "rolebindings.yaml")
CATALOGUE = f"metadata.name={group.CATALOGUE_CONFIGMAP}"


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane) -> Iterator[Any]:
    """A client with the rights of the operator's ServiceAccount."""
    with client(control_plane.kubeconfig) as administrator:
        for name in FILES:
            for document in yaml.safe_load_all((CONFIG / name).read_text(encoding="utf-8")):
                _create(administrator, document)
    with client(control_plane.kubeconfig) as connection:
        account = f"system:serviceaccount:{group.OPERATOR_NAMESPACE}:{group.SERVICE_ACCOUNT}"
        connection.set_default_header("Impersonate-User", account)
        yield connection


def _create(api: Any, document: dict[str, Any]) -> None:
    """Another module of the session may have made it; it is then the same."""
    try:
        create_from_dict(api, document)
    except FailToCreateError as error:
        if any(failure.status != 409 for failure in error.api_exceptions):
            raise


def _batch(core: Any) -> Any:
    return kubernetes.client.BatchV1Api(core.api_client)


CALLS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "its ConfigMap in all namespaces": (
        lambda core: core.list_config_map_for_all_namespaces(field_selector=CATALOGUE),
        True,
    ),
    "all ConfigMaps": (lambda core: core.list_config_map_for_all_namespaces(), False),
    "another ConfigMap": (lambda core: core.read_namespaced_config_map("kube-root-ca.crt", "default"), False),
    "nodes": (lambda core: core.list_node(), True),
    "pods of all namespaces": (lambda core: core.list_pod_for_all_namespaces(), True),
    "jobs of all namespaces": (lambda core: _batch(core).list_job_for_all_namespaces(), True),
    "cron jobs": (lambda core: _batch(core).list_cron_job_for_all_namespaces(), False),
    "secrets": (lambda core: core.list_secret_for_all_namespaces(), False),
    "secrets of its own namespace": (lambda core: core.list_namespaced_secret(group.OPERATOR_NAMESPACE), False),
    "a node's proxy": (lambda core: core.connect_get_node_proxy("edge-a"), False),
    "a token of its own": (
        lambda core: core.create_namespaced_service_account_token(group.SERVICE_ACCOUNT, group.OPERATOR_NAMESPACE, {}),
        False,
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_may(operator: Any, call: str) -> None:
    ask, allowed = CALLS[call]
    core = kubernetes.client.CoreV1Api(operator)

    if allowed:
        ask(core)
    else:
        with pytest.raises(ApiException) as refused:
            ask(core)
        assert refused.value.status == 403


@pytest.mark.parametrize(
    ("name", "allowed"), [(group.LEASE_NAME, True), ("kube-scheduler", False)], ids=["its own", "another"]
)
def test_reads_its_own_lease_alone(operator: Any, name: str, allowed: bool) -> None:
    leases = kubernetes.client.CoordinationV1Api(operator)

    with pytest.raises(ApiException) as answer:
        leases.read_namespaced_lease(name, group.OPERATOR_NAMESPACE)

    assert answer.value.status == (404 if allowed else 403)


def test_watches_its_config_map(operator: Any) -> None:
    core = kubernetes.client.CoreV1Api(operator)
    watch = kubernetes.watch.Watch()

    events = list(watch.stream(core.list_config_map_for_all_namespaces, field_selector=CATALOGUE, timeout_seconds=1))

    assert events == []
