"""examples/fleet: what its README shows is what `littoral plan` prints, and what its text says is so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from littoral.cli.main import main

ROOT = Path(__file__).parents[2]
FLEET = Path("examples") / "fleet"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def fleet() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("plan", "-f", str(ROOT / FLEET), "--json").stdout)
    return document


def replicas(fleet: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return next(each["replicas"] for each in fleet["models"] if each["name"] == name)


def test_the_readme_shows_what_is_printed() -> None:
    """Where this fails, put the output of `littoral plan -f examples/fleet` there, if it is as it should be."""
    shown = re.search(r"\$ littoral plan -f examples/fleet\n(.*?)```", (FLEET / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    assert run("plan", "-f", str(FLEET)).stdout == shown[1]


def test_it_reads_at_100_columns() -> None:
    lines = run("plan", "-f", str(FLEET)).stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if line != line.rstrip()] == []


def test_every_machine_is_understood(fleet: dict[str, Any]) -> None:
    assert len(fleet["nodes"]) == 12
    assert [(each["name"], each["problems"], each["assumed"]) for each in fleet["nodes"]] == [
        (each["name"], [], "") for each in fleet["nodes"]
    ]


def test_every_mechanism_and_format_is_there(fleet: dict[str, Any]) -> None:
    providers = {replica["granted"]["provider"] for each in fleet["models"] for replica in each["replicas"]}
    assert providers == {"cpu", "runtime", "share-dev-count", "time-slicing", "vnpu", "whole"}
    formats = set(re.findall(r"format: (\w+)", (FLEET / "models.yaml").read_text()))
    assert formats == {"om", "onnx", "openvino", "tensorrt_plan"}


def test_models_are_where_the_readme_says(fleet: dict[str, Any]) -> None:
    assert [each["granted"]["isolation"] for each in replicas(fleet, "alarm")] == ["Hard"]
    assert {each["variant"]: each["granted"]["provider"] for each in replicas(fleet, "helmets")} == {
        "vnpu": "vnpu", "a2": "share-dev-count", "chip": "whole",
    }  # fmt: skip
    sites = {each["name"]: each["site"] for each in fleet["nodes"]}
    assert len({sites[each["node"]] for each in replicas(fleet, "ocr")}) == 4
    assert {(each["node"], each["stack"]) for each in replicas(fleet, "people")} == {("t4-2", "driver-535")}
    assert [each["slice"] for each in replicas(fleet, "reports")] == ["reports"]
    assert [each["object"] for each in fleet["waiting"]] == ["plant/vlm"]


@pytest.mark.parametrize("line", re.findall(r"^littoral (.*)$", (ROOT / FLEET / "README.md").read_text(), re.MULTILINE))
def test_the_commands_that_are_shown_work(line: str, tmp_path: Path) -> None:
    change = tmp_path / "my-change.yaml"
    text = (FLEET / "models.yaml").read_text()
    change.write_text(next(each for each in text.split("---\n") if "name: forecast" in each))
    words = line.partition(" #")[0].replace("my-change.yaml", str(change)).split()
    assert run(*words).exit_code in {0, 1}
