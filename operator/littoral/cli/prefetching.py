"""What `littoral prefetch` does: a Job on each node that may come to serve a model, and what becomes of them.

The Jobs are those by which the operator itself prepares an update, made here with the rights of the person who asks.
They belong to no slice, pin nothing, and stay for a while after their end, so that the kubelet spares the image.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from littoral.api.group import CACHE_CLAIM
from littoral.api.inferencemodel import InferenceModel
from littoral.cli.documents import BadInputError
from littoral.controller import kinds
from littoral.controller.client import Client
from littoral.controller.errors import AlreadyExists, ApiError, Forbidden, NotFound
from littoral.placement.candidates import Target
from littoral.triton import metadata, namespace_policy, prefetch_job, revision
from littoral.triton.errors import Unservable
from littoral.triton.namespace_policy import NamespacePolicy
from littoral.triton.prefetch import Prefetch
from littoral.triton.revision import Frozen

_INTERVAL: Final = 1.0
"""Seconds between two looks at a Job."""
_PROJECT: Final = {kind.resource: kind.project for kind in kinds.KINDS}


@dataclass(frozen=True, slots=True)
class Order:
    """One node, and what it is to hold."""

    node: str
    model: kinds.Key
    variant: str
    frozen: Frozen
    job: dict[str, Any]

    @property
    def subject(self) -> str:
        """What people call it."""
        return f"{self.node}: {self.model[1]}/{self.variant}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far an order has come: ready, failed for good (the message says why), or neither yet."""

    order: Order
    ready: bool = False
    failed: bool = False
    message: str = "waiting"

    @property
    def data(self) -> dict[str, Any]:
        """As JSON."""
        state = "ready" if self.ready else "failed" if self.failed else "waiting"
        namespace, name = self.order.model
        subject = {"node": self.order.node, "namespace": namespace, "model": name, "variant": self.order.variant}
        return subject | {"state": state, "message": self.message}


async def orders(
    client: Client, model: InferenceModel, targets: Iterable[Target], *, image: str, keep: int
) -> list[Order]:
    """What to bring to the targets.

    A revision that the operator has frozen is brought as it is; another is resolved with the present catalogue and
    `image`, Littoral's own. `keep` is how many seconds a Job stays after its end. BadInputError, ApiError.
    """
    policy = await _policy(client, model.metadata.namespace)
    known: dict[str, Frozen | Unservable] = {}
    wanted: list[Order] = []
    for target in targets:
        name = _revision(model, target)
        if name not in known:
            known[name] = await _frozen(client, model, target, name, image, policy)
        found = known[name]
        if isinstance(found, Unservable):
            raise BadInputError([str(found)])
        owner = metadata.alone(model.metadata)
        try:
            job = prefetch_job.build(owner, found, target.node, of=None, slices=None, quota=policy.quota, ttl=keep)
        except Unservable as error:
            raise BadInputError([str(error)]) from None
        wanted.append(Order(target.node, model.metadata.key, target.variant, found, job))
    return wanted


async def bring(
    client: Client,
    wanted: Sequence[Order],
    *,
    parallel: int,
    timeout: float,  # noqa: ASYNC109 (of the wait alone: the Jobs go on)
    say: Callable[[str], None],
) -> list[Outcome]:
    """Make the Jobs, `parallel` of them at a time, and wait for `timeout` seconds until each has ended."""
    gate, deadline = asyncio.Semaphore(parallel), time.monotonic() + timeout

    async def one(order: Order) -> Outcome:
        async with gate:
            if time.monotonic() > deadline:
                return Outcome(order, message="not begun in time")
            return await _bring(client, order, deadline, say)

    return list(await asyncio.gather(*(one(order) for order in wanted)))


async def start(client: Client, wanted: Sequence[Order]) -> list[Outcome]:
    """Make the Jobs, and wait for none."""
    for order in wanted:
        while not await _begin(client, order):  # noqa: ASYNC110 (the other side is the API server)
            await asyncio.sleep(_INTERVAL)
    return [Outcome(order, message="begun") for order in wanted]


