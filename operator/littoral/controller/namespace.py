"""What each namespace with a model has: one claim on one pre-bound PersistentVolume, its folder on every node.

The `baseline` Pod Security level refuses hostPath volumes in pods, but no claim on a hostPath PersistentVolume.
The folder is named by the namespace's UID, so that a namespace made again never sees its namesake's models.
"""

import asyncio
from collections import defaultdict

from littoral.api.base import Metadata
from littoral.controller import kinds
from littoral.controller.kinds import Child
from littoral.controller.store import Store
from littoral.controller.work import Refused
from littoral.controller.writer import Writer
from littoral.triton import storage


class Storage:
    """Keeps each namespace's volume and claim."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, namespace: str) -> None:
        """Make the namespace's volume and claim where they are missing."""
        meta = self._store.get(kinds.NAMESPACES, ("", namespace))
        if not isinstance(meta, Metadata) or meta.deletion_timestamp is not None:
            return
        volume, claim = storage.persistent_volume(namespace, meta.uid), storage.claim(namespace, meta.uid)
        volume_key = ("", volume["metadata"]["name"])
        claim_key = (namespace, claim["metadata"]["name"])
        async with self._locks[namespace]:
            live = self._store.get(kinds.VOLUMES, volume_key)
            if isinstance(live, Child) and _bound_before(live) and self._store.get(kinds.CLAIMS, claim_key) is None:
                # A volume that was bound once takes no other claim; what is on the nodes stays, and is found again.
                await self._writer.delete(kinds.VOLUMES, volume_key, uid=live.metadata.uid)
                return
            if live is None:
                await self._writer.create(kinds.VOLUMES, volume)
            if self._store.get(kinds.CLAIMS, claim_key) is None:
                await self._writer.create(kinds.CLAIMS, claim)

    async def reconcile(self, namespace: str) -> None:
        """Restore what somebody deleted while models need it; remove the volumes of namespaces that are gone."""
        if any(key[0] == namespace for key in self._store.values(kinds.MODELS)):
            await self.ensure(namespace)
        meta = self._store.get(kinds.NAMESPACES, ("", namespace))
        alive = meta.uid if isinstance(meta, Metadata) else ""
        for key, volume in self._store.values(kinds.VOLUMES).items():
            reference = volume.live.get("spec", {}).get("claimRef") or {}
            stale = reference.get("namespace") == namespace and key[1] != storage.volume_name(alive)
            if stale and not isinstance(volume, Refused):
                await self._writer.delete(kinds.VOLUMES, key, uid=volume.metadata.uid)


def _bound_before(volume: Child) -> bool:
    return bool(volume.live["spec"].get("claimRef", {}).get("uid"))
