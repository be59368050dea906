"""The manifests that the project's README shows, with the vendors' formats, are placed as it says."""

import json
import re
from pathlib import Path

import yaml
from click.testing import CliRunner
from tests.cli.manifests import t4

from littoral.cli.main import main

ROOT = Path(__file__).parents[2]


def test_the_readmes_model_takes_its_variant_on_each_machine(tmp_path: Path) -> None:
    """The EdgeNode is the README's own; the other pool that its model names is a T4 as its plugin describes one."""
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "readme.yaml").write_text("---\n".join(shown))
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(t4("rack-1", pool="mec-1")))
    result = CliRunner().invoke(main, ["plan", "-f", str(tmp_path), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    its = next(each for each in json.loads(result.stdout)["models"] if each["name"] == "plate")
    found = {each["node"]: (each["variant"], each["granted"]["provider"]) for each in its["replicas"]}
    assert found == {"press-4": ("orin", "time-slicing"), "rack-1": ("portable", "time-slicing")}
    formats = {each["name"]: each["format"] for each in yaml.safe_load(shown[1])["spec"]["variants"]}
    assert formats == {"orin": "tensorrt_plan", "portable": "onnx"}
