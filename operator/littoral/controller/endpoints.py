"""The EndpointSlices of models on shared servers: written as they should be, and taken away where none should be."""

from collections.abc import Iterable

from littoral.api.inferencemodel import InferenceModel
from littoral.controller import kinds
from littoral.controller.kinds import Child
from littoral.controller.store import Store
from littoral.controller.transport import Json
from littoral.controller.writer import Writer, side_by_side


class Endpoints:
    """Reads and writes them."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def ensure(self, model: InferenceModel, wanted: Iterable[Json] = ()) -> None:
        """Make the model's EndpointSlices these and no others; none for a model with servers of its own.

        Raises the first of what went wrong, when all has been tried.
        """
        desired = {body["metadata"]["name"]: body for body in wanted}
        there = self._store.of_owner(kinds.ENDPOINTSLICES, model.metadata.key)
        stale = [child for name, child in there.items() if name not in desired and isinstance(child, Child)]
        errors = await side_by_side(
            *(self._write(body) for body in desired.values()),
            *(
                self._writer.delete(kinds.ENDPOINTSLICES, child.metadata.key, uid=child.metadata.uid)
                for child in stale
                if child.metadata.deletion_timestamp is None
            ),
        )
        if errors:
            raise errors[0]

    async def _write(self, body: Json) -> None:
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        inputs = repr((body["endpoints"], body["ports"], body["metadata"]["ownerReferences"]))
        await self._writer.ensure(kinds.ENDPOINTSLICES, key, inputs, lambda: body)
