from collections.abc import Iterator
from pathlib import Path

import kubernetes
import pytest

from rig import cluster, kube, states
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.flags import Options
from rig.kwok import Kwok
from rig.processes import ProcessTable
from rig.progress import silent
from rig.waiting import until

pytestmark = pytest.mark.contract


@pytest.fixture
def state() -> Iterator[Path]:
    folder = states.make()
    yield folder
    cluster.down(folder)


def test_an_administrator_is_let_in_and_a_stranger_is_not(control_plane: ControlPlane) -> None:
    with kube.client(control_plane.kubeconfig) as api:
        assert "default" in {item.metadata.name for item in kubernetes.client.CoreV1Api(api).list_namespace().items}
    configuration = kubernetes.client.Configuration(host=control_plane.url)
    configuration.ssl_ca_cert = str(control_plane.ca)
    with kubernetes.client.ApiClient(configuration) as api:
        with pytest.raises(kubernetes.client.ApiException) as refused:
            kubernetes.client.CoreV1Api(api).list_namespace()
        assert refused.value.status == 403
        api.set_default_header("Authorization", f"Bearer {control_plane.admin_token}")
        assert kubernetes.client.CoreV1Api(api).list_namespace().items


def test_two_run_beside_one_another_and_nothing_of_one_outlives_it(control_plane: ControlPlane, state: Path) -> None:
    with ControlPlane(state / "second", Options(controller_manager=False, scheduler=False)) as second:
        assert second.url != control_plane.url
        assert second.healthy()
        records = ProcessTable(second.state / "processes").records()
        assert [record.name for record in records] == ["etcd", "kube-apiserver"]
    assert not second.healthy()
    assert not second.state.exists()
    assert control_plane.healthy()


def test_a_component_that_cannot_start_is_reported_with_the_end_of_its_log(state: Path) -> None:
    plane = ControlPlane(state, Options(extra={"kube-apiserver": ("--no-such-flag",)}))
    with pytest.raises(RigError, match=r"kube-apiserver ended[^$]*unknown flag: --no-such-flag"):
        plane.start()


def test_a_fake_fleet_runs_pods_and_ends_their_fetch_as_the_real_one_does(state: Path) -> None:
    plane = ControlPlane(state, Options(audit_user="admin")).start(silent)
    kwok = Kwok(plane).start(silent)
    names = kwok.add_nodes(3, labels=lambda number: {"littoral.dev/pool": f"p{number}"}, devices={"nvidia.com/gpu": 1})
    request = '{"models": [{"name": "plate", "sha256": "' + "ab" * 32 + '", "uri": "http://a/\\"quoted\\""}]}'
    pod = {
        "metadata": {"name": "served"},
        "spec": {
            "nodeName": names[0],
            "initContainers": [
                {"name": "fetch", "image": "i", "env": [{"name": "LITTORAL_FETCH", "value": request}]},
                {"name": "other", "image": "i"},
            ],
            "containers": [{"name": "triton", "image": "i"}],
        },
    }
    with kube.client(plane.kubeconfig) as api:
        core = kubernetes.client.CoreV1Api(api)
        until(
            lambda: core.list_namespaced_service_account("default").items,
            timeout=30,
            failure=lambda: AssertionError("no service account"),
        )
        core.create_namespaced_pod("default", pod)
        ready = until(
            lambda: [item for item in core.list_namespaced_pod("default").items if kube.is_ready(item.status)],
            timeout=30,
            failure=lambda: AssertionError("the pod is not Ready"),
        )
    fetch, other = ready[0].status.init_container_statuses
    assert '"digest":"' + "ab" * 32 in fetch.state.terminated.message
    assert '"outcome":"ok"' in fetch.state.terminated.message
    assert other.state.terminated.message is None
    until(
        lambda: '"verb":"create"' in plane.audit_log.read_text(encoding="utf-8"),
        timeout=30,
        failure=lambda: AssertionError("the audit log has no create"),
    )
