"""The operator beside a local cluster: installed from config/, run as a process under its own ServiceAccount's token.

It runs on the host, where the central cluster would be, and learns through the API server alone; what its role does not
allow fails here as it would in production.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rig import paths
from rig.binaries import Binaries
from rig.errors import RigError
from rig.processes import ProcessTable
from rig.progress import Progress, silent
from rig.waiting import until

NAMESPACE = "littoral-system"
FETCH_IMAGE = "littoral.dev/local/littoral:dev"
_NAME = "operator"
_READY_SECONDS = 60.0


class Kubectl:
    """kubectl against one kubeconfig."""

    def __init__(self, kubeconfig: Path, progress: Progress = silent) -> None:
        self.kubeconfig = kubeconfig
        self._program = Binaries().kubectl(progress)

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it and return what it prints; RigError with its own words where it fails."""
        command = [str(self._program), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RigError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def install(kubectl: Kubectl) -> None:
    """Apply config/: CRDs, roles, ServiceAccount, PriorityClass; done when the CRDs are served."""
    kubectl("apply", "--server-side", "-k", str(paths.REPOSITORY / "config"))
    names = [f"crd/{path.stem}.littoral.dev" for path in sorted((paths.REPOSITORY / "crds").glob("*s.yaml"))]
    kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)


def service_account_kubeconfig(kubectl: Kubectl, target: Path) -> Path:
    """A kubeconfig with a token of the operator's ServiceAccount and nothing else; readable by its owner alone."""
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    token = kubectl("create", "token", "littoral-operator", f"--namespace={NAMESPACE}", "--duration=24h").strip()
    config["users"] = [{"name": _NAME, "user": {"token": token}}]
    config["contexts"] = [{"name": _NAME, "context": {"cluster": config["clusters"][0]["name"], "user": _NAME}}]
    config["current-context"] = _NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(json.dumps(config), encoding="utf-8")
    return target


class Operator:
    """`littoral run` as a process of a state folder: there after the command that started it has ended."""

    def __init__(self, state: Path, kubeconfig: Path, *, options: Sequence[str] = (), quiet: bool = False) -> None:
        """`kubeconfig` is what it logs in with; `options` are further flags of `littoral run`."""
        self._table = ProcessTable(state / "processes")
        self.log = state / "logs" / f"{_NAME}.log"
        self._arguments = [
            sys.executable, "-m", "littoral", "run", *(() if quiet else ("--verbose",)),
            f"--kubeconfig={kubeconfig}", f"--namespace={NAMESPACE}", f"--fetch-image={FETCH_IMAGE}",
            "--health-host=127.0.0.1", "--health-port=0", *options,
        ]  # fmt: skip
        self._offset = 0

    def start(self) -> Self:
        """Start it, unless it runs, and wait until it is synced."""
        if self.running:
            return self
        self._offset = self.log.stat().st_size if self.log.exists() else 0
        self._table.spawn(_NAME, self._arguments, log=self.log)
        until(self._ready, timeout=_READY_SECONDS, failure=self._failure)
        return self

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._table.alive(_NAME)

    @property
    def pid(self) -> int | None:
        """Its process id."""
        record = self._table.record(_NAME)
        return None if record is None else record.pid

    @property
    def port(self) -> int | None:
        """Where its health and metrics pages are, on loopback."""
        if not self.log.exists():
            return None
        found = re.findall(rb"health and metrics on port (\d+)", self.log.read_bytes()[self._offset :])
        return int(found[-1]) if found else None

    def metrics(self) -> str:
        """Its Prometheus page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def stop(self, *, kill: bool = False) -> None:
        """End it in order, or at once."""
        self._table.stop([_NAME], kill=kill)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready(self) -> bool:
        if not self.running:
            raise self._failure()
        port = self.port
        if port is None:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def _failure(self) -> RigError:
        tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        return RigError(f"the operator did not become ready; the end of {self.log}:\n{tail}")
