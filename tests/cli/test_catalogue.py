"""`littoral catalogue`: the table, a profile in full, what can be read again, and what is said of broken entries."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from littoral.accelerators.catalogue import Catalogue, extend, load
from littoral.cli.main import main

SITE = """
profiles:
- name: press-t4
  family: t4
  memory: 8Gi
  resources: [nvidia.com/gpu]
  sharing: [whole]
  stacks: [{image: triton, backends: {python: python}}]
"""
BROKEN = "profiles:\n- name: typo\n  family: t4\n  overhaed: 1Gi\n" + SITE.partition("profiles:\n")[2]
REFUSED = (
    "line 2: profile 'typo' is refused: sharing: Field required; stacks: Field required; overhaed: no such field\n"
)


def run(*words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["catalogue", *words], input=text)


def configmap(text: str) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "littoral-catalogue"}}
    return yaml.safe_dump_all([{"apiVersion": "v1", "kind": "Namespace"}, body | {"data": {"site.yaml": text}}])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    return file


def test_the_table_reads_at_100_columns_without_colour() -> None:
    result = run()
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in result.stdout
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[0] == "PROFILE                   MEMORY  TOPS              SHARED BY                   STACKS"
    for line in (
        "cpu                       -       -                 cpu                         default",
        "t4                        15Gi    130 int8          whole time-slicing mps      driver-470 -525 -535",
        "                                                    hami runtime                (-old) -580",
        "jetson-orin",
        "  jetson-orin-nx-16gb     16Gi*   100 int8 sparse   whole time-slicing runtime  (jetpack-7) (-5) -6",
        "ascend-310                8Gi     22 int8           whole                       (default)",
        "* in the module: device memory is the node's memory. Stacks in brackets have no Triton image.",
    ):
        assert line in lines


def test_every_profile_has_a_line() -> None:
    shown = {line.split()[0] for line in run().stdout.splitlines() if line.strip()}
    assert set(load().profiles) <= shown


def test_a_familys_name_lists_its_members() -> None:
    lines = run("jetson-orin-nano").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["jetson-orin-nano", "jetson-orin-nano-4gb"]
    assert "t4" not in " ".join(lines)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "jetson-agx-orin-64gb",
            [
                "  memory              64Gi in the module, the node's own",
                "  TOPS                275 int8 sparse: nvidia.com, table of Jetson Orin modules (third-party copy)",
                "  MAXN  275 int8 sparse, 12 CPUs",
                "  15W   TOPS not known, 4 CPUs",
                "Stack jetpack-5 (jetpack <6)",
                "  image                 none: NVIDIA publishes Triton in containers for JetPack 6 and later, for",
                "  argument              --metrics-config=summary_latencies=true (since 23.05)",
                "  mps   Jetson devices have no MPS: the device plugin's MPS daemon enumerates NVML devices only",
            ],
        ),
        (
            "ascend-310p",
            [
                "  memory           21Gi",
                "  Node label       node.kubernetes.io/npu.chip.name=310P3",
                "Partitions of 8 AI cores and 7 AI CPUs",
                "  template        cores  CPUs   memory  resource",
                "  vir04_3c            4     3  10763Mi  huawei.com/Ascend310P-4c.3cpu",
                "  format onnx       npu_ge (device_ids=0)",
                "  instances         of no kind",
                "  toleration        huawei.com/Ascend310P NoSchedule",
                "  RuntimeClass      ascend",
            ],
        ),
        (
            "t4",
            [
                "Stack driver-470 (driver >=470.57,<471)",
                "  brings                onnxruntime 1.21.0, tensorrt 10.9.0.34",
                "Stack driver-525 (driver >=525.85,<526)",
                "  as  stack driver-470",
            ],
        ),
    ],
)
def test_a_profile_in_full(name: str, lines: list[str]) -> None:
    result = run(name)
    shown = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(map(len, shown)) <= 100
    assert [line for line in lines if line not in shown] == []


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_what_is_printed_for_programs_reads_back_as_it_was(output: str) -> None:
    again, problems = extend(Catalogue({}), output, run("-o", output).stdout)
    assert problems == ()
    assert again.profiles == load().profiles


def test_one_profile_for_programs_is_a_text_of_its_own() -> None:
    assert [its["name"] for its in json.loads(run("t4", "-o", "json").stdout)["profiles"]] == ["t4"]


def test_a_file_adds_its_profiles(site: Path) -> None:
    result = run("-f", str(site), "t4", "-o", "json")
    assert result.exit_code == 0
    result = run("-f", str(site), "press-t4")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "press-t4")


def test_a_profile_of_a_file_stands_with_its_family(site: Path) -> None:
    lines = run("-f", str(site)).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["t4", "t4", "hami", "press-t4"]


def test_a_configmap_is_read_as_the_operator_reads_it() -> None:
    result = run("-f", "-", "press-t4", "-o", "yaml", text=configmap(SITE))
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["profiles"][0]["memory"] == "8Gi"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BROKEN, f"<stdin>, {REFUSED}"),
        (configmap(BROKEN), f"<stdin>, key site.yaml, {REFUSED}"),
        ("a: [", "<stdin>, line 1: the text is no YAML: expected the node content, but found '<stream end>'\n"),
        ("kind: Pod\n", "<stdin>, line 1: the text must be a mapping with a list `profiles`\n"),
    ],
)
def test_refused_entries_are_told_by_name_and_line_and_the_rest_goes_on(text: str, said: str) -> None:
    result = run("-f", "-", text=text)
    assert (result.exit_code, result.stderr) == (1, said)
    assert "t4" in result.stdout
    assert ("press-t4" in result.stdout) == ("press-t4" in text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("jetson-orin-nx",), "did you mean jetson-orin-nx-16gb or jetson-orin-nx-8gb?"),
        (("t44",), "did you mean t4?"),
        (("mi300x",), "no profile and no family is called 'mi300x': `littoral catalogue` lists those there are"),
        (("*",), "no profile and no family is called '*'"),
        (("-f", "nowhere.yaml"), "'nowhere.yaml': No such file or directory"),
        (("-o", "xml"), "'xml' is not one of 'table', 'yaml', 'json'"),
    ],
)
def test_what_names_nothing_is_bad_usage(words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_file_that_is_no_text_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    result = run("-f", str(tmp_path / "image.png"))
    assert result.exit_code == 2
    assert "the text is not UTF-8" in result.stderr


def test_the_schema_knows_every_field_and_the_short_forms() -> None:
    schema = json.loads(run("--schema").stdout)
    definitions = schema["$defs"]
    assert schema["properties"]["profiles"]["items"] == {"$ref": "#/$defs/Profile"}
    assert {"computeCapability", "powerModes", "unsupported"} <= definitions["Profile"]["properties"].keys()
    assert definitions["Profile"]["additionalProperties"] is False
    arguments = definitions["Stack"]["properties"]["arguments"]["items"]
    assert arguments == {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Argument"}]}
    (backend,) = definitions["Stack"]["properties"]["backends"]["patternProperties"].values()
    assert backend == {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Backend"}]}
