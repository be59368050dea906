"""The command lines of the control plane, as values: what is in them is tested without starting anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class Options:
    """What differs from one control plane to the next.

    `address` is where the API server listens: loopback, or the host's end of the nodes' network. `client_qps` raises
    the client limits of controller manager and scheduler, so that a benchmark measures the operator and not them.
    `toleration_seconds` is what the API server adds to pods for unreachable and not-ready nodes (its own default:
    300). `audit_user` turns on an audit log, in the state folder's audit.log, of that user's requests at Metadata
    level. `extra` adds flags to a component by its name.
    """

    address: str = "127.0.0.1"
    service_cidr: str = "10.96.0.0/16"
    controller_manager: bool = True
    scheduler: bool = True
    client_qps: int = 200
    toleration_seconds: int | None = None
    audit_user: str | None = None
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ports:
    """The ports that one control plane listens on, found free right before it starts."""

    etcd_client: int
    etcd_peer: int
    api_server: int
    controller_manager: int
    scheduler: int


def etcd(state: Path, ports: Ports) -> list[str]:
    """Flags of etcd: on loopback, without fsync, because what it holds never outlives the cluster."""
    client = f"http://127.0.0.1:{ports.etcd_client}"
    peer = f"http://127.0.0.1:{ports.etcd_peer}"
    return [
        f"--data-dir={state / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--quota-backend-bytes=2147483648",
    ]


def api_server(state: Path, ports: Ports, options: Options) -> list[str]:
    """kube-apiserver: certificates on every connection, Node and RBAC authorization, as on a production cluster."""
    pki = state / "pki"
    flags = [
        f"--etcd-servers=http://127.0.0.1:{ports.etcd_client}",
        f"--secure-port={ports.api_server}",
        f"--bind-address={options.address}",
        f"--advertise-address={options.address}",
        f"--tls-cert-file={pki / 'api-server.crt'}",
        f"--tls-private-key-file={pki / 'api-server.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'admin.crt'}",
        f"--kubelet-client-key={pki / 'admin.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--token-auth-file={pki / 'tokens.csv'}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--service-account-issuer={ISSUER}",
        f"--service-cluster-ip-range={options.service_cidr}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]
    if options.toleration_seconds is not None:
        flags += [
            f"--default-{taint}-toleration-seconds={options.toleration_seconds}"
            for taint in ("not-ready", "unreachable")
        ]
    if options.audit_user is not None:
        flags += [
            f"--audit-policy-file={state / 'audit-policy.yaml'}",
            f"--audit-log-path={state / 'audit.log'}",
            "--audit-log-mode=batch",
            "--audit-log-maxsize=4096",
        ]
    return [*flags, *options.extra.get("kube-apiserver", ())]


def controller_manager(state: Path, ports: Ports, options: Options) -> list[str]:
    """kube-controller-manager, each controller under its own service account."""
    return [
        f"--kubeconfig={state / 'pki' / 'controller-manager.kubeconfig'}",
        f"--service-account-private-key-file={state / 'pki' / 'sa.key'}",
        f"--root-ca-file={state / 'pki' / 'ca.crt'}",
        f"--secure-port={ports.controller_manager}",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--kube-api-qps={options.client_qps}",
        f"--kube-api-burst={2 * options.client_qps}",
        *options.extra.get("kube-controller-manager", ()),
    ]


def scheduler(state: Path, ports: Ports, options: Options) -> list[str]:
    """kube-scheduler."""
    return [
        f"--config={state / 'scheduler.yaml'}",
        f"--secure-port={ports.scheduler}",
        "--bind-address=127.0.0.1",
        *options.extra.get("kube-scheduler", ()),
    ]


def scheduler_config(state: Path, options: Options) -> str:
    """The scheduler's own configuration file: its client limits can be set nowhere else."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {
                "kubeconfig": str(state / "pki" / "scheduler.kubeconfig"),
                "qps": options.client_qps,
                "burst": 2 * options.client_qps,
            },
        }
    )


def audit_policy(user: str) -> str:
    """Verb and resource of every request of `user`, once it is answered; nothing of anybody else's."""
    return yaml.safe_dump(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "users": [user]}, {"level": "None"}],
        }
    )


def serving_hosts(options: Options) -> list[str]:
    """The names that the API server's certificate is good for; a pod's client uses the first service address."""
    first = options.service_cidr.partition("/")[0].rpartition(".")[0] + ".1"
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    return list(dict.fromkeys(["127.0.0.1", options.address, first, *names]))
