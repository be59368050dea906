"""Which namespaces have a model cache on which machine: EdgeNode.status.caches, written before the first pod there.

The note is what remains of a namespace that is deleted: by it its folders are found and removed (cleaning.py). So it is
written before anything can make the folder, and taken back after the folder is gone, never the other way round.

This module alone writes the field. A merge patch replaces a list whole, so each write names the resourceVersion that it
was drawn from: what another operator wrote meanwhile is read, and counts.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from littoral.api.base import Metadata
from littoral.api.edgenode import MAX_CACHES, EdgeNode, NamespaceCache
from littoral.controller import kinds
from littoral.controller.errors import Conflict
from littoral.controller.store import Store
from littoral.controller.writer import Writer

Noted = tuple[NamespaceCache, ...]
_ATTEMPTS: Final = 4
"""Writes of one change; others write to an EdgeNode once in a while."""


class TooManyCachesError(Exception):
    """No further namespace can have a model cache on the machine."""


class Caches:
    """Reads and writes the notes."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def noted(self, namespace: str, node: str) -> bool:
        """Whether pods of the namespace may begin on the node: not before its EdgeNode says so."""
        mine, edge = self._mine(namespace), self._store.get(kinds.EDGENODES, ("", node))
        return isinstance(edge, EdgeNode) and mine is not None and mine.uid in {each.uid for each in edge.status.caches}

    async def note(self, namespace: str, node: str) -> None:
        """Note the namespace on the node's EdgeNode, unless it is noted, or there is none yet. TooManyCachesError."""
        mine = self._mine(namespace)
        if mine is None or self.noted(namespace, node):
            return

        def with_mine(caches: Noted) -> Noted:
            if mine.uid in {each.uid for each in caches}:
                return caches
            if len(caches) >= MAX_CACHES:
                raise TooManyCachesError(
                    f"EdgeNode {node} has model caches of {MAX_CACHES} namespaces, which is the most that it can have: "
                    "delete namespaces that are not needed, or place the model elsewhere"
                )
            return (*caches, mine)

        await self._change(node, with_mine)

    async def forget(self, node: str, uid: str) -> None:
        """Take the note of a namespace back: its folder is gone from the node."""
        await self._change(node, lambda caches: tuple(each for each in caches if each.uid != uid))

    def _mine(self, namespace: str) -> NamespaceCache | None:
        meta = self._store.get(kinds.NAMESPACES, ("", namespace))
        if not isinstance(meta, Metadata) or meta.deletion_timestamp is not None:
            return None
        return NamespaceCache(uid=meta.uid, namespace=namespace)

    async def _change(self, node: str, change: Callable[[Noted], Noted]) -> None:
        async with self._locks[node]:
            for attempt in range(1, _ATTEMPTS + 1):
                edge = self._store.get(kinds.EDGENODES, ("", node))
                if not isinstance(edge, EdgeNode) or (caches := change(edge.status.caches)) == edge.status.caches:
                    return
                meta, version = edge.metadata, edge.metadata.resource_version or None
                patch = {"caches": [each.model_dump(mode="json", by_alias=True) for each in caches]}
                try:
                    await self._writer.patch_status(kinds.EDGENODES, meta.key, patch, uid=meta.uid, version=version)
                except Conflict:
                    if attempt == _ATTEMPTS or await self._writer.read(kinds.EDGENODES, meta.key) is None:
                        raise
                else:
                    return
