"""Artifacts in registries as people push them: ModelPack by its specification, ORAS by its library and as its CLI."""

import json
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import oras.client
import pytest
import urllib3
from tests.delivery.artifacts import FILES, TAR_GZ, TAR_ZST, WEIGHTS, sha256, tar
from tests.delivery.node import Published
from tests.delivery.web import ONNX

from rig.servers.registry import PASSWORD, USER, Registry

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_WEIGHT: Final = "application/vnd.cncf.model.weight.v1"
_TITLE: Final = "org.opencontainers.image.title"
_FOLDER: Final = {path: data for path, data in FILES.items() if path.startswith("1/")}


class Layer(NamedTuple):
    """One layer to push."""

    data: bytes
    kind: str
    annotations: Mapping[str, str]


def raw(path: str, data: bytes) -> Layer:
    """A ModelPack layer that is a file."""
    return Layer(data, f"{_WEIGHT}.raw", {"org.cncf.model.filepath": path})


MODELPACK_RAW: Final = [raw(path, data) for path, data in FILES.items()]
MODELPACK_GZ: Final = [Layer(TAR_GZ, f"{_WEIGHT}.tar+gzip", {})]
MODELPACK_ZST: Final = [Layer(TAR_ZST, f"{_WEIGHT}.tar+zstd", {})]
ORAS_FOLDER: Final = [
    Layer(
        tar(_FOLDER, gz=True),
        "application/vnd.oci.image.layer.v1.tar+gzip",
        {
            _TITLE: "1",
            "io.deis.oras.content.unpack": "true",
            "io.deis.oras.content.digest": f"sha256:{sha256(tar(_FOLDER))}",
        },
    ),
    Layer(FILES["labels.txt"], "application/vnd.oci.image.layer.v1.tar", {_TITLE: "labels.txt"}),
]
"""What `oras push REGISTRY/REPOSITORY 1/ labels.txt` makes."""


class Packages:
    """The artifacts in one registry."""

    def __init__(self, registry: Registry, authority: Path) -> None:
        self._registry, self._authority = registry, authority
        context = ssl.create_default_context(cafile=authority)
        self._http = urllib3.PoolManager(ssl_context=context)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.clear()

    def push(self, name: str, layers: list[Layer], files: Mapping[str, bytes] = FILES) -> Published:
        """Push an artifact by the registry's own API, ModelPack or as its layers say; `files` is what they hold."""
        config = json.dumps({"descriptor": {"name": name}, "modelfs": {"type": "layers", "diffIds": []}}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": "application/vnd.cncf.model.manifest.v1+json",
            "config": self._blob(name, Layer(config, "application/vnd.cncf.model.config.v1+json", {})),
            "layers": [self._blob(name, layer) for layer in layers],
        }
        body = json.dumps(manifest).encode()
        self._request("PUT", f"/v2/models/{name}/manifests/1", body, {"Content-Type": _MANIFEST})
        return self._published(name, sha256(body), sum(len(layer.data) for layer in layers), files)

    def push_by_oras(self, name: str, folder: Path) -> Published:
        """Push a file with oras-py, as `oras push REGISTRY/REPOSITORY model.onnx` does."""
        file = folder / "model.onnx"
        file.write_bytes(WEIGHTS)
        client = oras.client.OrasClient(hostname=self._registry.address, insecure=not self._registry.tls)
        client.auth.set_basic_auth(USER, PASSWORD)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REQUESTS_CA_BUNDLE", str(self._authority))
            answer = client.push(
                f"{self._registry.address}/models/{name}:1", files=[str(file)], disable_path_validation=True, quiet=True
            )
        digest = answer.headers["Docker-Content-Digest"].removeprefix("sha256:")
        return self._published(name, digest, len(WEIGHTS), ONNX)

    def _authorization(self, repository: str) -> dict[str, str]:
        if self._registry.tokens is not None:
            return {"Authorization": f"Bearer {self._registry.tokens.token(repository, 'pull', 'push')}"}
        return urllib3.make_headers(basic_auth=f"{USER}:{PASSWORD}")

    def _published(self, name: str, digest: str, size: int, files: Mapping[str, bytes]) -> Published:
        settings = {"OCI_PLAIN_HTTP": str(not self._registry.tls).lower()}
        if self._registry.tls:
            settings["ca.crt"] = self._authority.read_text(encoding="utf-8")
        return Published(
            upstream=self._registry.address,
            uri=lambda address: f"oci://{address}/models/{name}@sha256:{digest}",
            sha256=digest,
            size=size,
            files=files,
            format="onnx" if files is ONNX else "python",
            settings=lambda _: settings,
            secret={"username": USER, "password": PASSWORD} if self._registry.private or self._registry.tokens else {},
        )

    def _blob(self, name: str, layer: Layer) -> dict[str, Any]:
        uploads = self._request("POST", f"/v2/models/{name}/blobs/uploads/", b"", {})
        digest = f"sha256:{sha256(layer.data)}"
        self._request("PUT", f"{uploads.headers['Location']}&digest={digest}", layer.data, {})
        return {"mediaType": layer.kind, "digest": digest, "size": len(layer.data), "annotations": layer.annotations}

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else f"{self._registry.url}{path}"
        repository = "/".join(urllib.parse.urlsplit(url).path.split("/")[2:4])
        answer = self._http.request(method, url, body=body, headers={**headers, **self._authorization(repository)})
        assert answer.status in {201, 202}, f"{method} {url}: {answer.status} {answer.data.decode(errors='replace')}"
        return answer
