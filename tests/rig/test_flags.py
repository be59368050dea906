from pathlib import Path

import pytest
import yaml

from rig import flags
from rig.flags import Options, Ports

PORTS = Ports(etcd_client=1, etcd_peer=2, api_server=3, controller_manager=4, scheduler=5)
STATE = Path("/state")


def test_nothing_is_reachable_from_outside_this_machine() -> None:
    listening = [
        *flags.etcd(STATE, PORTS),
        *flags.api_server(STATE, PORTS, Options()),
        *flags.controller_manager(STATE, PORTS, Options()),
        *flags.scheduler(STATE, PORTS, Options()),
    ]
    assert not [flag for flag in listening if "0.0.0.0" in flag]
    assert [flag for flag in listening if flag.startswith("--bind-address=")] == ["--bind-address=127.0.0.1"] * 3


def test_the_api_server_authorizes_as_a_production_one_does() -> None:
    server = flags.api_server(STATE, PORTS, Options())
    assert "--authorization-mode=Node,RBAC" in server
    assert "--enable-admission-plugins=NodeRestriction" in server
    assert not [flag for flag in server if flag.startswith(("--anonymous-auth", "--audit", "--default-"))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(toleration_seconds=5), "--default-unreachable-toleration-seconds=5"),
        (Options(toleration_seconds=5), "--default-not-ready-toleration-seconds=5"),
        (Options(audit_user="u"), "--audit-log-path=/state/audit.log"),
        (Options(address="10.1.0.2"), "--bind-address=10.1.0.2"),
        (Options(address="10.1.0.2"), "--advertise-address=10.1.0.2"),
        (Options(service_cidr="10.3.0.0/16"), "--service-cluster-ip-range=10.3.0.0/16"),
        (Options(extra={"kube-apiserver": ("--v=4",)}), "--v=4"),
    ],
)
def test_each_option_reaches_the_api_server(options: Options, expected: str) -> None:
    assert expected in flags.api_server(STATE, PORTS, options)


def test_the_client_limits_reach_both_clients() -> None:
    options = Options(client_qps=5000)
    assert "--kube-api-qps=5000" in flags.controller_manager(STATE, PORTS, options)
    connection = yaml.safe_load(flags.scheduler_config(STATE, options))["clientConnection"]
    assert (connection["qps"], connection["burst"]) == (5000, 10000)


def test_the_audit_log_has_the_named_user_and_nobody_else() -> None:
    policy = yaml.safe_load(flags.audit_policy("system:serviceaccount:a:b"))
    assert policy["rules"] == [{"level": "Metadata", "users": ["system:serviceaccount:a:b"]}, {"level": "None"}]
    assert policy["omitStages"] == ["RequestReceived"]
