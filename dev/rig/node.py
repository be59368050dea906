"""A real edge node: containerd, kubelet and kube-proxy in a network and a mount namespace of their own.

A node is an anchor process that holds its mount namespace, and components that join it. Everything of it runs in one
control group and writes into one folder, so it can be ended whatever became of the command that started it.

`cut` is the uplink going down: the node's components and pods go on, and answer each other, without the control plane.
`power_off` is the power going down: `start` finds what a disk keeps. The kernel, and so its boot id, is the machine's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig import cgroups, network, nodefiles, paths, podresources
from rig.errors import RigError, with_log
from rig.network import Plan
from rig.nodefiles import NodeSpec
from rig.pki import Authority, kubeconfig
from rig.processes import ProcessTable, Record
from rig.waiting import until

DEVICE_PLUGIN = "device-plugin"
_ANCHOR = "anchor"


class RealNode:
    """One node of a cluster.

    `index` (from 1) decides its addresses in `plan`; `folder` holds all its files.
    """

    def __init__(self, spec: NodeSpec, index: int, plan: Plan, folder: Path) -> None:
        self.spec = spec
        self.index = index
        self.folder = folder
        self._plan = plan
        self._table = ProcessTable(folder / "processes")

    @property
    def name(self) -> str:
        """The Node object's name."""
        return self.spec.name

    @property
    def address(self) -> str:
        """The node's address, reachable from the host and from the other nodes."""
        return self._plan.node_address(self.index)

    @property
    def cgroup(self) -> str:
        """The name of its control group, also that of its network namespace."""
        return self._plan.namespace(self.name)

    @property
    def host_folder(self) -> Path:
        """What the node sees as /var/lib/littoral."""
        return self.folder / "littoral"

    @property
    def containerd_root(self) -> Path:
        """Where its containerd keeps images and containers."""
        return self.folder / "containerd"

    def log(self, component: str) -> Path:
        """The log of one of its components."""
        return self.folder / "logs" / f"{component}.log"

    def start(
        self,
        *,
        binaries: Mapping[str, Path],
        pki: Path,
        url: str,
        sandbox_image: str,
        snapshotter: str,
    ) -> None:
        """Start the node; its Node object becomes Ready on its own.

        `pki` is the control plane's folder of certificates, `url` its API server as the node reaches it. Images that
        are in `containerd_root` are there from the first moment.
        """
        network.plug(self._plan, self.name, self.index)
        cgroups.create(self.cgroup)
        self._write_files(binaries, pki, url, sandbox_image, snapshotter)
        self._start_anchor()
        self._spawn("containerd", [str(binaries["containerd"]), "--config", str(self.folder / "containerd.toml")])
        self._await_containerd(binaries["ctr"])
        self.start_kubelet(binaries)
        self._spawn(
            "kube-proxy",
            [
                str(binaries["kube-proxy"]),
                *nodefiles.kube_proxy_flags(self.folder, self.spec, self._plan.pods(self.index)),
            ],
        )
        if self.spec.devices:
            self.start_device_plugin()

    def start_kubelet(self, binaries: Mapping[str, Path]) -> None:
        """Start the kubelet; with `stop_component("kubelet")`, how a test restarts it."""
        flags = nodefiles.kubelet_flags(self.folder, self.spec, self.address)
        self._spawn("kubelet", [str(binaries["kubelet"]), *flags])

    def start_device_plugin(self) -> None:
        """Advertise the node's devices to its kubelet; after `stop_component(DEVICE_PLUGIN)`, how they come back."""
        command = ["env", f"PYTHONPATH={paths.REPOSITORY / 'dev'}", sys.executable, "-m", "rig.deviceplugin"]
        self._spawn(DEVICE_PLUGIN, [*command, *nodefiles.device_plugin_arguments(self.spec)])

    def allocated(self) -> list[podresources.Allocated]:
        """What its kubelet has handed out, in the kubelet's own words."""
        return podresources.allocated(self.path("/var/lib/kubelet/pod-resources/kubelet.sock"))

    def path(self, inside: str) -> Path:
        """A path of the node's as this process reaches it; short, as the addresses of sockets have to be."""
        return Path(f"/proc/{self._anchor.pid}/root{inside}")

    def stop_component(self, name: str) -> None:
        """End one component and leave the others, and the pods, as they are."""
        self._table.stop([name])

    def import_image(self, ctr: Path, archive: Path) -> None:
        """Import an image archive, for pods on this node."""
        done = self.exec([str(ctr), "--namespace=k8s.io", "images", "import", "--local", str(archive)], check=False)
        if done.returncode != 0:
            raise RigError(f"{archive} could not be imported on node {self.name}: {done.stderr.strip()}")

    def exec(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's network and mount namespaces.

        Raises RigError with its output if it fails and `check` is set.
        """
        done = subprocess.run([*self._enter(), *argv], capture_output=True, text=True, check=False, timeout=timeout)
        if check and done.returncode != 0:
            raise RigError(f"on node {self.name}: {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def cut(self) -> None:
        """Take the node off the network; its own pods still reach each other."""
        network.set_cable(self._plan, self.index, connected=False)

    def restore(self) -> None:
        """Put the node back on the network."""
        network.set_cable(self._plan, self.index, connected=True)

    def healthy(self) -> bool:
        """True if all that makes it a node runs."""
        plugin = [DEVICE_PLUGIN] if self.spec.devices else []
        return all(self._table.alive(name) for name in (_ANCHOR, "containerd", "kubelet", "kube-proxy", *plugin))

    def power_off(self) -> None:
        """End everything that runs on the node at once; of its files only what is on its disk stays."""
        self._table.stop(kill=True)
        cgroups.destroy(self.cgroup)
        network.unplug(self._plan, self.name, self.index)

    def _write_files(
        self, binaries: Mapping[str, Path], pki: Path, url: str, sandbox_image: str, snapshotter: str
    ) -> None:
        folder = self.folder
        for name in (*nodefiles.BOUND.values(), "cni", "containerd", "kernel", "logs", "pki", "pod-logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "set-up").unlink(missing_ok=True)
        authority = Authority.load(pki)
        (folder / "pki" / "ca.crt").write_bytes(authority.certificate.read_bytes())
        clients = {
            "kubelet": authority.issue(
                f"kubelet-{self.name}", user=f"system:node:{self.name}", groups=["system:nodes"]
            ),
            "kube-proxy": authority.issue(f"kube-proxy-{self.name}", user="system:kube-proxy"),
        }
        for component, client in clients.items():
            text = kubeconfig(url=url, authority=authority.certificate, client=client)
            (folder / f"{component}.kubeconfig").write_text(text, encoding="utf-8")
        serving = authority.issue(
            f"serving-{self.name}", user=f"system:node:{self.name}", hosts=[self.name, self.address]
        )
        shutil.copy(serving.certificate, folder / "pki" / "serving.crt")
        shutil.copy(serving.key, folder / "pki" / "serving.key")
        texts = {
            "kubelet.yaml": nodefiles.kubelet(folder, self.cgroup, self.spec, folder / "pki" / "ca.crt"),
            "containerd.toml": nodefiles.containerd(folder, binaries, sandbox_image, snapshotter),
            "cni/10-edge.conflist": nodefiles.cni(self._plan.pods(self.index)),
            "resolv.conf": "nameserver 127.0.0.1\n",
            **{f"kernel/{name.replace('/', '.')}": f"{v}\n" for name, v in nodefiles.KERNEL_SETTINGS.items()},
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")

    def _start_anchor(self) -> None:
        self._table.spawn(
            _ANCHOR,
            [
                *_join(cgroups.join_files(self.cgroup)),
                "nsenter",
                f"--net=/run/netns/{self.cgroup}",
                "unshare",
                "--mount",
                "sh",
                "-c",
                nodefiles.setup_script(self.folder),
            ],
            log=self.log(_ANCHOR),
        )

        def probe() -> bool:
            if not self._table.alive(_ANCHOR):
                raise with_log(f"the namespaces of node {self.name} could not be set up", self.log(_ANCHOR))
            return (self.folder / "set-up").exists()

        until(probe, timeout=20, failure=lambda: with_log(f"node {self.name} is not set up", self.log(_ANCHOR)))

    def _await_containerd(self, ctr: Path) -> None:
        def probe() -> bool:
            if not self._table.alive("containerd"):
                raise with_log(f"containerd of node {self.name} ended", self.log("containerd"))
            return self.exec([str(ctr), "version"], check=False).returncode == 0

        until(
            probe,
            timeout=60,
            failure=lambda: with_log(f"containerd of node {self.name} does not answer", self.log("containerd")),
        )

    def _spawn(self, name: str, argv: Sequence[str]) -> None:
        self._table.spawn(name, [*_join(cgroups.join_files(self.cgroup)), *self._enter(), *argv], log=self.log(name))

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self._anchor.pid}", "--net", "--mount", "--"]

    @property
    def _anchor(self) -> Record:
        anchor = self._table.record(_ANCHOR)
        if anchor is None:
            raise RigError(f"node {self.name} has not been started")
        return anchor


def _join(files: Sequence[Path]) -> list[str]:
    """A prefix that puts a command into a control group before it becomes that command."""
    script = "".join(f'echo $$ > "{file}"; ' for file in files) + 'exec "$@"'
    return ["sh", "-c", script, "sh"]
