"""`littoral digest`."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.modelstore.conftest import Origin, Resource, sha256, tar
from tests.modelstore.receiving import FILES
from tests.modelstore.registries import REPOSITORY, Repository, layer, manifest
from tests.modelstore.servers import Objects, serving

from littoral.cli.digest import digest
from littoral.modelstore import listing

BODY = b"weights" * 1000


def run(*arguments: str) -> Result:
    return CliRunner().invoke(digest, list(arguments))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, content in FILES.items():
        (tmp_path / "plate" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plate" / path).write_bytes(content)
    return tmp_path / "plate"


@pytest.mark.parametrize("body", [BODY, tar({"1/m": BODY}), b""], ids=["file", "archive", "empty"])
def test_a_file(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "m").write_bytes(body)

    result = run(str(tmp_path / "m"))

    assert (result.exit_code, result.output) == (0, f"sha256:{sha256(body)}  {len(body)}\n")


def test_an_address_as_json(origin: Origin) -> None:
    uri = origin.put("/m", Resource(BODY, cuts=[100]))

    result = run(uri, "-o", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "artifact": uri,
        "digest": f"sha256:{sha256(BODY)}",
        "sha256": sha256(BODY),
        "size": 7000,
    }


def test_a_folder_has_the_digest_of_its_listing(folder: Path) -> None:
    result = run(str(folder))

    kept = listing.of(folder)
    assert (result.exit_code, result.output) == (0, f"sha256:{kept.digest()}  {kept.size()}\n")


def test_a_prefix_has_the_digest_of_the_same_folder(folder: Path, tmp_path: Path) -> None:
    keys, settings = tmp_path / "keys", tmp_path / "settings"
    for where, texts in {keys: {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, settings: {}}.items():
        where.mkdir()
        for key, text in texts.items():
            (where / key).write_text(text)

    with serving(Objects({f"plate/7/{path}": content for path, content in FILES.items()})) as web:
        (settings / "AWS_ENDPOINT_URL").write_text(web.url)
        result = run("s3://models/plate/7/", "--secret", str(keys), "--settings", str(settings))

    kept = listing.of(folder)
    assert (result.exit_code, result.stdout) == (0, f"sha256:{kept.digest()}  {kept.size()}\n")
    assert all("Credential=k/" in request.headers["authorization"] for request in web.seen)


def test_credentials_of_clouds_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Objects({"m": BODY})) as web:
        given = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": web.url}
        for key, value in given.items():
            monkeypatch.setenv(key, value)
        result = run("s3://models/m")

    assert (result.exit_code, result.stdout) == (0, f"sha256:{sha256(BODY)}  7000\n")
    assert all("Credential=k/" in request.headers["authorization"] for request in web.seen)


@pytest.mark.parametrize("named", [":7", "@{digest}"])
def test_an_artifact_of_a_registry_is_checked_and_named(named: str) -> None:
    repository = Repository()
    repository.push(BODY)
    there = repository.tag(manifest(layer(BODY, title="m")), "7")

    with serving(repository) as web:
        base = f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}"
        text = run(f"{base}{named.format(digest=there)}")
        as_json = run(f"{base}{named.format(digest=there)}", "-o", "json")

    assert (text.exit_code, text.stdout) == (0, f"{there}  7000\n{base}@{there}\n")
    assert json.loads(as_json.stdout) == {
        "artifact": f"{base}{named.format(digest=there)}",
        "digest": there,
        "sha256": there.removeprefix("sha256:"),
        "size": 7000,
        "uri": f"{base}@{there}",
    }


def test_a_blob_that_is_not_what_the_manifest_says_is_found() -> None:
    repository = Repository()
    there = repository.tag(manifest(layer(BODY, title="m")), "7")
    repository.blobs[f"sha256:{sha256(BODY)}"] = BODY[:-1] + b"x"

    with serving(repository) as web:
        result = run(f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}@{there}")

    assert result.exit_code == 1
    assert f"a blob that the manifest says has sha256 {sha256(BODY)} has {sha256(BODY[:-1] + b'x')}" in result.output


def test_a_registry_is_told_what_docker_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = Repository(wants="bearer")
    repository.push(BODY)
    repository.tag(manifest(layer(BODY, title="m")), "latest")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    with serving(repository) as web:
        uri = f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}"
        (tmp_path / "config.json").write_text(
            json.dumps({"auths": {f"127.0.0.1:{web.server_port}": {"username": "reader", "password": "secret"}}})
        )
        known = run(uri)
        (tmp_path / "config.json").unlink()
        unknown = run(uri)

    assert known.exit_code == 0
    assert (unknown.exit_code, "answered 401" in unknown.output) == (1, True)


@pytest.mark.parametrize(
    ("artifact", "status", "words"),
    [
        ("{tmp}/absent", 1, "cannot be read: No such file"),
        ("{tmp}/empty", 2, "holds no file"),
        ("{tmp}/pipe", 2, "is neither a file nor a folder"),
        ("{origin}/absent", 1, "answered 404"),
        ("ftp://host/m", 2, "the scheme must be one of"),
        ("oci://host/Models", 2, "is not oci://HOST"),
        ("file:///import/m", 2, "a local file or folder by its path"),
    ],
)
def test_what_has_no_digest(tmp_path: Path, origin: Origin, artifact: str, status: int, words: str) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    there = artifact.format(tmp=tmp_path, origin=f"http://127.0.0.1:{origin.server_port}")

    result = run(there)

    assert result.exit_code == status
    assert words in result.output


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (lambda folder: (folder / "link").symlink_to("config.pbtxt"), "link is neither a file nor a folder"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe is neither a file nor a folder"),
        (lambda folder: (folder / "a\nb").touch(), "control characters"),
    ],
)
def test_a_folder_that_no_source_can_hand_out_has_no_digest(
    folder: Path, add: Callable[[Path], object], words: str
) -> None:
    add(folder)

    result = run(str(folder))

    assert result.exit_code == 2
    assert words in result.output
