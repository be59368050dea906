"""The servers that `make bench-fetch` fetches from: HTTP, S3 and a registry on loopback, each with the same bytes."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import urllib3

from rig.errors import RigError
from rig.progress import Progress
from rig.servers import s3
from rig.servers.program import HOST
from rig.servers.registry import Registry
from rig.servers.s3 import ObjectStore

KINDS: Final = ("http", "s3", "oci")
_REPOSITORY: Final = "models/bench"
_LAYERS: Final = {
    "onnx": "application/vnd.cncf.model.weight.v1.raw",
    "tar": "application/vnd.cncf.model.weight.v1.tar",
    "tar.zst": "application/vnd.cncf.model.weight.v1.tar+zstd",
}


@dataclass(frozen=True)
class Artifact:
    """A file and the SHA-256 of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Origin:
    """An artifact at a server: as a model's source names it, and as curl is told to get the same bytes.

    `access` has the names of its Secret and ConfigMap, in the words of a fetch request.
    """

    name: str
    artifact: Artifact
    uri: str
    digest: str
    curl: Sequence[str]
    access: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def serving(
    folder: Path, artifacts: Mapping[str, Artifact], wanted: Sequence[str], progress: Progress
) -> Iterator[list[Origin]]:
    """The wanted kinds of server with the artifacts, by their formats, while the block runs."""
    openers = {"http": _http, "s3": _s3, "oci": _oci}
    with contextlib.ExitStack() as stack:
        origins: list[Origin] = []
        for kind in wanted:
            progress(f"starting the {kind} server")
            origins += stack.enter_context(openers[kind](folder, artifacts))
        yield origins


@contextlib.contextmanager
def _http(folder: Path, artifacts: Mapping[str, Artifact]) -> Iterator[list[Origin]]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _send(self, folder)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        origins = []
        for kind, artifact in artifacts.items():
            url = f"http://{HOST}:{server.server_port}/{artifact.path.name}"
            origins.append(Origin(f"http, {kind}", artifact, url, artifact.sha256, [url]))
        yield origins
        server.shutdown()


def _send(handler: http.server.BaseHTTPRequestHandler, folder: Path) -> None:
    """A file of the folder, from the byte on that is asked for, by sendfile: the server is to cost next to nothing."""
    path = folder / Path(handler.path).name
    size = path.stat().st_size
    found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    offset = int(found[1]) if found else 0
    handler.send_response(HTTPStatus.PARTIAL_CONTENT if found else HTTPStatus.OK)
    if found:
        handler.send_header("Content-Range", f"bytes {offset}-{size - 1}/{size}")
    handler.send_header("Content-Length", str(size - offset))
    handler.end_headers()
    connection: socket.socket = handler.connection
    with path.open("rb") as file:
        connection.sendfile(file, offset)


@contextlib.contextmanager
def _s3(folder: Path, artifacts: Mapping[str, Artifact]) -> Iterator[list[Origin]]:
    store = ObjectStore(folder / "servers", "s3").start()
    try:
        access = _access(
            folder,
            {"AWS_ACCESS_KEY_ID": s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY},
            {"AWS_ENDPOINT_URL": store.url, "AWS_REGION": s3.REGION},
        )
        signed = [
            "--aws-sigv4", f"aws:amz:{s3.REGION}:s3",
            "--user", f"{s3.ACCESS_KEY}:{s3.SECRET_KEY}",
            "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
        ]  # fmt: skip
        origins = []
        for kind, artifact in artifacts.items():
            key = artifact.path.name
            os.link(artifact.path, store.object(key))
            curl = [*signed, f"{store.url}/{s3.BUCKET}/{key}"]
            origins.append(Origin(f"s3, {kind}", artifact, f"s3://{s3.BUCKET}/{key}", artifact.sha256, curl, access))
        yield origins
    finally:
        store.stop()


@contextlib.contextmanager
def _oci(folder: Path, artifacts: Mapping[str, Artifact]) -> Iterator[list[Origin]]:
    registry = Registry(folder / "servers", "registry").start()
    try:
        origins = []
        for kind, artifact in artifacts.items():
            digest = _push(registry, artifact, _LAYERS[kind])
            uri = f"oci://{registry.address}/{_REPOSITORY}@sha256:{digest}"
            blob = f"{registry.url}/v2/{_REPOSITORY}/blobs/sha256:{artifact.sha256}"
            origins.append(Origin(f"oci, {kind}", artifact, uri, digest, [blob]))
        yield origins
    finally:
        registry.stop()


def _push(registry: Registry, artifact: Artifact, media_type: str) -> str:
    """Push an artifact of one blob; the digest of its manifest."""
    _upload(registry, artifact.path, artifact.sha256)
    empty = artifact.path.with_name("config.json")
    empty.write_bytes(b"{}")
    config = hashlib.sha256(b"{}").hexdigest()
    _upload(registry, empty, config)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.cncf.model.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.cncf.model.config.v1+json",
                "digest": f"sha256:{config}",
                "size": 2,
            },
            "layers": [
                {
                    "mediaType": media_type,
                    "digest": f"sha256:{artifact.sha256}",
                    "size": artifact.path.stat().st_size,
                    "annotations": {"org.cncf.model.filepath": "1/model.onnx"},
                }
            ],
        }
    ).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    _asked(
        urllib3.request(
            "PUT",
            f"{registry.url}/v2/{_REPOSITORY}/manifests/sha256:{digest}",
            body=manifest,
            headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
        )
    )
    return digest


def _upload(registry: Registry, path: Path, digest: str) -> None:
    place = _asked(urllib3.request("POST", f"{registry.url}/v2/{_REPOSITORY}/blobs/uploads/")).headers["Location"]
    place = place if place.startswith("http") else f"{registry.url}{place}"
    with path.open("rb") as file:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
        _asked(urllib3.request("PUT", f"{place}&digest=sha256:{digest}", body=file, headers=headers, timeout=600))


def _asked(answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise RigError(f"the registry answered {answer.status}: {answer.data[:500]!r}")
    return answer


def _access(folder: Path, secret: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """A Secret and a ConfigMap as the kubelet would mount them; how a request names them."""
    for mount, values in (("secrets", secret), ("settings", settings)):
        place = folder / mount / "models"
        place.mkdir(parents=True)
        for key, value in values.items():
            (place / key).write_text(value, encoding="utf-8")
    return {"secret": "models", "settings": "models"}
