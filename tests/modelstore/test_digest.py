"""`littoral digest`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.modelstore.conftest import Origin, Resource, sha256

from littoral.cli.digest import digest

BODY = b"weights" * 1000


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(BODY)

    result = CliRunner().invoke(digest, [str(tmp_path / "m.onnx")])

    assert (result.exit_code, result.output) == (0, f"sha256:{sha256(BODY)}  7000\n")


def test_an_address_as_json(origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[100]))

    result = CliRunner().invoke(digest, [uri, "-o", "json"])

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "artifact": uri,
        "digest": f"sha256:{sha256(BODY)}",
        "sha256": sha256(BODY),
        "size": 7000,
    }


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    assert CliRunner().invoke(digest, [str(tmp_path / "empty")]).output == f"sha256:{sha256(b'')}  0\n"


@pytest.mark.parametrize(
    ("artifact", "status", "words"),
    [
        ("{tmp}/absent", 1, "cannot be read: No such file"),
        ("{tmp}", 2, "pack a folder first: tar -C"),
        ("{origin}/absent", 1, "answered 404"),
        ("s3://bucket/m", 2, "the scheme must be one of"),
        ("file:///import/m", 2, "a local file by its path"),
    ],
)
def test_what_has_no_digest(tmp_path: Path, origin: Origin, artifact: str, status: int, words: str) -> None:
    there = artifact.format(tmp=tmp_path, origin=f"http://127.0.0.1:{origin.server_port}")

    result = CliRunner().invoke(digest, [there])

    assert result.exit_code == status
    assert words in result.output
