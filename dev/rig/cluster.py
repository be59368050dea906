"""A whole cluster on this machine: the nodes' network, a control plane on it, and real nodes.

All it is lies in one state folder and in things named after that folder (see `paths.cluster_id`): network namespaces,
one interface, control groups. `down` therefore needs no memory of what `up` got to; it removes whatever is there, after
a crash as well, and says what it removed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from rig import binaries as programs
from rig import cgroups, images, kube, mountpoints, network, nodefiles, paths, proxies, states
from rig.binaries import Binaries
from rig.controlplane import ControlPlane
from rig.flags import Options
from rig.imagestore import ImageStore
from rig.network import Plan
from rig.node import RealNode
from rig.nodefiles import NodeSpec
from rig.processes import ProcessTable
from rig.progress import Progress, silent

IMAGES = ("littoral", "triton-cpu")
_READY_SECONDS = 120.0
_FACTS = "cluster.json"
_IMAGES_IMPORTED = "images.json"


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its control plane and its nodes by name."""

    state: Path
    plan: Plan
    control_plane: ControlPlane
    nodes: dict[str, RealNode]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.control_plane.kubeconfig

    @property
    def host_address(self) -> str:
        """The host's address as nodes and pods see it: a server on it is the outside world to them."""
        return self.plan.host_address

    def power_on(self, name: str, *, snapshotter: str | None = None) -> None:
        """Start a node, for the first time or after its `power_off`; its Node object becomes Ready on its own."""
        self.nodes[name].start(
            binaries=Binaries().ensure(programs.NODE, silent),
            pki=self.state / "pki",
            url=self.control_plane.url,
            sandbox_image=images.IMAGES["pause"].tag,
            snapshotter=snapshotter or _snapshotter(self.state),
        )

    def healthy(self) -> bool:
        """True if every component of the control plane and of each node runs and the API server is ready."""
        return self.control_plane.healthy() and all(node.healthy() for node in self.nodes.values())


def up(
    state: Path,
    nodes: Sequence[NodeSpec],
    *,
    options: Options | None = None,
    image_names: Sequence[str] = IMAGES,
    installed: Callable[[Path], None] = lambda _kubeconfig: None,
    progress: Progress = silent,
) -> Cluster:
    """Bring up a cluster with `nodes` and wait until all are Ready.

    `installed` is called with the administrator's kubeconfig before the controllers start (see `ControlPlane.start`).

    A healthy cluster of the same nodes in `state` is taken as it is, but for images that have changed since; anything
    else there is taken down first.
    Raises RigError; what had been started is then taken down again, logs excepted.
    """
    running = load(state)
    if running is not None and [node.spec for node in running.nodes.values()] == list(nodes) and running.healthy():
        progress(f"the cluster in {state} runs already and is healthy")
        _import_images(running, image_names, progress)
        return running
    removed = down(state, keep_owner=True)
    if removed:
        progress(f"removed what an earlier cluster in {state} had left: {len(removed)} things")
    try:
        return _bring_up(
            state.absolute(),
            nodes,
            options or Options(),
            image_names=image_names,
            installed=installed,
            progress=progress,
        )
    except BaseException:  # an interrupt as well: the next command must find nothing half made
        down(state, keep_logs=True)
        raise


