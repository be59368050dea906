"""Objects in the S3 server: a file, an archive, and a folder as the objects below a prefix."""

from collections.abc import Mapping
from pathlib import Path

import obstore
from obstore.store import S3Store
from tests.delivery.artifacts import FILES, TAR_ZST, WEIGHTS, folder_digest, sha256
from tests.delivery.node import Published
from tests.delivery.web import ONNX

from rig.servers.s3 import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, ObjectStore

_SECRET = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def fill(store: ObjectStore, authority: Path) -> None:
    """Put every artifact there."""
    bucket = S3Store(
        BUCKET,
        endpoint=store.url,
        region=REGION,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"allow_http": True, "root_certificate": authority.read_text(encoding="utf-8")},
    )
    objects = {"model.onnx": WEIGHTS, "model.tar.zst": TAR_ZST} | {f"plate/{path}": FILES[path] for path in FILES}
    for key, data in objects.items():
        obstore.put(bucket, key, data)


def published(store: ObjectStore, key: str, authority: Path) -> Published:
    """The artifact at `key`; with "/" at its end, the folder."""
    scheme = store.url.partition(":")[0]
    trusted = {"ca.crt": authority.read_text(encoding="utf-8")} if store.tls else {}
    digests: Mapping[str, tuple[str, int]] = {
        "model.onnx": (sha256(WEIGHTS), len(WEIGHTS)),
        "model.tar.zst": (sha256(TAR_ZST), len(TAR_ZST)),
        "plate/": (folder_digest(FILES), sum(map(len, FILES.values()))),
    }
    single = key == "model.onnx"
    digest, size = digests[key]
    return Published(
        upstream=store.address,
        uri=lambda _: f"s3://{BUCKET}/{key}",
        sha256=digest,
        size=size,
        files=ONNX if single else FILES,
        format="onnx" if single else "python",
        settings=lambda address: {
            "AWS_ENDPOINT_URL": f"{scheme}://{address}",
            "AWS_REGION": REGION,
            **trusted,
        },
        secret=_SECRET,
    )
