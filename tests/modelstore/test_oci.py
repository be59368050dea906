"""Artifacts of registries: what becomes of their layers, who is told of credentials, and what is refused."""

import base64
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.modelstore.conftest import Namespace, onnx, special, tar
from tests.modelstore.receiving import COMPRESSED, FILE, FILES, Counted, fails, files_in, received
from tests.modelstore.registries import MANIFEST, REPOSITORY, Repository, digest, layer, manifest
from tests.modelstore.servers import Answer, Authority, Request, Web, serving

from littoral.modelstore import listing
from littoral.modelstore.access import NO_ACCESS, Access
from littoral.modelstore.errors import (
    ArchiveUnsafe,
    DigestMismatch,
    FetchError,
    SourceForbidden,
    SourceUnreachable,
    TooLarge,
    UnsupportedSource,
)
from littoral.modelstore.sources import Collection, SourceChanged, source_for
from littoral.modelstore.sources.oci import OciArtifact
from littoral.modelstore.sources.registry import reference, resolve
from littoral.modelstore.unpack import HEAD

READER = Access(secret={"username": "reader", "password": "secret"})
WEIGHT = "application/vnd.cncf.model.weight.v1"


def artifact(web: Web, named: str, access: Access = NO_ACCESS) -> Collection:
    origin = source_for(f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}@{named}", Path(), access)
    assert isinstance(origin, Collection)
    return origin


def asked(web: Web, part: str) -> list[Request]:
    return [request for request in web.seen if part in request.path]


def plain(repository: Repository) -> str:
    """Push one file; return the digest of its manifest."""
    repository.push(FILE)
    return repository.tag(manifest(layer(FILE, title="1/model.onnx")))


def test_an_oras_artifact_of_files_and_folders(tmp_path: Path) -> None:
    repository = Repository()
    folder = COMPRESSED["tar.gz"](tar({"1": special(tarfile.DIRTYPE), "1/a": FILE, "1/b": b"b"}))
    repository.push(folder, b"config", b"nested", b"{}")
    named = repository.tag(
        manifest(
            layer(b"config", title="config.pbtxt"),
            layer(b"nested", title="labels/plate.txt"),
            layer(folder, "application/vnd.oci.image.layer.v1.tar+gzip", title="1", unpack="true"),
            layer(b"{}", "application/vnd.oci.empty.v1+json"),
        )
    )

    with serving(repository) as web:
        came = received(artifact(web, named), tmp_path / "content", promised=named.removeprefix("sha256:"))

    files = {"1/a": FILE, "1/b": b"b", "config.pbtxt": b"config", "labels/plate.txt": b"nested"}
    assert files_in(tmp_path / "content") == files
    assert came.digest == named.removeprefix("sha256:")
    assert came.size == len(folder) + len(b"confignested")
    assert came.listing == listing.of(tmp_path / "content")


@pytest.mark.parametrize("kind", sorted(COMPRESSED))
def test_a_modelpack_artifact_of_archives(tmp_path: Path, kind: str) -> None:
    repository, body = Repository(), COMPRESSED[kind](tar(FILES))
    media = f"{WEIGHT}.tar" + {"tar": "", "tar.gz": "+gzip", "tar.zst": "+zstd"}[kind]
    repository.push(body)
    named = repository.tag(manifest(layer(body, media, filepath="1/model.onnx"), artifactType=MANIFEST))

    with serving(repository) as web:
        received(artifact(web, named), tmp_path / "content")

    assert files_in(tmp_path / "content") == FILES


def test_a_modelpack_artifact_of_raw_files(tmp_path: Path) -> None:
    repository = Repository()
    repository.push(FILE, b"config")
    layers = (
        layer(FILE, f"{WEIGHT}.raw", filepath="1/model.onnx"),
        layer(b"config", "application/vnd.cncf.model.weight.config.v1.raw", filepath="config.pbtxt"),
    )
    named = repository.tag(manifest(*layers))

    with serving(repository) as web:
        received(artifact(web, named), tmp_path / "content")

    assert files_in(tmp_path / "content") == {"1/model.onnx": FILE, "config.pbtxt": b"config"}


