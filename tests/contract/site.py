"""A site of one test: a namespace, a pool of nodes, and what a user does and sees there.

Tests share one cluster, and placement is for the whole of it: so each test's models name the test's own pool.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from tests.contract import manifests
from tests.contract.kubelet import Kubelets, prefetches
from tests.contract.manifests import T4_LABELS, Json

from littoral.api import group
from littoral.controller.client import Client, Resource
from littoral.controller.errors import Conflict, NotFound
from littoral.controller.kinds import (
    DEPLOYMENTS,
    EDGENODES,
    JOBS,
    MODELS,
    NAMESPACES,
    NODES,
    PODS,
    SLICES,
)

T = TypeVar("T")
EVENTS = Resource("", "v1", "events", "Event", namespaced=True)
TIMEOUT = 30.0
"""Seconds; a healthy run needs one or two, on a loaded machine some more."""


async def eventually(check: Callable[[], Awaitable[T]], timeout: float = TIMEOUT) -> T:  # noqa: ASYNC109 (the last failed assertion is the error)
    """Ask `check` until it no longer fails, and return what it returns; its own last failure is raised at the end."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return await check()
        except (AssertionError, NotFound):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


def only(items: Sequence[T]) -> T:
    """The one thing that there shall be."""
    assert len(items) == 1, f"{len(items)} instead of one"
    return items[0]


def condition(body: Json, kind: str) -> Json:
    """A condition of an object; empty where there is none."""
    found: Json = next((c for c in body.get("status", {}).get("conditions", ()) if c["type"] == kind), {})
    return found


def verdict(body: Json, kind: str = "Ready") -> tuple[str, str]:
    """(status, reason) of a condition."""
    found = condition(body, kind)
    return found.get("status", ""), found.get("reason", "")


