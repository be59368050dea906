"""One control plane for all, the operator installed from config/, its kubelets emulated, a site for each test."""

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contract.audit import AuditLog
from tests.contract.kubelet import Kubelets
from tests.contract.manifests import catalogue
from tests.contract.site import Site

from littoral.api import group
from littoral.controller.client import Client
from littoral.telemetry.metrics import Metrics
from rig import cluster, states
from rig.controlplane import ControlPlane
from rig.flags import Options
from rig.operator import Kubectl, Operator, install, service_account_kubeconfig
from rig.progress import to_stderr

ACCOUNT = f"system:serviceaccount:{group.OPERATOR_NAMESPACE}:{group.SERVICE_ACCOUNT}"
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def plane(reaped: None) -> Iterator[ControlPlane]:
    """A control plane of its own: the operator would act on what tests leave in a shared one. Littoral is installed."""
    blocking = {"kube-apiserver": ("--audit-log-mode=blocking",)}  # what was answered stands in the log
    plane = ControlPlane(states.make(), Options(audit_user=ACCOUNT, extra=blocking))

    def installed() -> None:
        kubectl = Kubectl(plane.kubeconfig)
        install(kubectl)
        kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(catalogue()))

    try:
        yield plane.start(to_stderr, installed=installed)
    finally:
        cluster.down(plane.state)


@pytest.fixture(scope="session")
def account(plane: ControlPlane) -> Path:
    """The kubeconfig of the operator's ServiceAccount, with what config/ gives it and nothing else."""
    return service_account_kubeconfig(Kubectl(plane.kubeconfig), plane.state / "operator.kubeconfig")


@pytest.fixture(scope="session")
def kubelets(plane: ControlPlane) -> Iterator[Kubelets]:
    with Kubelets(plane.kubeconfig) as kubelets:
        yield kubelets


@pytest.fixture(scope="session")
def processes(plane: ControlPlane, account: Path) -> Iterator[Operator]:
    """The operator as a process, started by the first test that needs it and left running for the next."""
    operator = Operator(plane.state, account)
    yield operator
    operator.stop()


@pytest.fixture
def operator(processes: Operator, user: Client) -> Operator:
    """The operator at work."""
    return processes.start()


@pytest.fixture
def no_operator(processes: Operator) -> None:
    """None runs: the test starts its own."""
    processes.stop()


@pytest.fixture
async def user(plane: ControlPlane, account: Path) -> AsyncIterator[Client]:
    """The administrator, who is every user here."""
    async with await Client.connect(plane.kubeconfig, metrics=Metrics()) as client:
        client.manager = "kubectl"
        yield client


@pytest.fixture
async def site(user: Client, kubelets: Kubelets, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    site = Site(user, kubelets, f"site-{next(NUMBERS)}")
    await site.open()
    yield site
    await site.close()
    assert kubelets.error is None


@pytest.fixture(autouse=True)
def _refused_nothing(plane: ControlPlane) -> Iterator[None]:
    """The rights that config/ gives are enough for everything that any test here makes the operator do."""
    log = AuditLog(plane.audit_log)
    yield
    assert [str(request) for request in log.read() if request.denied] == []
