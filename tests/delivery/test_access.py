"""Who may read, whom the node trusts, which way it goes: Secrets, private authorities and proxies, at real servers."""

import base64
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.delivery.conftest import KINDS, Servers
from tests.delivery.node import Node, Published

from rig.servers.forward import forward_proxy
from rig.servers.registry import PASSWORD, USER
from rig.servers.s3 import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.contract

WORLD = "models.example:8443"
"""A host that only the site's proxy can reach."""

S3, OCI = "s3-file", "oci-private-modelpack-zst"
REFUSED: dict[str, tuple[str, Mapping[str, str]]] = {
    "s3: no Secret": (S3, {}),
    "s3: a wrong secret key": (S3, {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": "a-wrong-secret"}),
    "s3: half of the credentials": (S3, {"AWS_ACCESS_KEY_ID": ACCESS_KEY}),
    "oci: no Secret": (OCI, {}),
    "oci: a wrong password": (OCI, {"username": USER, "password": "a-wrong-secret"}),
    "oci: a Docker configuration of other registries": (OCI, {".dockerconfigjson": '{"auths": {"other.example": {}}}'}),
}
ENCRYPTED = ("https-file", "https-tar-zst", "s3-private-folder", "oci-private-oras-folder")


@pytest.mark.parametrize("case", REFUSED)
def test_who_may_not_read_is_told_which_secret_to_correct(
    node: Node, servers: Servers, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind, secret = REFUSED[case]
    published = KINDS[kind](servers)
    caplog.set_level(logging.DEBUG)

    refused = node.fetch(node.request(replace(published, secret=secret)))

    assert (refused.outcome, refused.reason) == ("failed", "SourceForbidden")
    assert "secretName" in refused.message
    assert node.empty()
    for hidden in ("a-wrong-secret", SECRET_KEY, PASSWORD, *published.secret.values()):
        assert hidden not in refused.message + caplog.text

    assert node.fetch(node.request(published)).ok, "the kubelet brings the corrected Secret into the same mount"
    assert node.serves(published)


@pytest.mark.parametrize("kind", [S3, OCI])
def test_a_secret_that_was_deleted_does_not_block_a_warm_start(node: Node, servers: Servers, kind: str) -> None:
    published = KINDS[kind](servers)
    request = node.request(published)
    assert node.fetch(request).ok
    shutil.rmtree(node.mounts)

    report = node.fetch(request)

    assert report.ok, report.message
    assert report.models[0].source == "cache"
    assert node.serves(published)


def test_the_secret_of_a_docker_login_opens_the_registry(node: Node, servers: Servers) -> None:
    published = KINDS[OCI](servers)
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config = json.dumps({"auths": {published.upstream: {"auth": auth}}})

    report = node.fetch(node.request(replace(published, secret={".dockerconfigjson": config})))

    assert report.ok, report.message


def test_a_registry_that_wants_tokens_is_brought_one(node: Node, servers: Servers) -> None:
    published = servers.packages["token-modelpack-raw"]
    before = servers.tokens.granted

    report = node.fetch(node.request(published))

    assert report.ok, report.message
    assert node.serves(published)
    assert servers.tokens.granted > before


def test_who_gets_no_token_is_told_which_secret_to_correct(node: Node, servers: Servers) -> None:
    published = servers.packages["token-modelpack-raw"]
    wrong = {"username": USER, "password": "a-wrong-secret"}

    report = node.fetch(node.request(replace(published, secret=wrong)))

    assert (report.outcome, report.reason) == ("failed", "SourceForbidden")
    assert "secretName" in report.message
    assert "a-wrong-secret" not in report.message


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_an_authority_that_nobody_named_is_not_trusted(node: Node, servers: Servers, kind: str) -> None:
    published = KINDS[kind](servers)

    report = node.fetch(node.request(without(published, "ca.crt")))

    assert (report.outcome, report.reason) == ("failed", "SourceUnreachable")
    assert "certificate" in report.message
    assert node.empty()


@pytest.mark.parametrize("kind", ["http-file", "s3-folder", "oci-modelpack-raw", *ENCRYPTED])
def test_what_only_a_proxy_reaches_is_fetched_through_it(node: Node, servers: Servers, kind: str) -> None:
    published = KINDS[kind](servers)
    with forward_proxy({WORLD: published.upstream}, credentials="node:site") as proxy:
        outside = through(published, f"http://node:site@{proxy.address}")
        report = node.fetch(node.request(outside, WORLD))

    assert report.ok, report.message
    assert node.serves(published)
    assert {WORLD in target for target in proxy.seen} == {True}


@pytest.mark.parametrize("kind", ["http-file", "s3-folder", "oci-modelpack-raw", *ENCRYPTED])
def test_a_proxy_that_refuses_is_named(node: Node, servers: Servers, kind: str) -> None:
    published = KINDS[kind](servers)
    with forward_proxy({WORLD: published.upstream}, credentials="node:site") as proxy:
        outside = through(published, f"http://node:a-wrong-secret@{proxy.address}")
        report = node.fetch(node.request(outside, WORLD))

    assert report.reason in {"SourceUnreachable", "SourceForbidden"}
    assert "proxy" in report.message.lower()
    assert "a-wrong-secret" not in report.message
    assert node.empty()


def without(published: Published, key: str) -> Published:
    """The same with a ConfigMap that lacks `key`."""
    return replace(
        published,
        settings=lambda address: {name: text for name, text in published.settings(address).items() if name != key},
    )


def through(published: Published, proxy: str) -> Published:
    """The same with a ConfigMap that names a proxy."""
    proxies = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    return replace(published, settings=lambda address: {**published.settings(address), **proxies})