def load(state: Path) -> Cluster | None:
    """The cluster in `state` as `up` recorded it, running or not; None if there is none."""
    try:
        facts = json.loads((state / _FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    plan = Plan(facts["cluster"], IPv4Network(facts["supernet"]), IPv4Network(facts["services"]))
    specs = [NodeSpec(**{**spec, "taints": tuple(spec["taints"])}) for spec in facts["nodes"]]
    options = Options(**facts["options"])
    return _cluster(state.absolute(), plan, specs, options)


def down(state: Path, *, keep_logs: bool = False, keep_owner: bool = False) -> list[str]:
    """Take down whatever runs or is left of the cluster in `state`; returns what was removed. Idempotent.

    With `keep_logs` logs and configuration stay, for somebody to read why a component failed. With `keep_owner` so does
    the claim of the process that is about to use the folder: without it the next test run would take it for abandoned.
    """
    state = state.absolute()
    cluster = paths.cluster_id(state)
    removed = []
    for folder in (*sorted((state / "nodes").glob("*/processes")), state / "processes"):
        removed += [f"process {name}" for name in ProcessTable(folder).stop(kill=True)]
    if cgroups.ROOT.is_dir():
        for name in sorted({path.name for top in cgroups.hierarchies() for path in top.glob(f"{cluster}-*")}):
            removed += cgroups.destroy(name)
    removed += network.tear(cluster)
    removed += mountpoints.release(cluster, _mount_points())
    (state / _FACTS).unlink(missing_ok=True)
    if keep_logs:
        for bulk in (*state.glob("nodes/*/containerd"), state / "etcd"):
            shutil.rmtree(bulk, ignore_errors=True)
    elif keep_owner and states.is_owned(state):
        removed += states.empty(state)
    elif state.exists():
        shutil.rmtree(state, onerror=_unless_gone)
        removed.append(f"folder {state}")
    return removed


def _bring_up(
    state: Path,
    specs: Sequence[NodeSpec],
    options: Options,
    *,
    image_names: Sequence[str],
    installed: Callable[[Path], None],
    progress: Progress,
) -> Cluster:
    builds = Binaries()
    builds.ensure(programs.CONTROL_PLANE, progress)
    plan = network.choose(paths.cluster_id(state), network.taken())
    options = replace(options, address=plan.host_address, service_cidr=str(plan.services))
    state.mkdir(parents=True, exist_ok=True)
    facts = {
        "cluster": plan.cluster,
        "supernet": str(plan.supernet),
        "services": str(plan.services),
        "nodes": [asdict(spec) for spec in specs],
        "options": asdict(options),
    }
    (state / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    network.lay(plan)
    mountpoints.claim(plan.cluster, _mount_points())
    cluster = _cluster(state, plan, specs, options)
    cluster.control_plane.start(progress, installed=lambda: installed(cluster.kubeconfig))
    found = builds.ensure(programs.NODE, progress)
    archives = _archives(image_names, progress)
    snapshotter = _snapshotter(state)
    roots = [node.containerd_root for node in cluster.nodes.values()]
    ImageStore(paths.cache_root(), state, found, snapshotter).give(archives, roots, progress)
    progress(f"starting {len(specs)} nodes (usually 10 s)")
    with ThreadPoolExecutor(max_workers=max(1, len(specs))) as pool:
        starts = [pool.submit(cluster.power_on, name, snapshotter=snapshotter) for name in cluster.nodes]
        for start in starts:
            start.result()
    _remember_images(state, archives)
    kube.await_nodes(cluster.kubeconfig, specs, timeout=_READY_SECONDS)
    for spec in specs:
        _, given = nodefiles.split_labels(spec.labels)
        if given:
            kube.label_node(cluster.kubeconfig, spec.name, given)
    progress(f"{len(specs)} nodes are Ready: {', '.join(cluster.nodes)}")
    return cluster


def _cluster(state: Path, plan: Plan, specs: Sequence[NodeSpec], options: Options) -> Cluster:
    proxies.bypass([plan.host_address, str(plan.supernet), str(plan.services)])
    nodes = {spec.name: RealNode(spec, index, plan, state / "nodes" / spec.name) for index, spec in enumerate(specs, 1)}
    return Cluster(state, plan, ControlPlane(state, options), nodes)


def _archives(image_names: Sequence[str], progress: Progress) -> list[Path]:
    return [images.build(name, paths.cache_root(), progress) for name in ("pause", *image_names)]


def _import_images(cluster: Cluster, image_names: Sequence[str], progress: Progress) -> None:
    """Import what is not on the nodes of a running cluster yet: an archive's name changes with its content."""
    archives = _archives(image_names, progress)
    known = json.loads((cluster.state / _IMAGES_IMPORTED).read_text(encoding="utf-8"))
    ctr = Binaries().path("ctr")
    for archive in archives:
        if str(archive) not in known:
            progress(f"importing {archive.name} into {len(cluster.nodes)} nodes (usually 10 s)")
            for node in cluster.nodes.values():
                node.import_image(ctr, archive)
    _remember_images(cluster.state, archives)


def _remember_images(state: Path, archives: Sequence[Path]) -> None:
    (state / _IMAGES_IMPORTED).write_text(json.dumps([str(archive) for archive in archives]), encoding="utf-8")


def _mount_points() -> list[Path]:
    return [Path(path) for path in nodefiles.BOUND]


def _snapshotter(state: Path) -> str:
    """`overlayfs` where the state folder's file system can carry one (an overlay cannot), else plain copies."""
    scratch = state / "overlay-probe"
    for name in ("lower", "upper", "work", "merged"):
        (scratch / name).mkdir(parents=True)
    options = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, str(scratch / "merged")],
        capture_output=True,
        check=False,
    )
    shutil.rmtree(scratch)
    return "overlayfs" if done.returncode == 0 else "native"


def _unless_gone(_function: object, _path: str, failure: tuple[type[BaseException], BaseException, object]) -> None:
    """Two runs may reap what a third one left: what is gone already is as good as removed."""
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
