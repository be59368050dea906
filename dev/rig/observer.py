"""Watches one namespace for the benchmark, and keeps of each event only what a figure needs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3

from rig import kube
from rig.errors import RigError

_KINDS = {
    "inferencemodels": "/apis/littoral.dev/v1alpha1",
    "deployments": "/apis/apps/v1",
    "services": "/api/v1",
    "jobs": "/apis/batch/v1",
}


class Observer:
    """Sets of names by what has been seen of them; `wait` returns the moment of the event that fulfilled it."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.ready: set[str] = set()
        self.deployments: dict[str, str] = {}
        """Revision by name."""
        self.available: set[str] = set()
        self.services: set[str] = set()
        self.prepared: dict[str, str] = {}
        """By model: the revision that its newest prefetch Job brings."""
        self._models: dict[str, set[str]] = {}
        self._deployment: Mapping[str, Any] = {}
        self._at = 0.0

    def any_deployment(self) -> Mapping[str, Any]:
        """The Deployment seen last."""
        return self._deployment

    def revision_of(self, model: str) -> str:
        """The revision that the model's Deployment shows."""
        return next((self.deployments[name] for name in self._models.get(model, ()) if name in self.deployments), "")

    def wait(self, fulfilled: Callable[[], bool], timeout: float) -> float:
        """Wait until it is; the time (monotonic) of the event after which it was."""
        with self._changed:
            if not self._changed.wait_for(fulfilled, timeout):
                counts = f"{len(self.deployments)} Deployments, {len(self.services)} Services, {len(self.ready)} Ready"
                raise RigError(f"not within {timeout:.0f} s; seen: {counts}")
            return self._at

    def __enter__(self) -> Self:
        for plural, base in _KINDS.items():
            thread = threading.Thread(target=self._watch, args=(plural, base), name=f"watch-{plural}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _watch(self, plural: str, base: str) -> None:
        """Stream from the beginning of time; a stream that ends is begun anew, and says again what there is."""
        with kube.client(self._kubeconfig) as api:
            url = f"{api.configuration.host}{base}/namespaces/{self._namespace}/{plural}?watch=true&timeoutSeconds=3600"
            while not self._stopping.is_set():
                try:
                    answer = api.rest_client.pool_manager.request(
                        "GET", url, preload_content=False, headers=api.default_headers, timeout=urllib3.Timeout(10, 2)
                    )
                    self._read(plural, answer)
                except (urllib3.exceptions.HTTPError, TimeoutError):
                    continue

    def _read(self, plural: str, answer: Any) -> None:
        buffer = b""
        for chunk in answer.stream(65536):
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                self._take(plural, json.loads(line))
            if self._stopping.is_set():
                return

    def _take(self, plural: str, event: Mapping[str, Any]) -> None:
        body = event["object"]
        name = body.get("metadata", {}).get("name", "")
        with self._changed:
            self._at = time.monotonic()
            if event["type"] == "DELETED":
                self._forget(plural, name)
            elif plural == "inferencemodels":
                conditions = body.get("status", {}).get("conditions", ())
                generation = body["metadata"]["generation"]
                ready = any(
                    c["type"] == "Ready" and c["status"] == "True" and c.get("observedGeneration") == generation
                    for c in conditions
                )
                (self.ready.add if ready else self.ready.discard)(name)
            elif plural == "deployments":
                self._deployment = body
                labels = body["metadata"].get("labels", {})
                self.deployments[name] = labels.get("littoral.dev/revision", "")
                self._models.setdefault(labels.get("littoral.dev/model", ""), set()).add(name)
                if body.get("status", {}).get("availableReplicas"):
                    self.available.add(name)
            elif plural == "jobs":
                labels = body["metadata"].get("labels", {})
                self.prepared[labels.get("littoral.dev/model", "")] = labels.get("littoral.dev/revision", "")
            else:
                self.services.add(name)
            self._changed.notify_all()

    def _forget(self, plural: str, name: str) -> None:
        if plural == "inferencemodels":
            self.ready.discard(name)
        elif plural == "deployments":
            self.deployments.pop(name, None)
            self.available.discard(name)
        elif plural == "services":
            self.services.discard(name)
