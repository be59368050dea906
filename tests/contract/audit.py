"""What the operator asked of the API server, by the API server's own audit log."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True)
class Request:
    """One request that was answered."""

    verb: str
    resource: str
    """With the subresource: gpuslices/status."""
    namespace: str
    name: str
    code: int
    denied: bool
    """Whether RBAC refused it; a 403 may have other causes, such as a namespace that is going away."""

    @property
    def write(self) -> bool:
        """Whether it changes anything."""
        return self.verb not in READS

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}/{self.name}: {self.code}"


class AuditLog:
    """Reads on from where it was read last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.read()

    def read(self) -> list[Request]:
        """The requests answered since the last call. A watch counts once it has begun and once it has ended."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as log:
            log.seek(self._offset)
            text = log.read()
        whole = text.rfind(b"\n") + 1
        self._offset += whole
        return [_request(json.loads(line)) for line in text[:whole].splitlines()]


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef") or {}
    parts = (target.get("resource", event["requestURI"]), target.get("subresource"))
    return Request(
        verb=event["verb"],
        resource="/".join(part for part in parts if part),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event["responseStatus"]["code"],
        denied=(event.get("annotations") or {}).get("authorization.k8s.io/decision") == "forbid",
    )
