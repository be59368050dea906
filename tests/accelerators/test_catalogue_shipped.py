"""What is shipped, by tables: which Triton runs on which machine, what each device can be shared by, and why not."""

import re

import pytest

from littoral.accelerators.catalogue import load
from littoral.accelerators.discovery import discover
from littoral.accelerators.profile import Profile, Stack
from littoral.api.edgenode import EdgeNodeSpec
from littoral.api.workload import NodeFacts
from littoral.slicing.registry import PROVIDERS

PROFILES = list(load().profiles.values())
NAMES = [profile.name for profile in PROFILES]
BOARDS = ["atlas-200i-dk-a2", "atlas-200i-a2-20t", "atlas-200i-a2-8t", "atlas-500-a2"]


def profile(name: str) -> Profile:
    found = load().get(name)
    assert found is not None
    return found


def test_names_and_families() -> None:
    families: dict[str, list[str]] = {}
    for each in PROFILES:
        families.setdefault(each.family, []).append(each.name)
    assert families == {
        "cpu": ["cpu"],
        "t4": ["t4"],
        "l4": ["l4"],
        "a2": ["a2"],
        "a30": ["a30"],
        "jetson-nano": ["jetson-nano"],
        "jetson-xavier-nx": ["jetson-xavier-nx-8gb", "jetson-xavier-nx-16gb"],
        "jetson-xavier": ["jetson-agx-xavier-32gb", "jetson-agx-xavier-64gb"],
        "jetson-orin-nano": ["jetson-orin-nano-4gb", "jetson-orin-nano-8gb"],
        "jetson-orin": [
            "jetson-orin-nx-8gb",
            "jetson-orin-nx-16gb",
            "jetson-agx-orin-32gb",
            "jetson-agx-orin-64gb",
        ],
        "ascend-310": ["ascend-310"],
        "ascend-310p": ["ascend-310p", "ascend-310p-48gb", "ascend-310p-duo", "ascend-310p-duo-48gb"],
        "ascend-310b": BOARDS,
        "ascend-910": ["ascend-910a"],
        "ascend-910b": ["ascend-910b2", "ascend-910b3", "ascend-910b4"],
        "sophgo": ["bm1684"],
    }


TRITON: list[tuple[str, dict[str, str], str, str]] = [
    # profile, what is installed, the stack's name, the image's end or what its reason says
    ("cpu", {}, "", "tritonserver:26.07-py3"),
    ("t4", {}, "driver-580", "tritonserver:26.07-py3"),
    ("t4", {"driver": "580.82.07"}, "driver-580", "tritonserver:26.07-py3"),
    ("t4", {"driver": "535.129.03"}, "driver-535", "tritonserver:25.03-py3"),
    ("t4", {"driver": "575.51.03"}, "driver-535", "tritonserver:25.03-py3"),
    ("t4", {"driver": "525.85.12"}, "driver-525", "tritonserver:25.03-py3"),
    ("t4", {"driver": "470.57.02"}, "driver-470", "tritonserver:25.03-py3"),
    ("t4", {"driver": "470.42.01"}, "driver-old", "update the driver"),
    ("t4", {"driver": "510.47.03"}, "driver-old", "update the driver"),
    ("l4", {"driver": "535.129.03"}, "driver-535", "tritonserver:25.03-py3"),
    ("jetson-orin-nx-16gb", {}, "jetpack-6", "tritonserver:25.08-py3-igpu"),
    ("jetson-orin-nx-16gb", {"jetpack": "6.0"}, "jetpack-6", "tritonserver:25.08-py3-igpu"),
    ("jetson-orin-nx-16gb", {"jetpack": "6.2.1"}, "jetpack-6", "tritonserver:25.08-py3-igpu"),
    ("jetson-orin-nx-16gb", {"jetpack": "5.1.2"}, "jetpack-5", "for JetPack 5 and older only as an archive"),
    ("jetson-orin-nx-16gb", {"jetpack": "7.2"}, "jetpack-7", "JetPack 7 needs CUDA 13"),
    ("jetson-orin-nano-8gb", {"jetpack": "6.1"}, "jetpack-6", "tritonserver:25.08-py3-igpu"),
    ("jetson-agx-orin-64gb", {"jetpack": "5.1"}, "jetpack-5", "for JetPack 5 and older only as an archive"),
    ("jetson-xavier-nx-8gb", {"jetpack": "5.1"}, "", "for JetPack 5 and older only as an archive"),
    ("jetson-nano", {}, "", "for JetPack 5 and older only as an archive"),
    ("ascend-310p", {}, "", "triton-inference-server-ge-backend:8.3.rc1-310p"),
    ("ascend-910b4", {}, "", "triton-inference-server-ge-backend:8.3.rc1-910b"),
    ("ascend-310", {}, "", "npu_ge for the 310P and the 910B alone"),
    *((board, {}, "", "npu_ge for the 310P and the 910B alone") for board in BOARDS),
    ("ascend-910a", {}, "", "npu_ge for the 310P and the 910B alone"),
    ("bm1684", {}, "", "Triton has no backend for Sophgo's TPUs"),
]


