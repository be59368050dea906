"""Models that share a Triton by group: one slice, one server, and each answers or does not for itself."""

import pytest
from tests.node.conftest import Namespaces
from tests.node.edge import T4, Edge, condition
from tests.node.models import manifest, multiplier, variant

from littoral.api import group
from littoral.triton.endpoints import SERVICE_NAME
from rig.errors import RigError
from rig.waiting import until

pytestmark = pytest.mark.node

VISION = {"server": {"group": "vision"}, "slice": {"memory": "128Mi"}}
READY = "jsonpath={.items[*].endpoints[*].conditions.ready}"
BROKEN = "raise RuntimeError('the weights are for another camera')"


def test_three_models_share_a_server_and_one_of_them_is_broken(edge: Edge, namespaces: Namespaces) -> None:
    namespace = namespaces()
    artifacts = {"double": multiplier(2), "triple": multiplier(3), "broken": multiplier(4, BROKEN)}
    for name, artifact in artifacts.items():
        only = variant("any", ["t4"], edge.models.add(artifact), artifact.sha256)
        edge.apply(namespace, manifest(name, [only], node=T4, **VISION))
    for name in ("double", "triple"):
        edge.await_ready(namespace, name)
    (pod,) = edge.core.list_namespaced_pod(namespace, label_selector=f"{group.LABEL_GROUP}=vision").items
    (slice_,) = edge.custom.list_namespaced_custom_object(group.GROUP, group.VERSION, namespace, "gpuslices")["items"]
    assert pod.metadata.labels[group.LABEL_SLICE] == slice_["metadata"]["name"]

    for name, factor in (("double", 2), ("triple", 3)):
        assert "ModelNotReady" not in [event.reason for event in edge.events(namespace, name)]
        assert edge.infer(pod, name, 7) == 7 * factor
        assert edge.infer_from(T4, called_at(edge, namespace, name), name, 1) == factor

    found = edge.await_reason(namespace, "broken", "ModelNotReady")
    told = condition(found, "Ready")["message"]
    assert f"kubectl logs --namespace={namespace} {pod.metadata.name} --container=triton" in told
    log = edge.core.read_namespaced_pod_log(pod.metadata.name, namespace, container=group.SERVER_CONTAINER)
    assert "the weights are for another camera" in log
    ready = edge.kubectl("get", "endpointslices", "-n", namespace, "-l", f"{SERVICE_NAME}=broken", "-o", READY).split()
    assert ready == ["false"]
    (live,) = [each for each in pod.status.container_statuses if each.name == group.SERVER_CONTAINER]
    assert live.restart_count == 0

    # It leaves: one restart, which nothing in the pod holds up until the kubelet's patience ends.
    edge.custom.delete_namespaced_custom_object(group.GROUP, group.VERSION, namespace, "inferencemodels", "broken")
    until(
        lambda: servers(edge, namespace) == [["triton", "model-double", "model-triple"]],
        timeout=30,
        failure=lambda: AssertionError(servers(edge, namespace)),
    )
    for name in ("double", "triple"):
        edge.await_ready(namespace, name)


def servers(edge: Edge, namespace: str) -> list[list[str]]:
    """The containers of each pod of the group, the ending ones included."""
    selector = f"{group.LABEL_GROUP}=vision,{group.LABEL_SLICE}"
    pods = edge.core.list_namespaced_pod(namespace, label_selector=selector).items
    return [[container.name for container in pod.spec.containers] for pod in pods]


def called_at(edge: Edge, namespace: str, name: str) -> str:
    """The URL of a model's Service, once the node's kube-proxy knows who is behind it."""
    url = f"http://{edge.core.read_namespaced_service(name, namespace).spec.cluster_ip}:{group.HTTP_PORT}"

    def leads_there() -> bool:
        try:
            edge.infer_from(T4, url, name, 1)
        except RigError:
            return False
        return True

    until(leads_there, timeout=10, failure=lambda: AssertionError(f"{url} leads nowhere"))
    return url