class Site:
    """See the module's text."""

    def __init__(self, client: Client, kubelets: Kubelets, name: str) -> None:
        self.client = client
        self.kubelets = kubelets
        self.namespace = name
        self.pool = name
        self._nodes: list[str] = []

    # What is written

    async def create(self, resource: Resource, body: Json) -> Json:
        return await self.client.create(resource, body)

    async def patch(self, resource: Resource, name: str, patch: Any, *, subresource: str = "") -> Json:
        """As somebody who looked and then wrote; once more where the object changed in between."""
        namespace = self._where(resource)
        while True:
            live = await self.client.get(resource, namespace, name)
            try:
                return await self.client.patch(
                    resource, namespace, name, patch, uid=live["metadata"]["uid"], subresource=subresource
                )
            except Conflict:
                continue

    async def delete(self, resource: Resource, name: str) -> None:
        namespace = self._where(resource)
        live = await self.client.get(resource, namespace, name)
        await self.client.delete(resource, namespace, name, uid=live["metadata"]["uid"])

    async def node(
        self, name: str, labels: Mapping[str, str] = T4_LABELS, *, units: int = manifests.SHARES, pool: bool = True
    ) -> str:
        """Register a Node, by default with a T4 in four shares, in the site's pool; its whole name."""
        full = f"{self.pool}-{name}"
        own = {group.LABEL_POOL: self.pool} if pool else {}
        await self.create(NODES, manifests.node(full, {**labels, **own}, units=units))
        self._nodes.append(full)
        return full

    async def nodes(self, *names: str) -> list[str]:
        """Register several, and wait until the operator knows what they have."""
        nodes = [await self.node(name) for name in names]
        for node in nodes:
            await self.says(node, "True", "Discovered", "CapacityKnown", EDGENODES)
        return nodes

    async def model(self, name: str, **spec: Any) -> Json:
        """Apply a model for the site's pool."""
        return await self.create(MODELS, manifests.model(name, self.namespace, self.pool, **spec))

    async def respec(self, name: str, **spec: Any) -> Json:
        """Change fields of a model's spec."""
        return await self.patch(MODELS, name, {"spec": spec})

    async def scale(self, name: str, replicas: int) -> None:
        """As `kubectl scale` and autoscalers do."""
        await self.patch(MODELS, name, {"spec": {"replicas": replicas}}, subresource="scale")

    async def connectivity(self, node: str, ready: str) -> None:
        """What the node lifecycle controller writes of a node that fell silent, "Unknown", or its kubelet, "True"."""
        if ready == "Unknown":
            self.kubelets.disconnect(node)
        await self.patch(NODES, node, {"status": {"conditions": [manifests.node_ready(ready)]}}, subresource="status")
        if ready != "Unknown":
            self.kubelets.reconnect(node)

    # What is seen

    async def get(self, resource: Resource, name: str) -> Json:
        return await self.client.get(resource, self._where(resource), name)

    async def all(self, resource: Resource) -> list[Json]:
        """The objects of a kind in the site's namespace, or of the whole cluster."""
        listing = await self.client.list(resource, namespace=self._where(resource))
        return list(listing.items)

    async def children(self, resource: Resource, model: str) -> list[Json]:
        """What a model has of a kind; of its pods those that serve it."""
        return [
            item
            for item in await self.all(resource)
            if item["metadata"].get("labels", {}).get(group.LABEL_MODEL) == model
            and not (resource == PODS and prefetches(item))
        ]

    async def by_node(self, resource: Resource, model: str) -> dict[str, Json]:
        """A model's slices or Deployments by the node that they are for; it must have no two on one."""
        found = await self.children(resource, model)
        named = {item["metadata"]["labels"][group.LABEL_NODE]: item for item in found}
        assert len(named) == len(found)
        return named

    async def ready(self, name: str, reason: str = "Serving") -> Json:
        """Wait until the model is Ready=True for this reason, at its present spec."""

        async def check() -> Json:
            body = await self.get(MODELS, name)
            assert verdict(body) == ("True", reason), condition(body, "Ready")
            assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
            return body

        return await eventually(check)

    async def says(self, name: str, status: str, reason: str, kind: str = "Ready", resource: Resource = MODELS) -> Json:
        """Wait until an object has this condition at its present spec."""

        async def check() -> Json:
            body = await self.get(resource, name)
            assert verdict(body, kind) == (status, reason), condition(body, kind)
            assert body["status"].get("observedGeneration") == body["metadata"]["generation"]
            return body

        return await eventually(check)

    async def serves_on(self, name: str, *nodes: str) -> Json:
        """Wait until the model serves on these nodes and no other, with one of each child there and none left over."""

        async def check() -> Json:
            body = await self.ready(name)
            found = {"status": sorted(each["node"] for each in body["status"]["nodes"])}
            for resource in (SLICES, DEPLOYMENTS):
                labels = [item["metadata"]["labels"] for item in await self.children(resource, name)]
                found[resource.plural] = sorted(each[group.LABEL_NODE] for each in labels)
            pods = await self.children(PODS, name)
            found["pods"] = sorted(pod["spec"].get("nodeName", "") for pod in pods)
            wanted = sorted(nodes)
            assert all(where == wanted for where in found.values()), f"{found}, not {wanted}"
            assert await self.children(JOBS, name) == [], "a prefetch outlived its update"
            return body

        return await eventually(check)

    async def gone(self, resource: Resource, name: str) -> None:
        """Wait until there is no such object."""

        async def check() -> None:
            try:
                await self.get(resource, name)
            except NotFound:
                return
            raise AssertionError(f"{resource.kind} {name} is still there")

        await eventually(check)

    async def events(self, name: str, namespace: str = "") -> list[Json]:
        """The Events about an object of this name, in the site's namespace or in another."""
        listing = await self.client.list(EVENTS, namespace=namespace or self.namespace)
        return [event for event in listing.items if event["involvedObject"]["name"] == name]

    # The site itself

    async def open(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        await self.create(NAMESPACES, body)

    async def close(self) -> None:
        """Take down what others would meet, without waiting; the namespace ends with the cluster."""
        self.kubelets.reset()
        for node in self._nodes:
            self.kubelets.reconnect(node)
        for resource in (MODELS, SLICES):
            for item in await self.all(resource):
                await self._remove(resource, item["metadata"]["name"])
        for node in self._nodes:
            await self._remove(NODES, node)
            await self._remove(EDGENODES, node)

    async def _remove(self, resource: Resource, name: str) -> None:
        try:
            await self.delete(resource, name)
        except (NotFound, Conflict):
            return

    def _where(self, resource: Resource) -> str | None:
        return self.namespace if resource.namespaced else None
