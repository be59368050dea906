"""A control plane without nodes: etcd, kube-apiserver and, if wanted, controller manager and scheduler.

It needs no root, takes free ports, and any number of them run beside one another, each in a state folder of its own:

    with ControlPlane(folder) as plane:
        client = kubernetes.config.new_client_from_config(str(plane.kubeconfig))

Nothing outlives `stop`. A control plane meant to outlive the command (`make cluster`) is started without the `with`;
`stop` on a new object over the same folder ends it.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from rig import flags, proxies
from rig.binaries import Binaries
from rig.errors import with_log
from rig.flags import Options, Ports
from rig.pki import Authority, kubeconfig, write_signing_key
from rig.processes import ProcessTable
from rig.progress import Progress, silent
from rig.waiting import until

_READY_SECONDS = 90.0


class ControlPlane:
    """One control plane in one state folder.

    Attributes: `kubeconfig` (path; the cluster's administrator), `ca` (path), `admin_token` (bearer token of the
    administrator), `url`.
    """

    def __init__(self, state: Path, options: Options | None = None, binaries: Binaries | None = None) -> None:
        self.state = state.absolute()
        self.options = options or Options()
        self._binaries = binaries or Binaries()
        self._table = ProcessTable(self.state / "processes")
        self.kubeconfig = self.state / "kubeconfig"
        self.ca = self.state / "pki" / "ca.crt"

    @property
    def url(self) -> str:
        """The API server's address; known once it was started."""
        endpoint = json.loads((self.state / "endpoint.json").read_text(encoding="utf-8"))
        return str(endpoint["url"])

    @property
    def admin_token(self) -> str:
        """A bearer token of the group system:masters."""
        return (self.state / "pki" / "tokens.csv").read_text(encoding="utf-8").partition(",")[0]

    @property
    def audit_log(self) -> Path:
        """Where the audit log is, if `audit_user` was given."""
        return self.state / "audit.log"

    @property
    def components(self) -> tuple[str, ...]:
        """The programs that this control plane consists of, in the order in which they start."""
        optional = {
            "kube-controller-manager": self.options.controller_manager,
            "kube-scheduler": self.options.scheduler,
        }
        return ("etcd", "kube-apiserver", *(name for name, wanted in optional.items() if wanted))

    def start(self, progress: Progress = silent, *, installed: Callable[[], None] | None = None) -> Self:
        """Start all components and wait until the API server is ready.

        `installed` is called once it is ready and before the controllers start: custom resources that are there by then
        are known to the garbage collector from its first moment, and not half a minute later.
        Raises RigError, with the end of the log, if a component ends or is not ready within 90 s.
        """
        programs = self._binaries.ensure(self.components, progress)
        proxies.bypass([self.options.address])
        self.state.mkdir(parents=True, exist_ok=True)
        ports = free_ports(self.options.address)
        self._prepare(ports)
        commands = {
            "etcd": flags.etcd(self.state, ports),
            "kube-apiserver": flags.api_server(self.state, ports, self.options),
            "kube-controller-manager": flags.controller_manager(self.state, ports, self.options),
            "kube-scheduler": flags.scheduler(self.state, ports, self.options),
        }
        progress(f"starting {', '.join(self.components)} (usually 5 s)")
        servers, controllers = self.components[:2], self.components[2:]
        for name in servers:
            self._table.spawn(name, [str(programs[name]), *commands[name]], log=self._log(name))
        self._await_ready()  # those that follow give up on an API server that is not there yet
        if installed is not None:
            installed()
        for name in controllers:
            self._table.spawn(name, [str(programs[name]), *commands[name]], log=self._log(name))
        return self

    def stop(self) -> None:
        """End every process of this control plane; the files stay for who wants to read the logs."""
        # Nothing of it is worth a graceful end: the API server would take a minute over its open watches.
        self._table.stop(kill=True)

    def healthy(self) -> bool:
        """True if every component runs and the API server says that it is ready."""
        return all(self._table.alive(name) for name in self.components) and self._ready()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None:
            shutil.rmtree(self.state, ignore_errors=True)

    def _prepare(self, ports: Ports) -> None:
        pki = self.state / "pki"
        authority = Authority.create(pki)
        authority.issue("api-server", user="kube-apiserver", hosts=flags.serving_hosts(self.options))
        write_signing_key(pki)
        tokens = pki / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{secrets.token_hex(24)},admin,admin,"system:masters"\n', encoding="utf-8")
        url = f"https://{self.options.address}:{ports.api_server}"
        clients = {
            self.kubeconfig: authority.issue("admin", user="admin", groups=["system:masters"]),
            pki / "controller-manager.kubeconfig": authority.issue(
                "controller-manager", user="system:kube-controller-manager"
            ),
            pki / "scheduler.kubeconfig": authority.issue("scheduler", user="system:kube-scheduler"),
        }
        for path, client in clients.items():
            path.touch(mode=0o600)
            path.write_text(kubeconfig(url=url, authority=self.ca, client=client), encoding="utf-8")
        (self.state / "scheduler.yaml").write_text(flags.scheduler_config(self.state, self.options), encoding="utf-8")
        if self.options.audit_user is not None:
            policy = flags.audit_policy(self.options.audit_user)
            (self.state / "audit-policy.yaml").write_text(policy, encoding="utf-8")
        endpoint = {"url": url, "ports": asdict(ports)}
        (self.state / "endpoint.json").write_text(json.dumps(endpoint), encoding="utf-8")

    def _await_ready(self) -> None:
        def probe() -> bool:
            for name in ("etcd", "kube-apiserver"):
                if not self._table.alive(name):
                    raise with_log(f"{name} ended while it was starting", self._log(name))
            return self._ready()

        until(
            probe,
            timeout=_READY_SECONDS,
            failure=lambda: with_log(
                f"the API server is not ready after {_READY_SECONDS:.0f} s", self._log("kube-apiserver")
            ),
        )

    def _ready(self) -> bool:
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            request = urllib.request.Request(
                f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.admin_token}"}
            )
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"


def free_ports(address: str) -> Ports:
    """Ports nobody listens on; all are held until all are found, so that no two are the same."""
    wanted = {
        "etcd_client": "127.0.0.1",
        "etcd_peer": "127.0.0.1",
        "api_server": address,
        "controller_manager": "127.0.0.1",
        "scheduler": "127.0.0.1",
    }
    found: dict[str, int] = {}
    with ExitStack() as held:
        for name, host in wanted.items():
            listener = held.enter_context(socket.socket())
            listener.bind((host, 0))
            found[name] = listener.getsockname()[1]
    return Ports(**found)
