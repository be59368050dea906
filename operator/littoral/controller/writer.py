"""The operator's writes: each answer goes into the store at once, so that the next decision sees it.

A child is first written by POST, so that a stranger's object of that name is met and never taken over; from then on by
server-side apply with its uid, and only when something of it differs from what it should be.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from littoral.api.base import ApiModel, Metadata
from littoral.controller.client import Client, Resource
from littoral.controller.drift import Tolerated
from littoral.controller.errors import AlreadyExists, Conflict, NotFound
from littoral.controller.kinds import SLICES, Child, Key
from littoral.controller.store import Store
from littoral.controller.transport import Json
from littoral.controller.work import PLAN, Refused, Work

logger = logging.getLogger(__name__)

_ROOM: Final = 1000


class NameConflictError(Exception):
    """An object that the operator must make exists already and is somebody else's."""


class Writer:
    """Writes through the client, remembers in the store, enqueues what others changed meanwhile."""

    def __init__(self, client: Client, store: Store, enqueue: Callable[[Iterable[Work]], None]) -> None:
        self._client = client
        self._store = store
        self._enqueue = enqueue
        self._tolerated = Tolerated()
        self._right: dict[tuple[Resource, Key], tuple[bytes, Any]] = {}
        """What was found to be as it should: the child's bytes, and what its desired form was made of."""
        self._room = _ROOM
        """How much of that is remembered until what is gone is forgotten."""

    async def create(self, resource: Resource, body: Json) -> Json:
        """POST; NameConflictError where the name is taken by an object that is not ours.

        Our own object of that name, left by an earlier attempt whose answer was lost, is as good as a new one.
        """
        try:
            answer = await self._client.create(resource, body)
        except AlreadyExists:
            meta = body["metadata"]
            answer = await self._client.get(resource, meta.get("namespace"), meta["name"])
            if not _same_owner(body, answer):
                raise NameConflictError(
                    f"{resource.kind} {meta['name']} exists and is not Littoral's: "
                    "rename it or the object that needs the name"
                ) from None
            self.seen(resource, answer)
            return answer
        self._store.apply(resource, answer)
        self._tolerated.learn(resource.kind, body, answer)
        return answer

    async def ensure(self, resource: Resource, key: Key, inputs: Any, build: Callable[[], Json]) -> None:
        """Make the child what `build` says, a function of `inputs`: what was found right is not built again."""
        live = self._store.get(resource, key)
        if live is None:
            await self.create(resource, build())
            return
        if not isinstance(live, Child) or self._right.get((resource, key)) == (live.packed, inputs):
            return
        desired = build()
        difference = self._tolerated.first_difference(resource.kind, desired, live.live)
        if difference is None:
            self._remember(resource, key, (live.packed, inputs))
            return
        logger.info("%s %s/%s: %s is to change", resource.kind, *key, difference)
        body = {**desired, "metadata": {**desired["metadata"], "uid": live.metadata.uid}}
        answer = await self._client.apply(resource, body)
        self._tolerated.learn(resource.kind, desired, answer)
        self._store.apply(resource, answer)

    def _remember(self, resource: Resource, key: Key, right: tuple[bytes, Any]) -> None:
        """Note what is as it should be. Children mostly go with their owners, which nobody tells the writer."""
        self._right[resource, key] = right
        if len(self._right) > self._room:
            self._right = {at: each for at, each in self._right.items() if self._store.get(*at) is not None}
            self._room = _ROOM + 2 * len(self._right)

    async def patch_status(
        self, resource: Resource, key: Key, status: Mapping[str, Any], *, uid: str, version: str | None = None
    ) -> Json:
        """Merge into the object's status; with `version`, Conflict when it has changed since."""
        answer = await self._client.patch_status(
            resource, key[0] or None, key[1], status, uid=uid, resource_version=version
        )
        before = self._store.seen(resource, key)
        if before is None or isinstance(before, Refused) or _touched(before.metadata, answer["metadata"]):
            # Nobody hears of it otherwise: its own event comes later than this answer, and is then no news.
            self._enqueue(self._store.apply(resource, answer))
        else:
            self._store.apply(resource, answer)
        return answer

    async def patch(self, resource: Resource, key: Key, patch: Mapping[str, Any], *, uid: str) -> Json:
        """Merge into the object itself."""
        answer = await self._client.patch(resource, key[0] or None, key[1], patch, uid=uid)
        self.seen(resource, answer)
        return answer

    async def read(self, resource: Resource, key: Key) -> Json | None:
        """The object as it is at this moment, which the store then knows as well; None where there is none."""
        try:
            answer = await self._client.get(resource, key[0] or None, key[1])
        except NotFound:
            return None
        self.seen(resource, answer)
        return answer

    async def delete(self, resource: Resource, key: Key, *, uid: str, version: str | None = None) -> None:
        """Delete what has this uid; what is gone already is as good."""
        try:
            await self._client.delete(resource, key[0] or None, key[1], uid=uid, resource_version=version)
        except NotFound:
            return
        except Conflict:
            if version is None:
                return  # another object has the name now: ours is gone
            raise

    def seen(self, resource: Resource, body: Json) -> None:
        """Take in an answer and enqueue what it makes worth looking at.

        A write to the ledger carries the plan out, so it asks for no other; any other answer may be the first to show
        what somebody else has just changed.
        """
        work = self._store.apply(resource, body)
        self._enqueue(work - {PLAN} if resource == SLICES else work)


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that makes `new` out of `old`; empty where they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_patch(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or value != before:
            patch[key] = value
    return patch


def status_patch(old: ApiModel, new: ApiModel) -> dict[str, Any]:
    """What to merge into an object's status so that it says `new`, zeros included: columns show what is written."""
    there = old.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return merge_patch(there, new.model_dump(mode="json", by_alias=True, exclude_none=True))


async def side_by_side(*writes: Awaitable[Any]) -> list[BaseException]:
    """Run writes to their ends, at the same time; what failed of them."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


def _touched(before: Metadata, now: Mapping[str, Any]) -> bool:
    """Whether the answer to a write of the status shows more than that: somebody changed the object meanwhile."""
    kept = (before.uid, before.generation, dict(before.annotations), dict(before.labels))
    return kept != (now["uid"], now.get("generation", 0), now.get("annotations") or {}, now.get("labels") or {})


def _owners(body: Mapping[str, Any]) -> set[str]:
    return {owner["uid"] for owner in body["metadata"].get("ownerReferences") or () if owner.get("controller")}


def _same_owner(desired: Json, live: Json) -> bool:
    """Whether an object that was there before is the one that we meant to make."""
    if _owners(desired):
        return _owners(desired) == _owners(live)
    labels = desired["metadata"].get("labels") or {}
    return bool(labels) and labels.items() <= (live["metadata"].get("labels") or {}).items()
