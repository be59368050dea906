import json

import yaml

from rig import kwok


def test_no_two_fake_nodes_share_a_name_or_an_address() -> None:
    nodes = [kwok.fake_node(f"fake-{number}", number, {}, {}) for number in range(1000)]
    assert len({node["status"]["addresses"][0]["address"] for node in nodes}) == 1000


def test_a_fake_node_offers_its_devices() -> None:
    node = kwok.fake_node("fake-0", 0, {"littoral.dev/pool": "a"}, {"nvidia.com/gpu": 4})
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert node["status"]["capacity"] == node["status"]["allocatable"]
    assert node["metadata"]["labels"]["littoral.dev/pool"] == "a"
    json.dumps(node)


def test_a_node_of_somebodys_is_played_as_it_is() -> None:
    status = {"allocatable": {"cpu": "8"}, "nodeInfo": {"architecture": "arm64"}}
    node = {"kind": "Node", "metadata": {"name": "a", "annotations": {"its": "own"}}, "status": status}
    played = kwok.played(node)
    assert played["metadata"]["annotations"] == {"its": "own", kwok.ANNOTATION: "fake"}
    assert played["status"]["allocatable"] == {"cpu": "8"}
    assert played["status"]["nodeInfo"]["architecture"] == "arm64"
    assert played["status"]["nodeInfo"]["kernelVersion"] == "kwok"


def test_the_stages_cover_nodes_and_pods_from_start_to_end() -> None:
    stages = list(yaml.safe_load_all(kwok.STAGES.read_text(encoding="utf-8")))
    assert [stage["metadata"]["name"] for stage in stages] == [
        "node-initialize",
        "pod-ready",
        "pod-complete",
        "pod-delete",
    ]
    assert all(stage["kind"] == "Stage" for stage in stages)
