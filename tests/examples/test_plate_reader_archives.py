"""The plate reader's archives: the same bytes always, as pinned, and laid out as one Triton model directory."""

import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from littoral.api.quantity import parse_quantity

SOURCE = Path(__file__).parents[2] / "examples/plate-reader/build.py"
SPEC = importlib.util.spec_from_file_location("plate_reader_build", SOURCE)
assert SPEC is not None
assert SPEC.loader is not None
build = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = build
SPEC.loader.exec_module(build)

Built = tuple[list[dict[str, Any]], Path]
FAKE_NETWORKS = {name: name.encode() for name in build.NETWORKS}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The archives as the pinned wheel gives them, and where they lie."""
    output = tmp_path_factory.mktemp("archives")
    try:
        return build.build(output, build.default_cache()), output
    except build.BuildError as error:
        pytest.skip(f"the wheel with the networks cannot be had here: {error}")


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def test_the_digests_are_the_pinned_ones(built: Built) -> None:
    archives, _ = built

    assert archives == json.loads(build.PINNED.read_text()), "run examples/plate-reader/build.py --update"


def test_what_is_announced_is_what_lies_there(built: Built) -> None:
    archives, output = built

    for archive in archives:
        assert (output / archive["file"]).stat().st_size == archive["size"]
    assert sorted(path.name for path in output.iterdir()) == sorted(archive["file"] for archive in archives)


@pytest.mark.parametrize("variant", build.VARIANTS)
def test_an_archive_depends_on_names_and_bytes_alone(variant: str) -> None:
    files = build.contents(variant, FAKE_NETWORKS)

    assert build.pack(files) == build.pack(dict(reversed(files.items())))
    assert build.pack(files) != build.pack({**files, "NOTICE": b"another"})


@pytest.mark.parametrize(
    ("variant", "networks"),
    [
        pytest.param("full", {"1/detection.onnx", "1/direction.onnx", "1/recognition.onnx"}, id="full"),
        pytest.param("compact", {"1/detection.onnx", "1/recognition.onnx"}, id="compact"),
    ],
)
def test_an_archive_holds_one_model_directory_with_its_licence(variant: str, networks: set[str]) -> None:
    found = set(names(build.pack(build.contents(variant, FAKE_NETWORKS))))

    assert {name for name in found if name.endswith(".onnx")} == networks
    assert {"config.pbtxt", "1/model.py", "LICENSE", "NOTICE"} <= found
    assert all(name.count("/") == name.startswith("1/") for name in found), "files at the root or in the version"


@pytest.mark.parametrize("variant", build.VARIANTS)
def test_the_config_leaves_the_name_to_whoever_serves_it(variant: str) -> None:
    config = build.contents(variant, FAKE_NETWORKS)["config.pbtxt"].decode()

    assert not [line for line in config.splitlines() if line.startswith("name:")]


def test_a_wheel_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    (tmp_path / build.WHEEL).write_bytes(b"not the pinned bytes")

    with pytest.raises(build.BuildError, match=build.WHEEL):
        build.build(tmp_path / "out", tmp_path)


def test_the_manifest_names_what_is_pinned_and_lets_it_in() -> None:
    manifest = yaml.safe_load((build.HERE / "model.yaml").read_text())
    sources = {variant["name"]: variant["source"] for variant in manifest["spec"]["variants"]}

    for archive in json.loads(build.PINNED.read_text()):
        source = sources.pop(archive["variant"])
        assert source["uri"].endswith("/" + archive["file"])
        assert source["sha256"] == archive["sha256"]
        assert parse_quantity(source["size"]) >= archive["size"]
    assert not sources, "variants without an archive"
