"""A registry on loopback that keeps one repository and notes what it was asked."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.modelstore.servers import Answer, Request

REPOSITORY = "models/plate"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"
UNPACK = "io.deis.oras.content.unpack"
FILEPATH = "org.cncf.model.filepath"


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def layer(body: bytes, kind: str = "application/octet-stream", **annotations: str) -> dict[str, Any]:
    """A descriptor; names of annotations are those of the constants above, in lower case."""
    names = {"title": TITLE, "unpack": UNPACK, "filepath": FILEPATH}
    notes = {names[key]: value for key, value in annotations.items()}
    return {"mediaType": kind, "digest": digest(body), "size": len(body), "annotations": notes}


def manifest(*layers: Mapping[str, Any], **others: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": list(layers), **others}).encode()


@dataclass
class Repository:
    """What the registry hands out: manifests by digest or tag, blobs by digest; each cut is taken by one answer.

    `wants` is "", "basic" or "bearer"; tokens are good for `uses` requests. With `elsewhere` blobs are at another URL.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    wants: str = ""
    user: str = "reader:secret"
    realm: str = ""
    uses: int = 1000
    elsewhere: str = ""
    cuts: list[int] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)

    def push(self, *bodies: bytes) -> None:
        self.blobs |= {digest(body): body for body in bodies}

    def tag(self, body: bytes, *tags: str) -> str:
        """Keep a manifest, under tags too; return its digest."""
        self.manifests |= dict.fromkeys((digest(body), *tags), body)
        return digest(body)

    def __call__(self, request: Request) -> Answer:
        if request.path == "/token":
            return self._token(request)
        if not self._allowed(request.headers.get("authorization", "")):
            return Answer(401, headers={"WWW-Authenticate": self._challenge(request)})
        kind, _, name = request.path.removeprefix(f"/v2/{REPOSITORY}/").partition("/")
        if kind == "manifests" and name in self.manifests:
            return Answer(200, self.manifests[name], {"Content-Type": MANIFEST})
        if kind == "blobs" and name in self.blobs:
            if self.elsewhere:
                return Answer(307, headers={"Location": f"{self.elsewhere}/{name}?signature=hidden"})
            return self.blob(name, request)
        return Answer(404, b"{}")

    def blob(self, name: str, request: Request) -> Answer:
        body, cut = self.blobs[name], self.cuts.pop(0) if self.cuts else None
        if asked := request.headers.get("range"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            return Answer(206, body[start:], {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}, cut)
        return Answer(200, body, {}, cut)

    def _challenge(self, request: Request) -> str:
        if self.wants == "basic":
            return 'Basic realm="models"'
        realm = self.realm or f"http://{request.headers['host']}/token"
        return f'Bearer realm="{realm}",service="models",scope="repository:{REPOSITORY}:pull,delete"'

    def _allowed(self, given: str) -> bool:
        if self.wants == "basic":
            return given == basic(self.user)
        token = given.removeprefix("Bearer ")
        self.tokens[token] = self.tokens.get(token, 0) - 1
        return not self.wants or self.tokens[token] >= 0

    def _token(self, request: Request) -> Answer:
        if self.user and request.headers.get("authorization") != basic(self.user):
            return Answer(401, b"{}")
        assert request.query["service"] == "models"
        assert request.query["scope"] == f"repository:{REPOSITORY}:pull,delete"
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = self.uses
        return Answer(200, json.dumps({"token": token}).encode())


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"