@pytest.mark.parametrize(
    ("title", "body"),
    [("model.onnx", FILE), ("plate.tar.gz", COMPRESSED["tar.gz"](tar(FILES)))],
    ids=["file", "tar.gz"],
)
def test_an_artifact_of_one_file_is_that_file(tmp_path: Path, title: str, body: bytes) -> None:
    """What `oras push REFERENCE model.onnx` makes."""
    repository = Repository(cuts=[100])
    repository.push(body)
    named = repository.tag(manifest(layer(body, title=title)))

    with serving(repository) as web:
        came = received(artifact(web, named), tmp_path / "content", promised=named.removeprefix("sha256:"))

    if body is FILE:
        assert (tmp_path / "content").read_bytes() == FILE
    else:
        assert files_in(tmp_path / "content") == FILES
    assert (came.digest, came.size) == (named.removeprefix("sha256:"), len(body))
    assert came.listing == listing.of(tmp_path / "content")


@pytest.mark.parametrize("kept", [100, 5000])
def test_an_artifact_of_one_file_is_gone_on_with_by_another_process(tmp_path: Path, kept: int) -> None:
    repository = Repository()
    repository.push(FILE)
    named = repository.tag(manifest(layer(FILE, title="model.onnx")))
    (tmp_path / "content").write_bytes(FILE[:kept])

    with serving(repository) as web:
        came = received(artifact(web, named), tmp_path / "content", promised=named.removeprefix("sha256:"), part=kept)

    assert (tmp_path / "content").read_bytes() == FILE
    assert came.digest == named.removeprefix("sha256:")
    assert [request.headers.get("range") for request in asked(web, "blobs")] == [
        f"bytes={kept}-" if kept >= HEAD else None
    ]


def test_a_part_that_has_rotted_is_begun_anew_before_the_registry_is_blamed(tmp_path: Path) -> None:
    repository = Repository()
    repository.push(FILE)
    named = repository.tag(manifest(layer(FILE, title="model.onnx")))
    (tmp_path / "content").write_bytes(b"x" * 5000)

    with serving(repository) as web, pytest.raises(SourceChanged):
        received(artifact(web, named), tmp_path / "content", part=5000)


def test_a_model_pushed_as_one_file_is_served(namespace: Namespace) -> None:
    repository = Repository(wants="bearer", user="")
    repository.push(FILE)
    named = repository.tag(manifest(layer(FILE, title="model.onnx")))

    with serving(repository) as web:
        uri = f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}@{named}"
        report = namespace.fetch(onnx(uri, FILE, sha256=named.removeprefix("sha256:")))

    assert report.ok, report
    assert (namespace.repository / "plate" / "1" / "model.onnx").read_bytes() == FILE
    assert namespace.entries() == [named.removeprefix("sha256:")]


@pytest.mark.parametrize("gone", ["manifests", "blobs"])
def test_a_failure_names_the_uri_of_the_spec_beside_its_own(tmp_path: Path, gone: str) -> None:
    repository = Repository()
    named = plain(repository)
    getattr(repository, gone).clear()

    with serving(repository) as web:
        said = fails(artifact(web, named), tmp_path / "content", SourceUnreachable)

    what = f"127.0.0.1:{web.server_port}"
    name = named if gone == "manifests" else digest(FILE)
    assert said == (
        f"http://{what}/v2/{REPOSITORY}/{gone}/{name} for oci://{what}/{REPOSITORY}@{named} answered 404 Not Found"
    )


def test_a_wrong_blob_over_a_link_that_cuts_each_time_is_a_mismatch_and_remembered(namespace: Namespace) -> None:
    repository = Repository(cuts=[3000, len(FILE)] * 3)
    named = plain(repository)
    repository.blobs[digest(FILE)] = FILE[:-1] + b"x"

    with serving(repository) as web:
        model = onnx(f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}@{named}", FILE, sha256=named[7:])
        first = namespace.fetch(model)
        before = len(asked(web, "blobs"))
        second = namespace.fetch(model)

        assert (first.reason, second.reason) == ("DigestMismatch", "DigestMismatch")
        assert "is not what the manifest promises" in first.message
        assert len(asked(web, "blobs")) == before


