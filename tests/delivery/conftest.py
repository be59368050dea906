"""Real servers on loopback, with the artifacts on them, and a node for each test."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.delivery import objects
from tests.delivery.node import Node, Published
from tests.delivery.packages import MODELPACK_GZ, MODELPACK_RAW, MODELPACK_ZST, ORAS_FOLDER, Packages
from tests.delivery.web import Web, web

from rig import cluster, states
from rig.pki import Authority
from rig.servers.registry import PASSWORD, USER, Registry
from rig.servers.s3 import ObjectStore
from rig.servers.tokens import TokenServer, token_server
from rig.servers.toxiproxy import Toxiproxy


class Servers:
    """What models are fetched from, and through: all of it on loopback, its data and logs in `state`."""

    def __init__(self, state: Path, site: Web, tokens: TokenServer, authority: Authority) -> None:
        pair = authority.issue("servers", user="servers", hosts=["127.0.0.1", "models.example"])
        self.web, self.authority = site, authority
        self.store = ObjectStore(state, "s3").start()
        self.private_store = ObjectStore(state, "private-s3", tls=pair).start()
        for each in (self.store, self.private_store):
            objects.fill(each, authority.certificate)
        self.registry = Registry(state, "registry").start()
        self.private_registry = Registry(state, "private-registry", private=True, tls=pair).start()
        self.tokens = tokens
        token_registry = Registry(state, "token-registry", tokens=tokens).start()
        self.packages = push(self.registry, self.private_registry, token_registry, authority.certificate, state)
        self.toxiproxy = Toxiproxy(state, "toxiproxy").start()

    def objects(self, key: str, *, tls: bool = False) -> Published:
        """The artifact at `key` of a store; with "/" at its end, the folder."""
        return objects.published(self.private_store if tls else self.store, key, self.authority.certificate)


KINDS: Mapping[str, Callable[[Servers], Published]] = {
    "http-file": lambda servers: servers.web.published("model.onnx"),
    "http-file-bare": lambda servers: servers.web.published("model.onnx", "/bare"),
    "http-tar": lambda servers: servers.web.published("model.tar"),
    "http-tar-gz-bare": lambda servers: servers.web.published("model.tar.gz", "/bare"),
    "http-file-unmeasured": lambda servers: servers.web.published("model.onnx", "/unmeasured"),
    "https-file": lambda servers: servers.web.published("model.onnx", tls=True),
    "https-tar-zst": lambda servers: servers.web.published("model.tar.zst", tls=True),
    "s3-file": lambda servers: servers.objects("model.onnx"),
    "s3-tar-zst": lambda servers: servers.objects("model.tar.zst"),
    "s3-folder": lambda servers: servers.objects("plate/"),
    "s3-private-folder": lambda servers: servers.objects("plate/", tls=True),
    "oci-modelpack-raw": lambda servers: servers.packages["modelpack-raw"],
    "oci-modelpack-gz": lambda servers: servers.packages["modelpack-gz"],
    "oci-oras-file": lambda servers: servers.packages["oras-file"],
    "oci-private-modelpack-zst": lambda servers: servers.packages["private-modelpack-zst"],
    "oci-private-oras-folder": lambda servers: servers.packages["private-oras-folder"],
}
"""Every kind of source that is reached over a link; see `Web.published` for the manners of a web server."""
MEASURED = sorted(kind for kind in KINDS if "unmeasured" not in kind)
"""Those whose answers say how long they are, so that a cut is told from their end."""


@pytest.fixture(scope="session")
def servers(reaped: None) -> Iterator[Servers]:
    state = states.make()
    try:
        authority = Authority.create(state / "pki")
        with web(authority) as site, token_server(authority, f"{USER}:{PASSWORD}") as tokens:
            yield Servers(state, site, tokens, authority)
    finally:
        cluster.down(state)


def push(
    registry: Registry, private: Registry, tokens: Registry, authority: Path, folder: Path
) -> Mapping[str, Published]:
    """Push the artifacts, each by its name: to the registry for all, to that for a user by TLS, to that with tokens."""
    with contextlib.ExitStack() as open_:
        anybodys, users, bearers = (
            open_.enter_context(contextlib.closing(Packages(each, authority))) for each in (registry, private, tokens)
        )
        return {
            "modelpack-raw": anybodys.push("modelpack-raw", MODELPACK_RAW),
            "modelpack-gz": anybodys.push("modelpack-gz", MODELPACK_GZ),
            "oras-file": anybodys.push_by_oras("oras-file", folder),
            "private-modelpack-zst": users.push("modelpack-zst", MODELPACK_ZST),
            "private-oras-folder": users.push("oras-folder", ORAS_FOLDER),
            "token-modelpack-raw": bearers.push("modelpack-raw", MODELPACK_RAW),
        }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture(params=MEASURED)
def published(servers: Servers, request: pytest.FixtureRequest) -> Published:
    """Each kind in turn of which a cut can be told."""
    return KINDS[request.param](servers)
