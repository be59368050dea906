import json
from pathlib import Path

import pytest

from rig import fetchbench, fetchsources
from rig.progress import silent

pytestmark = pytest.mark.contract


def test_the_bench_of_fetching_measures_every_kind_of_server(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    fetchbench.run(1, 2, fetchsources.KINDS, figures, silent)
    cases = json.loads(figures.read_text())
    assert [case["name"] for case in cases] == [
        f"{kind}, {form}" for kind in ("http", "s3", "oci") for form in ("onnx", "tar", "tar.zst")
    ]
    for case in cases:
        assert case["size"] > 800_000
        for runs in (case["curl"], case["fetch"]):
            assert [len(runs[key]) for key in ("seconds", "cpu", "peak")] == [2, 2, 2]
