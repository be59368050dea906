"""What each namespace with a model has: one claim on one pre-bound PersistentVolume, its folder on every node.

The `baseline` Pod Security level refuses hostPath volumes in pods, but no claim on a hostPath PersistentVolume.
The folder is named by the namespace's UID, so that a namespace made again never sees its namesake's models. The
operator's own namespace has one such pair more, over all folders, once there was something to clean (cleaning.py).
"""

import asyncio
from collections import defaultdict
from typing import Any, Final

from littoral.api import group
from littoral.api.base import Metadata
from littoral.controller import kinds
from littoral.controller.kinds import Child
from littoral.controller.store import Store
from littoral.controller.work import Refused
from littoral.controller.writer import Writer
from littoral.triton import storage

_CLEANUP: Final = group.CLEANUP_CLAIM
"""The volume over all folders, which goes with the operator's namespace alone."""


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
        await self._bind(storage.persistent_volume(namespace, meta.uid), storage.claim(namespace, meta.uid))

    async def ensure_cleanup(self, namespace: str) -> None:
        """Make the volume and claim of cleaning Jobs where they are missing; `namespace` is the operator's own."""
        meta = self._store.get(kinds.NAMESPACES, ("", namespace))
        if isinstance(meta, Metadata):
            await self._bind(storage.cleanup_volume(namespace, meta.uid), storage.cleanup_claim(namespace))

    def has_cleanup(self, namespace: str) -> bool:
        """Whether both are there."""
        volume = self._store.get(kinds.VOLUMES, ("", _CLEANUP))
        return volume is not None and self._store.get(kinds.CLAIMS, (namespace, _CLEANUP)) is not None

    async def _bind(self, volume: dict[str, Any], claim: dict[str, Any]) -> None:
        """Make a volume and the claim it is bound to beforehand, where they are missing."""
        namespace = claim["metadata"]["namespace"]
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
            stale = reference.get("namespace") == namespace and key[1] not in {storage.volume_name(alive), _CLEANUP}
            if stale and not isinstance(volume, Refused):
                await self._writer.delete(kinds.VOLUMES, key, uid=volume.metadata.uid)


def _bound_before(volume: Child) -> bool:
    return bool(volume.live["spec"].get("claimRef", {}).get("uid"))
