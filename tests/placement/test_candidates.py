"""The nodes that are worth preparing for a model, whatever is free there."""

from typing import Any

from tests.placement.world import apply, edge, model, node, t4, world

from littoral.api.inferencemodel import InferenceModel
from littoral.api.workload import Taint
from littoral.placement.candidates import candidates
from littoral.placement.plan import plan
from littoral.placement.snapshot import Snapshot

TWO = [
    {"name": "gpu", "accelerators": ["t4"], "format": "python"},
    {"name": "cores", "accelerators": ["cpu"], "format": "python"},
]


def found(snapshot: Snapshot, wanted: InferenceModel, **narrowed: Any) -> tuple[dict[str, tuple[str, str]], Any]:
    targets, refused = candidates(snapshot, wanted, **narrowed)
    return {each.node: (each.variant, each.platform.profile.name) for each in targets}, refused


def test_each_takes_the_first_variant_that_one_of_its_devices_serves() -> None:
    wanted = model("m", variants=TWO)
    targets, refused = found(world([t4("a"), node("b")], [wanted]), wanted)
    assert targets == {"a": ("gpu", "emulated-t4"), "b": ("cores", "cpu")}
    assert refused == {}


def test_a_node_that_is_full_now_is_one_of_them() -> None:
    full = model("full", memory="3900Mi", accelerators=["t4"])
    snapshot = world([t4("a", shares=1)], [full])
    snapshot = apply(snapshot, plan(snapshot))
    wanted = model("m", memory="3900Mi", accelerators=["t4"])
    targets, _ = found(snapshot, wanted)
    assert set(targets) == {"a"}


def test_the_others_say_why_not() -> None:
    nodes = [
        t4("cordoned", unschedulable=True),
        t4("offline", ready="Unknown"),
        t4("pooled", labels={"littoral.dev/pool": "line3"}),
        t4("tainted", taints=(Taint("plant", "NoSchedule", "b"),)),
        node("plain"),
    ]
    wanted = model("m", accelerators=["t4"], pools=["t4"])
    edges = [edge("plain", pool="t4")]
    targets, refused = found(world(nodes, [wanted], edges=edges), wanted)
    assert targets == {}
    assert {name: refusal.message for name, refusal in refused.items()} == {
        "cordoned": "cordoned",
        "offline": "offline",
        "plain": "without a variant for cpu",
        "pooled": "in other pools",
        "tainted": "with the taint plant=b:NoSchedule",
    }


def test_pools_and_nodes_narrow_it_and_what_is_left_out_is_not_refused() -> None:
    nodes = [t4(name, labels={"littoral.dev/pool": f"line{name}"}) for name in "abc"]
    wanted = model("m", accelerators=["t4"])
    snapshot = world(nodes, [wanted])
    assert [set(each) for each in found(snapshot, wanted, pools=["linea", "linec"])] == [{"a", "c"}, set()]
    assert [set(each) for each in found(snapshot, wanted, nodes=["b"])] == [{"b"}, set()]