def test_a_blob_is_resumed_by_range(tmp_path: Path) -> None:
    repository = Repository(cuts=[3000, 2000])
    named = plain(repository)

    with serving(repository) as web:
        received(artifact(web, named), tmp_path / "content")

    assert [request.headers.get("range") for request in asked(web, "blobs")] == [None, "bytes=3000-", "bytes=5000-"]
    assert files_in(tmp_path / "content") == {"1/model.onnx": FILE}


def docker(host: str, entry: Mapping[str, str]) -> Access:
    return Access(secret={".dockerconfigjson": json.dumps({"auths": {"other": {"auth": "eA=="}, host: entry}})})


ENCODED = {"auth": base64.b64encode(b"reader:secret").decode()}


@pytest.mark.parametrize("wants", ["basic", "bearer"])
@pytest.mark.parametrize(
    "given",
    [
        lambda _: READER,
        lambda host: docker(host, ENCODED),
        lambda host: docker(f"https://{host}/v2/", {"username": "reader", "password": "secret"}),
    ],
    ids=["user", "docker", "docker-url"],
)
def test_credentials_open_the_registry(tmp_path: Path, wants: str, given: "type[Access]") -> None:
    repository = Repository(wants=wants)
    named = plain(repository)

    with serving(repository) as web:
        access = given(f"127.0.0.1:{web.server_port}")  # type: ignore[arg-type]  # a function of the host
        received(artifact(web, named, access), tmp_path / "content")

    assert files_in(tmp_path / "content") == {"1/model.onnx": FILE}
    assert len([request for request in web.seen if "authorization" not in request.headers]) == 1, "asked, then told"


def test_a_token_may_be_anonymous(tmp_path: Path) -> None:
    repository = Repository(wants="bearer", user="")
    named = plain(repository)

    with serving(repository) as web:
        received(artifact(web, named), tmp_path / "content")

    assert len(asked(web, "/token")) == 1


def test_a_token_that_ran_out_in_the_middle_is_asked_for_anew(tmp_path: Path) -> None:
    repository = Repository(wants="bearer", uses=1, cuts=[1000, 1000, 1000])
    named = plain(repository)

    with serving(repository) as web:
        received(artifact(web, named, READER), tmp_path / "content")

    assert len(asked(web, "/token")) == 5
    assert files_in(tmp_path / "content") == {"1/model.onnx": FILE}


@pytest.mark.parametrize("wants", ["basic", "bearer"])
@pytest.mark.parametrize("access", [NO_ACCESS, Access(secret={"username": "reader", "password": "wrong"})])
def test_a_registry_that_takes_us_for_nobody_is_forbidden(tmp_path: Path, wants: str, access: Access) -> None:
    repository = Repository(wants=wants)
    named = plain(repository)

    with serving(repository) as web:
        said = fails(artifact(web, named, access), tmp_path / "content", SourceForbidden)

    assert "answered 401" in said
    assert "spec.variants[].source.secretName" in said
    assert len(web.seen) == (1 if wants == "basic" and access is NO_ACCESS else 2), "and is not asked in vain"


@pytest.mark.parametrize("wants", ["basic", "bearer"])
def test_credentials_stay_with_the_registry_when_blobs_lie_elsewhere(tmp_path: Path, wants: str) -> None:
    repository = Repository(wants=wants)
    named = plain(repository)

    with (
        serving(lambda request: repository.blob(request.path.removeprefix("/"), request)) as store,
        serving(repository) as web,
    ):
        repository.elsewhere = store.url
        repository.cuts = [4000]
        received(artifact(web, named, READER), tmp_path / "content")

    assert files_in(tmp_path / "content") == {"1/model.onnx": FILE}
    assert [request.headers.get("range") for request in store.seen] == [None, "bytes=4000-"]
    assert not any("authorization" in request.headers for request in store.seen)


def test_credentials_are_not_sent_for_a_token_in_plain_text(tmp_path: Path) -> None:
    authority = Authority()
    access = Access(secret=READER.secret, settings={"ca.crt": authority.pem, "OCI_PLAIN_HTTP": "false"})
    with serving(Repository()) as tokens:
        repository = Repository(wants="bearer", realm=f"{tokens.url}/token")
        named = plain(repository)
        with serving(repository, authority.certificate(tmp_path)) as web:
            said = fails(artifact(web, named, access), tmp_path / "content", SourceForbidden)

    assert said == f"127.0.0.1:{web.server_port} sends for a token to '{tokens.url}/token', which is not https"
    assert tokens.seen == []


