import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import cgroups, cluster, nodefiles, paths, states
from rig.nodefiles import NodeSpec
from rig.waiting import until

pytestmark = pytest.mark.node


@pytest.fixture
def state(nodes_possible: None) -> Iterator[Path]:
    folder = states.make()
    yield folder
    cluster.down(folder)


def left_of(name: str, state: Path) -> list[str]:
    """Everything on this machine that the cluster called `name`, in `state`, could have left."""
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [
        *(line for line in links.splitlines() if line.startswith(name)),
        *map(str, Path("/run/netns").glob(f"{name}-*")),
        *map(str, cgroups.ROOT.glob(f"*/{name}-*")),
        *(command.decode() for command in commands if str(state).encode() in command),
        *(str(mark) for path in nodefiles.BOUND for mark in Path(path).glob(f".littoral-{name}")),
        *([str(state)] if state.exists() else []),
    ]


def of_the_machine() -> dict[str, str]:
    """What a cluster has no business to change: forwarding, the firewall, mounts (less those of other clusters)."""
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return {
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii"),
        "rules": "\n".join(line.partition(" [")[0] for line in rules.splitlines() if not line.startswith("#")),
        "mounts": "\n".join(line for line in mounts if "/run/netns" not in line and "/.lit" not in line),
    }


def test_down_after_a_crash_leaves_nothing(state: Path) -> None:
    """The command died before it wrote down what it had started; the node's processes know no parent any more."""
    name = paths.cluster_id(state)
    before = of_the_machine()
    node = cluster.up(state, [NodeSpec("edge-x")], image_names=()).nodes["edge-x"]
    assert left_of(name, state)
    assert of_the_machine() == before, "up changed what is the machine's own"
    assert states.is_owned(state), "another test run would take the cluster for abandoned"
    (state / "cluster.json").unlink()
    for record in (node.folder / "processes").glob("*.json"):
        record.unlink()
    assert cluster.down(state)
    until(
        lambda: not left_of(name, state),
        timeout=10,
        failure=lambda: AssertionError(left_of(name, state)),
    )
    assert cluster.down(state) == []
    assert of_the_machine() == before


def test_a_failed_bring_up_leaves_its_logs_and_nothing_that_runs(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rig.kube.await_nodes", fail)
    with pytest.raises(KeyboardInterrupt):
        cluster.up(state, [NodeSpec("edge-x")], image_names=())
    assert (state / "nodes" / "edge-x" / "logs" / "kubelet.log").exists()
    until(
        lambda: left_of(paths.cluster_id(state), state) == [str(state)],
        timeout=10,
        failure=lambda: AssertionError(left_of(paths.cluster_id(state), state)),
    )