async def _bring(client: Client, order: Order, deadline: float, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(order, message="not begun in time")
    try:
        while not (begun := await _begin(client, order)) and time.monotonic() <= deadline:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(_INTERVAL)
        while begun:
            seen = await _look(client, order)
            if seen.message != outcome.message:
                say(f"{order.subject}: {seen.message}")
            outcome = seen
            if seen.ready or seen.failed or time.monotonic() > deadline:
                break
            await asyncio.sleep(_INTERVAL)
        if outcome.failed:
            await _delete(client, order)  # else the kubelet would try for ever what never heals
    except ApiError as error:
        say(f"{order.subject}: {error}")
        return Outcome(order, failed=True, message=str(error))
    return outcome


async def _begin(client: Client, order: Order) -> bool:
    """Make the Job, if the name is free; whether it is there.

    One that is under way already is as good. One that has ended may tell of another day's cache, and is deleted.
    """
    try:
        await client.create(kinds.JOBS, order.job)
    except AlreadyExists:
        body = await _job(client, order)
        if body is None or body["metadata"].get("deletionTimestamp") is not None:
            return False
        if _PROJECT[kinds.JOBS](body).ended is None:
            return True
        await _delete(client, order)
        return False
    return True


async def _look(client: Client, order: Order) -> Outcome:
    body = await _job(client, order)
    if body is None:
        return Outcome(order, failed=True, message="somebody deleted its Job")
    job = replace(_PROJECT[kinds.JOBS](body), made_on="", interrupted=False)
    selector = f"batch.kubernetes.io/job-name={job.name}"
    pods = await client.list(kinds.PODS, project=_PROJECT[kinds.PODS], label_selector=selector, namespace=job.namespace)
    seen = Prefetch((job,), tuple(pods.items), size=prefetch_job.size(order.frozen)).seen(order.frozen.name)
    if seen.arrived:
        return Outcome(order, ready=True, message="ready")
    return Outcome(order, failed=seen.terminal or bool(job.failed), message=seen.message.removeprefix("prefetch: "))


async def _job(client: Client, order: Order) -> dict[str, Any] | None:
    meta = order.job["metadata"]
    try:
        return await client.get(kinds.JOBS, meta["namespace"], meta["name"])
    except NotFound:
        return None


async def _delete(client: Client, order: Order) -> None:
    body = await _job(client, order)
    if body is not None:
        meta = body["metadata"]
        await client.delete(kinds.JOBS, meta["namespace"], meta["name"], uid=meta["uid"])


def _revision(model: InferenceModel, target: Target) -> str:
    variant = next(each for each in model.spec.variants if each.name == target.variant)
    return revision.revision_name(model, variant, target.platform.profile.name, target.platform.stack.name)


async def _policy(client: Client, namespace: str) -> NamespacePolicy:
    """What the namespace says of its models; its cache must be there, for only the operator may make one."""
    try:
        await client.get(kinds.CLAIMS, namespace, CACHE_CLAIM)
    except NotFound:
        raise BadInputError(
            [f"namespace {namespace} has no model cache yet: apply a model in it first, with replicas 0 if need be"]
        ) from None
    try:
        meta = (await client.get(kinds.NAMESPACES, None, namespace))["metadata"]
        return namespace_policy.read(namespace, meta.get("labels") or {}, meta.get("annotations") or {})
    except Forbidden:
        return namespace_policy.NONE  # the fetch container's own defaults; the operator enforces the rest
    except Unservable as error:
        raise BadInputError([str(error)]) from None


async def _frozen(  # noqa: PLR0917 (a helper of one caller)
    client: Client, model: InferenceModel, target: Target, name: str, image: str, policy: NamespacePolicy
) -> Frozen | Unservable:
    try:
        body = await client.get(kinds.REVISIONS, model.metadata.namespace, name)
        return revision.read(body)
    except NotFound:
        pass
    except (KeyError, TypeError, ValueError):
        raise BadInputError([f"ControllerRevision {name} exists and is not Littoral's"]) from None
    if not image:
        raise BadInputError(
            [f"{model.metadata.name}: its revision is not frozen yet: name Littoral's own image with --image"]
        )
    variant = next(each for each in model.spec.variants if each.name == target.variant)
    try:
        return revision.freeze(model, variant, target.platform, fetch_image=image, number=0, policy=policy)
    except Unservable as error:
        return error
