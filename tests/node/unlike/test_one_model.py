"""One model on three kinds of hardware: each node takes its own variant, by its own sharing mechanism, and answers."""

import pytest
from tests.node.edge import Edge, at, condition
from tests.node.models import manifest, multiplier, variant
from tests.node.unlike.nodes import GPU, NPU, ORIN, PAIR, RUNTIME_CLASS, VIR02, VIR02_1C

from rig.waiting import until

pytestmark = pytest.mark.node

FACTORS = {PAIR: 2, NPU: 3, ORIN: 5}
VARIANTS = {PAIR: ("turing", "t4"), NPU: ("davinci", "ascend-310p"), ORIN: ("tegra", "jetson-orin")}


@pytest.fixture(scope="module")
def served(edge: Edge, namespace: str) -> str:
    """A model with a variant for each family, Ready on all three nodes."""
    variants = []
    for node, (name, family) in VARIANTS.items():
        artifact = multiplier(FACTORS[node])
        variants.append(variant(name, [family], edge.models.add(artifact), artifact.sha256))
    edge.apply(namespace, manifest("served", variants, slice={"memory": "3Gi", "compute": 20}))
    edge.await_ready(namespace, "served")
    return "served"


@pytest.mark.parametrize("node", FACTORS)
def test_each_node_answers_with_its_own_variant(edge: Edge, namespace: str, served: str, node: str) -> None:
    assert edge.infer(edge.pod(namespace, served, node), served, 7) == 7 * FACTORS[node]
    assert at(edge.model(namespace, served), node)["variant"] == VARIANTS[node][0]


def test_each_node_shares_by_the_mechanism_that_it_has(edge: Edge, namespace: str, served: str) -> None:
    found = {each["node"]: each for each in edge.allocations(namespace).values()}
    assert {node: each["provider"] for node, each in found.items()} == {
        PAIR: "time-slicing",
        NPU: "vnpu",
        ORIN: "runtime",
    }
    # A share of one of the two T4s; the smallest partition that fits; of node memory exactly what was asked.
    assert {node: each["memory"] for node, each in found.items()} == {PAIR: "3840Mi", NPU: "6Gi", ORIN: "3136Mi"}
    resources = {node: tuple(each.get("resources", {})) for node, each in found.items()}
    assert resources[PAIR] == (GPU,)
    assert resources[NPU] in {(VIR02,), (VIR02_1C,)}
    assert resources[ORIN] == ()


def test_the_kubelets_handed_out_what_the_ledger_granted(edge: Edge, namespace: str, served: str) -> None:
    granted = edge.granted(namespace)
    assert len(granted) == 3
    assert edge.handed_out(namespace) == granted


def test_only_the_runtimes_device_is_asked_for_by_a_runtime_class(edge: Edge, namespace: str, served: str) -> None:
    pods = {node: edge.pod(namespace, served, node) for node in FACTORS}
    assert {node: pod.spec.runtime_class_name for node, pod in pods.items()} == {
        PAIR: None,
        NPU: None,
        ORIN: RUNTIME_CLASS,
    }
    seen = edge.exec(pods[ORIN], "printenv", "NVIDIA_VISIBLE_DEVICES").stdout.strip()
    assert seen == "all"
    ours = edge.exec(pods[NPU], "printenv", "ASCEND_VISIBLE_DEVICES").stdout.strip()
    assert ours == "emulated-0"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (PAIR, "2 x emulated-t4"),
        (NPU, "1 x emulated-310p"),
        (ORIN, "1 x emulated-orin"),
    ],
)
def test_what_was_concluded_of_each_node_stands_in_its_status(edge: Edge, served: str, node: str, words: str) -> None:
    found = edge.edge_node(node)
    known = condition(found, "CapacityKnown")
    assert (known["status"], known["reason"]) == ("True", "Declared" if node == ORIN else "Discovered"), known
    assert words in known["message"]


def test_the_units_in_use_are_the_kubelets_own_count(edge: Edge, served: str) -> None:
    total = edge.core.read_node(PAIR).status.allocatable[GPU]

    def figures() -> tuple[str, str]:
        held = [unit for each in edge.cluster.nodes[PAIR].allocated() if each.resource == GPU for unit in each.ids]
        return edge.edge_node(PAIR)["status"]["devices"][0]["units"], f"{len(held)}/{total}"

    # What an earlier test left may still be ending; both count it for as long.
    until(lambda: len(set(figures())) == 1, timeout=30, failure=lambda: AssertionError(figures()))