@pytest.mark.parametrize("access", [READER, NO_ACCESS])
def test_credentials_are_not_sent_for_a_token_to_another_host_in_plain_text(tmp_path: Path, access: Access) -> None:
    """A registry that is reached without TLS may be anybody by the time that it names who hands out tokens."""
    repository = Repository(wants="bearer", user="")
    repository.push(FILE)
    named = plain(repository)
    with serving(repository) as web:
        repository.realm = f"http://localhost:{web.server_port}/token"
        if access is NO_ACCESS:
            assert received(artifact(web, named, access), tmp_path / "content").size == len(FILE)
            return
        said = fails(artifact(web, named, access), tmp_path / "content", SourceForbidden)

    assert said == (
        f"127.0.0.1:{web.server_port} sends for a token to '{repository.realm}', another host and not https: "
        "credentials are not sent there"
    )
    assert {request.path for request in web.seen} == {f"/v2/{REPOSITORY}/manifests/{named}"}


def test_a_realm_that_is_no_url(tmp_path: Path) -> None:
    repository = Repository(wants="bearer", realm="https://[")
    named = plain(repository)
    with serving(repository) as web:
        said = fails(artifact(web, named, READER), tmp_path / "content", SourceForbidden)

    assert said == f"127.0.0.1:{web.server_port} sends for a token to 'https:\\u2026', which is no URL"


DEEP = b"[" * 60_000


def test_answers_of_many_levels_are_refused_in_words(tmp_path: Path) -> None:
    repository = Repository()
    deep = repository.tag(DEEP)
    with serving(repository) as web:
        assert "the manifest is not JSON" in fails(artifact(web, deep), tmp_path / "content", UnsupportedSource)
    repository = Repository(wants="bearer")
    named = plain(repository)
    with serving(lambda request: Answer(body=DEEP) if request.path == "/token" else repository(request)) as web:
        assert "handed out no token" in fails(artifact(web, named), tmp_path / "content", SourceUnreachable)


def test_a_docker_configuration_of_many_levels_holds_nothing(tmp_path: Path) -> None:
    repository = Repository(wants="basic")
    named = plain(repository)
    with serving(repository) as web:
        access = Access({".dockerconfigjson": DEEP.decode()})
        fails(artifact(web, named, access), tmp_path / "content", SourceForbidden)


@pytest.mark.parametrize(("host", "plain"), [("127.0.0.1", True), ("localhost", True), ("models.invalid", False)])
def test_http_is_for_this_machine(tmp_path: Path, host: str, plain: bool) -> None:
    origin = source_for(f"oci://{host}:9/m@{digest(b'')}", Path())

    assert ("http://" if plain else "https://") in fails(origin, tmp_path / "content", SourceUnreachable)


def test_http_is_for_whom_the_settings_say(tmp_path: Path) -> None:
    origin = source_for(f"oci://models.invalid:9/m@{digest(b'')}", Path(), Access(settings={"OCI_PLAIN_HTTP": "true"}))

    assert "http://models.invalid:9/v2/m/manifests/" in fails(origin, tmp_path / "content", SourceUnreachable)


def test_a_private_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    authority, repository = Authority(), Repository()
    named = plain(repository)
    tls = {"OCI_PLAIN_HTTP": "false"}

    with serving(repository, authority.certificate(tmp_path)) as web:
        said = fails(artifact(web, named, Access(settings=tls)), tmp_path / "content", SourceUnreachable)
        received(artifact(web, named, Access(settings={**tls, "ca.crt": authority.pem})), tmp_path / "content")

    assert "TLS failed" in said
    assert files_in(tmp_path / "content") == {"1/model.onnx": FILE}


def test_a_manifest_is_what_was_promised_or_nothing(tmp_path: Path) -> None:
    repository = Repository()
    named = plain(repository)
    other = manifest(layer(FILE, title="other.onnx"))
    repository.manifests[named] = other

    with serving(repository) as web:
        said = fails(artifact(web, named), tmp_path / "content", DigestMismatch)

    assert f"its {len(other)} bytes have {digest(other)}, not {named}" in said
    assert asked(web, "blobs") == []


