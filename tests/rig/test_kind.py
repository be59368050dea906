from pathlib import Path

import yaml

from rig import kind, paths
from rig.nodefiles import NodeSpec

NODES = (
    NodeSpec(
        "edge-a",
        labels={"nvidia.com/gpu.product": "Tesla-T4"},
        devices={"nvidia.com/gpu": 1},
        replicas={"nvidia.com/gpu": 4},
    ),
    NodeSpec("edge-b", devices={"nvidia.com/gpu": 1, "huawei.com/Ascend310P": 2}),
    NodeSpec("edge-c"),
)


def test_a_worker_for_each_node_with_its_labels() -> None:
    nodes = yaml.safe_load(kind.configuration(NODES))["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker", "worker"]
    assert nodes[1]["labels"]["nvidia.com/gpu.product"] == "Tesla-T4"
    assert kind.LABEL_DEVICES not in nodes[3]["labels"]
    assert kind.worker_names(3) == ["littoral-worker", "littoral-worker2", "littoral-worker3"]


def test_each_set_of_devices_has_a_daemonset_on_its_nodes_and_only_there() -> None:
    labels = [node["labels"].get(kind.LABEL_DEVICES) for node in yaml.safe_load(kind.configuration(NODES))["nodes"][1:]]
    manifests = kind.device_plugin_manifests(NODES)
    selected = {item["metadata"]["name"]: item["spec"]["template"]["spec"]["nodeSelector"] for item in manifests}
    assert sorted(selected) == sorted(label for label in labels if label)
    for name, selector in selected.items():
        assert selector == {kind.LABEL_DEVICES: name}
        assert len(name) <= 63
    advertised = [item["spec"]["template"]["spec"]["containers"][0]["args"] for item in manifests]
    assert advertised == [["huawei.com/Ascend310P=2x1", "nvidia.com/gpu=1x1"], ["nvidia.com/gpu=1x4"]]


def test_images_are_built_before_the_cluster_and_loaded_before_anything_is_applied() -> None:
    commands = [step.argv for step in kind.steps(NODES, Path("/k"), paths.REPOSITORY)]
    verbs = [" ".join(argv[:2]) if argv[0] != "kubectl" else argv[2] for argv in commands]
    assert verbs == [*["docker build"] * 3, "kind create", *["kind load"] * 3, "apply"]
    built = [argv[argv.index("--tag") + 1] for argv in commands if argv[0] == "docker"]
    loaded = [argv[3] for argv in commands if argv[:2] == ("kind", "load")]
    assert built == loaded


def test_every_image_has_its_dockerfile_in_the_repository() -> None:
    for folder, context in kind.dev_images(paths.REPOSITORY).values():
        assert (folder / "Dockerfile").is_file()
        assert context.is_dir()