@pytest.mark.parametrize(("name", "installed", "stack", "words"), TRITON)
def test_the_machines_software_decides_the_triton(name: str, installed: dict[str, str], stack: str, words: str) -> None:
    its = profile(name).platform(installed).stack
    assert its.name == stack
    if its.image is None:
        assert words in its.image_reason
    else:
        assert its.image.endswith(words)


def test_every_profile_is_in_that_table_or_has_the_stacks_of_one_that_is() -> None:
    shown = [profile(name).stacks for name, *_ in TRITON]
    assert [each.name for each in PROFILES if each.stacks not in shown] == []


def test_what_an_image_brings_is_known_with_what_is_installed() -> None:
    on_535 = profile("t4").platform({"driver": "535.129.03"})
    assert dict(on_535.versions) == {"driver": "535.129.03", "tensorrt": "10.9.0.34", "onnxruntime": "1.21.0"}


def stacks() -> list[tuple[str, Stack]]:
    return [(f"{each.name}/{stack.name}", stack) for each in PROFILES for stack in each.stacks]


@pytest.mark.parametrize(("name", "stack"), stacks(), ids=lambda value: value if isinstance(value, str) else "")
def test_arguments_that_came_late_are_marked_and_the_tritons_release_is_known_where_it_is_published(
    name: str, stack: Stack
) -> None:
    since = {argument.text.partition("=")[0]: argument.since for argument in stack.arguments}
    # v2.34.0, the first tag of triton-inference-server/server that knows it, is release 23.05.
    assert since.get("--metrics-config", "23.05") == "23.05"
    assert {text for text, release in since.items() if release} <= {"--metrics-config"}
    tag = re.search(r"/tritonserver:([0-9.]+)-", stack.image or "")
    assert stack.triton == (tag[1] if tag else "")


def test_npu_ge_whose_triton_is_of_unknown_release_gets_no_argument_that_came_late() -> None:
    for name in ("ascend-310p", "ascend-310", "ascend-910b3", *BOARDS):
        (stack,) = profile(name).stacks
        assert (stack.triton, [argument.since for argument in stack.arguments]) == ("", [None])


def test_every_stack_has_a_backend_also_for_images_that_users_build() -> None:
    assert [name for name, stack in stacks() if not stack.backends] == []


def test_npu_ge_is_told_its_device_and_takes_no_instance_kind() -> None:
    (stack,) = profile("ascend-310p").stacks
    onnx = stack.backends["onnx"]
    assert (onnx.name, dict(onnx.parameters), onnx.image_reason) == ("npu_ge", {"device_ids": "0"}, "")
    assert stack.instance_kind == "KIND_AUTO"  # config.pbtxt then names none


def test_an_om_needs_an_image_that_its_user_builds() -> None:
    (stack,) = profile("ascend-310p").stacks
    assert stack.backends["om"].image_reason == (
        "no published Triton image has a backend for .om models: build one whose backend om (libtriton_om.so) runs them"
    )


@pytest.mark.parametrize(("name", "stack"), stacks(), ids=lambda value: value if isinstance(value, str) else "")
def test_pods_run_as_uid_1000(name: str, stack: Stack) -> None:
    assert stack.security_context["runAsUser"] == 1000
    assert ("supplementalGroups" in stack.security_context) == name.startswith("jetson")


@pytest.mark.parametrize("each", PROFILES, ids=NAMES)
def test_every_figure_names_its_source(each: Profile) -> None:
    figures = [*each.tops, *(figure for mode in each.power_modes for figure in mode.tops)]
    assert all(re.search(r"\.com|\.de|data sheet|sophon-demo", figure.source) for figure in figures)


def test_devices_without_a_published_figure_have_none() -> None:
    silent = {each.name for each in PROFILES if not each.tops}
    assert silent == {"cpu", "a30", "ascend-910b2", "ascend-910b3", "ascend-910b4"}


@pytest.mark.parametrize(
    ("name", "mode", "tops", "cpus"),
    [
        ("jetson-agx-orin-64gb", "MAXN", (275,), 12),
        ("jetson-agx-orin-64gb", "30W", (), 8),
        ("jetson-agx-orin-64gb", "15W", (), 4),
        ("jetson-orin-nx-16gb", "25W", (100,), None),
        ("jetson-orin-nx-16gb", "MAXN_SUPER", (157,), None),
        ("jetson-orin-nx-16gb", "40W", (), None),
        ("jetson-orin-nano-8gb", "25W", (), None),
        ("jetson-orin-nano-8gb", "MAXN_SUPER", (67,), None),
        ("jetson-xavier-nx-8gb", "MODE_10W_DESKTOP", (), 4),
        ("jetson-nano", "5W", (), 2),
        ("atlas-200i-a2-20t", "16T", (16,), None),
        ("atlas-200i-a2-20t", "8T-1.0GHz", (8,), None),
        ("atlas-200i-a2-8t", "4T", (4,), None),
    ],
)
def test_power_modes_say_what_a_source_states(name: str, mode: str, tops: tuple[float, ...], cpus: int | None) -> None:
    its = profile(name).power_mode(mode)
    assert its is not None
    assert (tuple(figure.value for figure in its.tops), its.cpus) == (tops, cpus)


