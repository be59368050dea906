"""The verbs of the Kubernetes API that the operator uses: JSON in, JSON out, typed errors (errors.py).

Every write that follows up on an object carries its uid: a namesake that was made meanwhile is refused by the API
server as a Conflict and never touched. First writes are `create`, which takes nothing over; later ones are `apply`.

How a request travels and what is retried: transport.py.
"""

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, overload

from littoral.api.group import MANAGER
from littoral.controller.errors import Conflict, Gone
from littoral.controller.fieldmanager import upgrade_to_apply
from littoral.controller.resource import Resource
from littoral.controller.transport import ATTEMPTS, POOL, Call, Json, Transport, connect
from littoral.telemetry.metrics import Metrics

__all__ = ["Client", "Listing", "Resource"]

T = TypeVar("T")

_METHODS: Final = {
    "get": "GET", "list": "GET", "create": "POST", "patch": "PATCH", "apply": "PATCH", "delete": "DELETE",
}  # fmt: skip
_MERGE: Final = "application/merge-patch+json"
_JSON_PATCH: Final = "application/json-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
"""JSON is YAML."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All objects of a kind at one moment."""

    items: tuple[T, ...]
    resource_version: str
    """Of that moment: what is newer was not seen."""


class Client:
    """An async context manager; `manager` is the field manager of all writes."""

    def __init__(self, transport: Transport, *, manager: str = MANAGER) -> None:
        self.manager = manager
        self._transport = transport
        self._owned_by_apply: set[str] = set()
        """Objects (uids) that have no Update entry of ours any more; `patch` of one takes it out again."""

    @classmethod
    async def connect(
        cls, kubeconfig: Path | None = None, *, metrics: Metrics, context: str | None = None, pool: int = POOL
    ) -> Self:
        """Log in with the kubeconfig, else as the pod's service account, else with the user's default kubeconfig.

        ConfigurationError (transport.py) when none of these can be used.
        """
        return cls(await connect(kubeconfig, context, metrics, pool))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Json:
        """Read one object. NotFound when there is none."""
        return await self._transport.send(_call("get", resource, namespace, name))

    @overload
    async def list(
        self,
        resource: Resource,
        *,
        label_selector: str | None = ...,
        field_selector: str | None = ...,
        namespace: str | None = ...,
        page: int = ...,
    ) -> Listing[Json]: ...

    @overload
    async def list(
        self,
        resource: Resource,
        *,
        project: Callable[[Json], T],
        label_selector: str | None = ...,
        field_selector: str | None = ...,
        namespace: str | None = ...,
        page: int = ...,
    ) -> Listing[T]: ...

    async def list(
        self,
        resource: Resource,
        *,
        project: Callable[[Json], Any] | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        namespace: str | None = None,
        page: int = 500,
    ) -> Listing[Any]:
        """Read all objects, `page` at a time, each passed through `project` so that bodies do not pile up.

        Items carry their apiVersion and kind, which the API leaves out of lists. All pages show one moment; when that
        has become too old for the server (410), the list is read anew in one piece, as client-go does.
        """
        selectors = (("labelSelector", label_selector), ("fieldSelector", field_selector))
        selector = tuple((name, value) for name, value in selectors if value)
        collection = _call("list", resource, namespace)
        try:
            return await self._list(resource, collection, project, (*selector, ("limit", str(page))))
        except Gone:
            return await self._list(resource, collection, project, selector)

    async def _list(
        self,
        resource: Resource,
        collection: Call,
        project: Callable[[Json], Any] | None,
        query: tuple[tuple[str, str], ...],
    ) -> Listing[Any]:
        items: builtins.list[Any] = []
        token = ""
        while True:
            call = replace(collection, query=(*query, ("continue", token)) if token else query)
            answer = await self._transport.send(call)
            for item in answer.get("items") or ():
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item if project is None else project(item))
            token = answer["metadata"].get("continue", "")
            if not token:
                return Listing(tuple(items), answer["metadata"]["resourceVersion"])

    async def create(self, resource: Resource, body: Json) -> Json:
        """Write a new object and return it as stored.

        AlreadyExists says that something has this name: a stranger's object, or our own when an earlier answer was
        lost. Only the caller can tell, by the owner that the object names.
        """
        metadata = body["metadata"]
        call = _call("create", resource, metadata.get("namespace"))
        return await self._transport.send(
            replace(
                call,
                subject=f"{call.subject}/{metadata['name']}",
                body=body,
                query=(("fieldManager", self.manager),),
                repeatable=False,
            )
        )

    async def apply(self, resource: Resource, body: Json) -> Json:
        """Server-side apply with force: afterwards the object has what `body` says, and nothing else of ours.

        `body` carries metadata.uid; without it an apply would create what is missing and take over what is a
        stranger's. NotFound when the object is gone; Conflict when it is another one, or changes again and again during
        the upgrade described next.

        Fields written by `create` or `patch` belong to this manager's Update entry, which an apply does not touch: a
        field left out of `body` would stay for ever. Such an entry is first turned into an Apply entry, which needs
        a read (fieldmanager.py), once for each object and process.
        """
        metadata = body["metadata"]
        namespace, name, uid = metadata.get("namespace"), metadata["name"], metadata["uid"]
        if uid not in self._owned_by_apply:
            await self._own_by_apply(resource, namespace, name, uid)
            self._owned_by_apply.add(uid)
        call = _call("apply", resource, namespace, name)
        query = (("fieldManager", self.manager), ("force", "true"))
        return await self._transport.send(replace(call, body=body, content_type=_APPLY, query=query))

    async def _own_by_apply(self, resource: Resource, namespace: str | None, name: str, uid: str) -> None:
        """Upgrade our Update entry, if any; read anew when the object (often its status) was written meanwhile."""
        for attempt in range(1, ATTEMPTS + 1):
            live = await self.get(resource, namespace, name)
            found, version = live["metadata"]["uid"], live["metadata"]["resourceVersion"]
            if found != uid:
                raise Conflict(f"apply {resource.plural} {name}", f"the object was made again: uid {found}, not {uid}")
            upgrade = upgrade_to_apply(live["metadata"], self.manager)
            if upgrade is None:
                return
            try:
                await self.patch(resource, namespace, name, upgrade, uid=uid, resource_version=version)
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        uid: str,
        resource_version: str | None = None,
        subresource: str = "",
    ) -> Json:
        """Patch the object of this uid: a mapping is a merge patch, a sequence a JSON patch (RFC 7386, RFC 6902).

        With `resource_version`, Conflict when the object has changed since. What is written so to the object itself is
        taken back by a later `apply` whose body lacks it.
        """
        if not subresource:
            self._owned_by_apply.discard(uid)
        identity = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        call = _call("patch", resource, namespace, name, subresource)
        call = replace(call, query=(("fieldManager", self.manager),))
        if isinstance(patch, Mapping):
            merged = {**patch, "metadata": {**patch.get("metadata", {}), **identity}}
            return await self._transport.send(replace(call, body=merged, content_type=_MERGE))
        # "replace" and not "test": the API server answers a stale value with 409 and a failed test with 422.
        guards = [{"op": "replace", "path": f"/metadata/{key}", "value": value} for key, value in identity.items()]
        return await self._transport.send(
            replace(call, body=[*guards, *patch], content_type=_JSON_PATCH, repeatable=False)
        )

    async def patch_status(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        status: Mapping[str, Any],
        *,
        uid: str,
        resource_version: str | None = None,
    ) -> Json:
        """Merge `status` into the object's status (None removes a key, a list is replaced whole); return the object.

        With `resource_version`, Conflict when the object has changed since: for the ledger's writes.
        """
        return await self.patch(
            resource,
            namespace,
            name,
            {"status": status},
            uid=uid,
            resource_version=resource_version,
            subresource="status",
        )

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, resource_version: str | None = None
    ) -> None:
        """Delete the object of this uid, its dependents in the background.

        NotFound when it is gone; Conflict when it is another one, or not at `resource_version`.
        """
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {}),
        }
        await self._transport.send(replace(_call("delete", resource, namespace, name), body=body))


def _call(verb: str, resource: Resource, namespace: str | None, name: str | None = None, subresource: str = "") -> Call:
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    where = "/".join(part for part in (namespace, name) if part)
    return Call(
        verb=verb,
        method=_METHODS[verb],
        path=resource.path(namespace, name, subresource),
        resource=what,
        subject=f"{what} {where}".rstrip(),
    )
