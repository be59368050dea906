"""The catalogue in force: the shipped one, extended by the ConfigMap, read anew when that changes."""

import logging

from littoral.accelerators import catalogue as shipped
from littoral.accelerators.catalogue import Catalogue
from littoral.api import group
from littoral.controller import kinds
from littoral.controller.kinds import Catalogued
from littoral.controller.store import Store
from littoral.telemetry.events import EventRecorder, Subject

logger = logging.getLogger(__name__)


class CatalogueInForce:
    """Keeps the merged catalogue; a broken entry is refused by an Event on the ConfigMap, the rest goes on."""

    def __init__(self, store: Store, events: EventRecorder) -> None:
        self._store = store
        self._events = events
        self._extension: Catalogued | None = None
        self._merged = shipped.load()

    def __call__(self) -> Catalogue:
        """The catalogue; the same value for as long as the ConfigMap is the same."""
        found = self._store.values(kinds.CONFIGMAPS).values()
        extension: Catalogued | None = next(iter(found), None)
        if extension is not self._extension:
            self._extension, self._merged = extension, self._merge(extension)
        return self._merged

    def _merge(self, extension: Catalogued | None) -> Catalogue:
        merged = shipped.load()
        if extension is None:
            return merged
        meta = extension.metadata
        subject = Subject("v1", "ConfigMap", meta.namespace, meta.name, meta.uid)
        for name, text in sorted(extension.data.items()):
            merged, problems = shipped.extend(merged, f"ConfigMap {group.CATALOGUE_CONFIGMAP}, key {name}", text)
            for problem in problems:
                logger.warning("%s", problem)
                self._events.record(subject, "Warning", "EntryRefused", str(problem))
        return merged
