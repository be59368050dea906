"""The CNCF's container registry (github.com/distribution/distribution), storing into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rig.pki import Pair
from rig.servers.program import HOST, Program, free_port
from rig.servers.tokens import ISSUER, SERVICE, TokenServer

USER, PASSWORD = "line-3", "correct horse"
_BCRYPT = "$2a$04$6lQCYXtMuRNpEBdxeO5Ix.qhTzjTJEYyaPFlwPr6qmSIWuSk3vyfC"
"""PASSWORD as the registry compares it; the cost is the least there is."""


class Registry:
    """A registry: `address` is HOST:PORT. With `tls` it speaks https.

    With `private` only USER may read or write; with `tokens` only who has a token of that server.
    """

    def __init__(
        self,
        state: Path,
        name: str,
        *,
        private: bool = False,
        tokens: TokenServer | None = None,
        tls: Pair | None = None,
    ) -> None:
        self._program = Program(state, name)
        self._port = free_port()
        self.private, self.tokens, self.tls = private, tokens, tls
        self.address = f"{HOST}:{self._port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"

    def start(self) -> Registry:
        """Start it, empty. Raises RigError."""
        folder = self._program.folder
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yml"
        config.write_text(yaml.safe_dump(self._config(folder)), encoding="utf-8")
        self._program.start("registry", ["serve", str(config)], self._port)
        return self

    def stop(self) -> None:
        """End it."""
        self._program.stop()

    def blob(self, digest: str) -> Path:
        """The file that holds the blob with that SHA-256 (hex digits): for a test to damage."""
        return self._storage / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"

    @property
    def _storage(self) -> Path:
        return self._program.folder / "storage"

    def _config(self, folder: Path) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": self.address, "secret": "of one registry alone"}
        if self.tls is not None:
            http["tls"] = {"certificate": str(self.tls.certificate), "key": str(self.tls.key)}
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn"},
            # No cache of descriptors, no health checks: a blob is read from its file each time.
            "storage": {"filesystem": {"rootdirectory": str(self._storage)}, "delete": {"enabled": True}},
            "http": http,
        }
        if self.private:
            users = folder / "htpasswd"
            users.write_text(f"{USER}:{_BCRYPT}\n", encoding="utf-8")
            config["auth"] = {"htpasswd": {"realm": "models", "path": str(users)}}
        if self.tokens is not None:
            config["auth"] = {
                "token": {
                    "realm": self.tokens.realm,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self.tokens.trusted),
                }
            }
        return config