@pytest.mark.parametrize("each", PROFILES, ids=NAMES)
def test_there_is_a_provider_for_every_mechanism_that_is_listed(each: Profile) -> None:
    assert [mechanism for mechanism in each.sharing if mechanism not in PROVIDERS] == []


JETSONS = [name for name in NAMES if name.startswith("jetson")]
NOT_ON_JETSON = {
    "mps": "the device plugin's MPS daemon enumerates NVML devices only (NVIDIA/k8s-device-plugin#1412)",
    "hami": "it looks for devices through NVML and sees none there (Project-HAMi/HAMi#979)",
}
MINDCLUSTER = "MindCluster's list has the 310P and the 910, not"


@pytest.mark.parametrize(
    ("names", "mechanism", "sentence"),
    [
        (JETSONS, "mps", f"Jetson devices have no MPS: {NOT_ON_JETSON['mps']}"),
        (JETSONS, "hami", f"Jetson devices have no HAMi: {NOT_ON_JETSON['hami']}"),
        (JETSONS, "mig", "Jetson modules up to Orin have no MIG"),
        (["t4", "l4", "a2"], "mig", "This card has no MIG; it is shared by time-slicing, MPS or HAMi"),
        (
            ["a30"],
            "mig",
            "An A30 can be cut by MIG, but there is no provider for it yet: it is shared by time-slicing, MPS or HAMi",
        ),
        (
            ["ascend-310"],
            "vnpu",
            f"The Ascend 310 cannot be split into vNPUs: {MINDCLUSTER} Atlas 200, 300 and 500",
        ),
        (BOARDS, "vnpu", f"The Ascend 310B cannot be split into vNPUs: {MINDCLUSTER} Atlas 200I A2 and 500 A2"),
        (
            ["ascend-310p-duo", "ascend-310p-duo-48gb"],
            "share-dev-count",
            "shareDevCount is for Atlas 300I Pro, 300V and 300V Pro among the cards with a 310P, not for the Duo",
        ),
    ],
)
def test_what_the_hardware_cannot_do_has_its_reason(names: list[str], mechanism: str, sentence: str) -> None:
    assert {profile(name).unsupported.get(mechanism) for name in names} == {sentence}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("resource", "chip", "concluded"),
    [
        ("Ascend910", "910A", "ascend-910a"),
        ("Ascend910", "910B2", "ascend-910b2"),
        ("Ascend910", "910B4", "ascend-910b4"),
        ("Ascend910", "910B4-1", ""),  # twice the memory of the 910B4
        ("Ascend910", "Ascend910", ""),  # a 910C
        ("Ascend310P", "310P3", "ascend-310p"),
        ("Ascend310P", "310P1", ""),  # Atlas 200I SoC A1
        ("Ascend310", "310", "ascend-310"),
        ("Ascend310", "310B4", ""),  # which board it is no label tells
    ],
)
def test_an_ascend_is_known_by_the_name_of_its_chip_and_an_unknown_one_for_no_other(
    resource: str, chip: str, concluded: str
) -> None:
    name = f"huawei.com/{resource}"
    node = NodeFacts("n", labels={"node.kubernetes.io/npu.chip.name": chip}, memory=8192, resources={name: 1})
    found = discover(node, EdgeNodeSpec(), load())
    assert [device.profile.name for device in found.devices] == [*filter(None, [concluded]), "cpu"]
    assert found.findings[0].reason == ("Discovered" if concluded else "AmbiguousDevice")


TEMPLATES = {
    # cores, AI CPUs, the part of the chip's memory, the resource's suffix
    "vir01": (1, 1, 8, "1c"),
    "vir02": (2, 2, 4, "2c"),
    "vir02_1c": (2, 1, 4, "2c.1cpu"),
    "vir04": (4, 4, 2, "4c"),
    "vir04_3c": (4, 3, 2, "4c.3cpu"),
    "vir04_3c_ndvpp": (4, 3, 2, "4c.3cpu.ndvpp"),
    "vir04_4c_dvpp": (4, 4, 2, "4c.4cpu.dvpp"),
}


@pytest.mark.parametrize("name", ["ascend-310p", "ascend-310p-48gb", "ascend-310p-duo", "ascend-310p-duo-48gb"])
def test_a_310p_is_split_in_parts_of_what_its_driver_reports(name: str) -> None:
    its = profile(name)
    assert its.partitions is not None
    assert its.memory_mib is not None
    assert (its.partitions.cores, its.partitions.cpus) == (8, 7)
    found = {
        each.name: (each.cores, each.cpus, its.memory_mib // each.memory_mib, each.resource)
        for each in its.partitions.templates
    }
    assert found == {
        template: (cores, cpus, part, f"huawei.com/Ascend310P-{suffix}")
        for template, (cores, cpus, part, suffix) in TEMPLATES.items()
    }