def test_a_blob_is_what_the_manifest_says_or_nothing(tmp_path: Path) -> None:
    repository = Repository()
    named = plain(repository)
    repository.blobs[digest(FILE)] = FILE[:-1] + b"x"

    with serving(repository) as web:
        said = fails(artifact(web, named), tmp_path / "content", DigestMismatch)

    assert digest(FILE).removeprefix("sha256:") in said
    assert digest(FILE[:-1] + b"x").removeprefix("sha256:") in said


def test_the_size_is_told_by_the_manifest_before_a_blob_is_read(tmp_path: Path) -> None:
    repository, room = Repository(), Counted()
    named = plain(repository)

    with serving(repository) as web:
        fails(artifact(web, named), tmp_path / "content", TooLarge, limit=len(FILE) - 1)
        received(artifact(web, named), tmp_path / "content", limit=len(FILE), room=room)

    assert len(asked(web, "blobs")) == 1
    assert room.required == [len(FILE)]


UNSUPPORTED: dict[str, tuple[bytes, type[FetchError], str]] = {
    "an index": (
        json.dumps({"manifests": [{"digest": digest(b"arm64")}]}).encode(),
        UnsupportedSource,
        f"is an index of several manifests; name the digest of one of them: {digest(b'arm64')}",
    ),
    "an image": (
        manifest(layer(FILE, "application/vnd.oci.image.layer.v1.tar+gzip")),
        UnsupportedSource,
        "layer 1 (application/vnd.oci.image.layer.v1.tar+gzip) has no name",
    ),
    "a raw layer with no name": (manifest(layer(FILE, f"{WEIGHT}.raw")), UnsupportedSource, "has no name, which"),
    "no layers": (manifest(), UnsupportedSource, "holds no file"),
    "no list of layers": (b"{}", UnsupportedSource, "the manifest has no layers"),
    "no JSON": (b"<html>", UnsupportedSource, "the manifest is not JSON"),
    "no object": (b"[]", UnsupportedSource, "is not a JSON object"),
    "another digest": (
        manifest({**layer(FILE, title="m"), "digest": "sha512:00"}),
        UnsupportedSource,
        "layer 1 of the manifest must have a mediaType, a size and a sha256 digest",
    ),
    "no size": (manifest({**layer(FILE, title="m"), "size": -1}), UnsupportedSource, "must have a mediaType, a size"),
    "a name that leads out": (manifest(layer(FILE, title="../m")), UnsupportedSource, "'../m' cannot be the name"),
    "a name twice": (manifest(layer(FILE, title="m"), layer(FILE, title="m")), ArchiveUnsafe, "holds 'm' twice"),
    "large": (b" " * (4 << 20) + b"{}", UnsupportedSource, "has more than 4096 KiB"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_is_no_artifact_of_files_is_refused_in_words(tmp_path: Path, case: str) -> None:
    body, reason, words = UNSUPPORTED[case]
    repository = Repository()
    repository.push(FILE)
    named = repository.tag(body)

    with serving(repository) as web:
        assert words in fails(artifact(web, named), tmp_path / "content", reason)


@pytest.mark.parametrize(
    "uri", ["oci://host/Models@sha256:" + "0" * 64, "oci://host@sha256:" + "0" * 64, "oci://user@host/m", "oci:///m"]
)
def test_a_uri_that_names_no_artifact(uri: str) -> None:
    with pytest.raises(UnsupportedSource, match="is not oci://HOST"):
        reference(uri)


def test_a_tag_is_no_promise() -> None:
    with pytest.raises(UnsupportedSource, match="names no digest, and a tag may mean something else tomorrow"):
        OciArtifact("oci://host/models/plate:7")


@pytest.mark.parametrize(("named", "tag"), [("", "latest"), (":7", "7")])
def test_a_tag_is_resolved_where_a_person_asks(named: str, tag: str) -> None:
    repository = Repository()
    there = repository.tag(manifest(layer(FILE, title="m")), tag)

    with serving(repository) as web:
        base = f"oci://127.0.0.1:{web.server_port}/{REPOSITORY}"
        assert resolve(f"{base}{named}") == f"{base}@{there}"
