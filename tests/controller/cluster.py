"""A cluster of a few objects behind the client's verbs: versions, uids and refusals as an API server has them."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

from littoral.controller import kinds
from littoral.controller.errors import AlreadyExists, ApiError, Conflict, NotFound
from littoral.controller.resource import Resource
from littoral.controller.store import Store

Json = dict[str, Any]
At = tuple[Resource, str, str]


class Cluster:
    """Holds objects, counts versions, and keeps what was written, as "verb plural name"."""

    def __init__(self) -> None:
        self.objects: dict[At, Json] = {}
        self.writes: list[str] = []
        self.refuses: Callable[[str], ApiError | None] = lambda _: None
        """Asked before each write."""
        self.meanwhile: list[Callable[[], object]] = []
        """What others do right before the next write, one at each."""
        self._versions = itertools.count(1)

    def put(self, resource: Resource, body: Json) -> Json:
        """Somebody makes or changes an object."""
        meta = body["metadata"]
        meta["resourceVersion"] = str(next(self._versions))
        meta.setdefault("uid", f"uid-{meta['name']}")
        self.objects[resource, meta.get("namespace", ""), meta["name"]] = body
        return copy.deepcopy(body)

    def list_into(self, store: Store) -> None:
        """Let the store see all there is."""
        for kind in kinds.KINDS:
            listed = {at[1:]: body for at, body in self.objects.items() if at[0] == kind.resource}
            for body in listed.values():
                store.apply(kind.resource, copy.deepcopy(body))
            store.sweep(kind.resource, set(listed), next(self._versions))

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Json:
        return copy.deepcopy(self._live((resource, namespace or "", name)))

    async def create(self, resource: Resource, body: Json) -> Json:
        meta = body["metadata"]
        self._about_to(f"create {resource.plural} {meta['name']}")
        if (resource, meta.get("namespace", ""), meta["name"]) in self.objects:
            raise AlreadyExists("create", "exists")
        return self.put(resource, copy.deepcopy(body))

    async def patch_status(
        self, resource: Resource, namespace: str | None, name: str, status: Json, **guards: Any
    ) -> Json:
        self._about_to(f"patch {resource.plural} {name}")
        live = self._live((resource, namespace or "", name), **guards)
        return self.put(resource, {**live, "status": {**live.get("status", {}), **status}})

    async def delete(self, resource: Resource, namespace: str | None, name: str, **guards: Any) -> None:
        self._about_to(f"delete {resource.plural} {name}")
        at = (resource, namespace or "", name)
        self._live(at, **guards)
        del self.objects[at]

    def _about_to(self, write: str) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        refusal = self.refuses(write)
        if refusal is not None:
            raise refusal
        self.writes.append(write)

    def _live(self, at: At, *, uid: str = "", resource_version: str | None = None) -> Json:
        live = self.objects.get(at)
        if live is None:
            raise NotFound("get", f"no {at[0].kind} {at[2]}")
        meta = live["metadata"]
        if uid not in {"", meta["uid"]} or resource_version not in {None, meta["resourceVersion"]}:
            raise Conflict("patch", "the object has been modified")
        return live
