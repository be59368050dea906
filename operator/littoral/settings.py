"""What the operator is started with."""

from dataclasses import dataclass
from pathlib import Path

from littoral.api.group import OPERATOR_NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The flags of `littoral run`."""

    fetch_image: str
    """Image of the fetch container: this package's own."""
    namespace: str = OPERATOR_NAMESPACE
    """The operator's namespace: its Lease and its catalogue extension are there."""
    kubeconfig: Path | None = None
    """None: the pod's service account, else the user's default kubeconfig."""
    context: str | None = None
    workers: int = 16
    """Keys reconciled at once; each write occupies one connection."""
    resync: float = 600.0
    """Seconds between two LISTs of everything, less or more a tenth."""
    refusal_grace: float = 60.0
    """Seconds for which a pod is refused by the scheduler or its kubelet before its device is excluded for a while."""
    health_host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    health_port: int = 8080
    """0 takes a free port, which is logged."""
