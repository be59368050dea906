"""An S3 server over a folder (github.com/versity/versitygw, its posix backend) with one bucket and one account."""

from __future__ import annotations

from pathlib import Path

from rig.pki import Pair
from rig.servers.program import HOST, Program, free_port

BUCKET = "models"
REGION = "eu-north-1"
ACCESS_KEY, SECRET_KEY = "AKIALITTORALTEST0001", "not-a-secret-but-a-test-0123456789"


class ObjectStore:
    """An S3 endpoint: `address` is HOST:PORT, `url` its endpoint; a bucket is a folder. With `tls` it speaks https."""

    def __init__(self, state: Path, name: str, *, tls: Pair | None = None) -> None:
        self._program = Program(state, name)
        self._port = free_port()
        self.tls = tls
        self.address = f"{HOST}:{self._port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"

    def start(self) -> ObjectStore:
        """Start it with an empty bucket. Raises RigError."""
        metadata = self._program.folder / "metadata"  # beside the files: not every file system has attributes
        for folder in (metadata, self._bucket):
            folder.mkdir(parents=True, exist_ok=True)
        tls = ["--cert", str(self.tls.certificate), "--key", str(self.tls.key)] if self.tls else []
        arguments = [
            "--port", self.address, "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION, "--quiet",
            *tls, "posix", "--sidecar", str(metadata), str(self._bucket.parent),
        ]  # fmt: skip
        self._program.start("versitygw", arguments, self._port)
        return self

    def stop(self) -> None:
        """End it."""
        self._program.stop()

    def object(self, key: str) -> Path:
        """The file that holds an object: for a test to damage."""
        return self._bucket / key

    @property
    def _bucket(self) -> Path:
        return self._program.folder / "root" / BUCKET
