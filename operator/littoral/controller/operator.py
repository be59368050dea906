"""The operator as a process: log in, hold the Lease, list everything, then work until told to stop.

kopf's watches ─┐
                ├─> Store ──> WorkQueue ──> workers ──> Reconciler ──> Writer ──> API server
resync's LISTs ─┘                                                        └─> Store, at once
"""

import asyncio
import gc
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from littoral.api import group
from littoral.controller import transport
from littoral.controller.caches import Caches
from littoral.controller.catalogue import CatalogueInForce
from littoral.controller.cleaning import Cleaning
from littoral.controller.client import Client, Resource
from littoral.controller.edgenode import EdgeNodes
from littoral.controller.election import Election
from littoral.controller.errors import NotFound
from littoral.controller.groups import Groups
from littoral.controller.kinds import KINDS, Key
from littoral.controller.model import Models
from littoral.controller.namespace import Storage
from littoral.controller.reconcile import Reconciler, enqueue_all
from littoral.controller.reservation import Reservations
from littoral.controller.revisions import Revisions
from littoral.controller.servers import Servers
from littoral.controller.slices import Slices
from littoral.controller.snapshots import Snapshots
from littoral.controller.store import Store
from littoral.controller.watch import watch
from littoral.controller.work import PLAN, Work
from littoral.controller.workers import run_workers
from littoral.controller.workqueue import Priority, WorkQueue
from littoral.controller.writer import Writer
from littoral.settings import Settings
from littoral.telemetry.events import EventRecorder
from littoral.telemetry.health import HealthServer
from littoral.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_EVENTS: Final = Resource("", "v1", "events", "Event", namespaced=True)
_CONNECTIONS_BESIDE: Final = 16
"""Connections besides one for each worker: writes that go side by side, the Lease, the resync, Events."""

_WATCHES_BEGUN: Final = 5.0
"""Seconds from kopf's start to when all its watches have listed."""


class NotInstalledError(Exception):
    """The cluster does not know one of the kinds that the operator reads."""


Connect = Callable[[Settings, Metrics], Awaitable[Client]]


async def _connect(settings: Settings, metrics: Metrics) -> Client:
    pool = settings.workers + _CONNECTIONS_BESIDE
    return await Client.connect(settings.kubeconfig, metrics=metrics, context=settings.context, pool=pool)


async def run(
    settings: Settings, *, stop: asyncio.Event, ready: asyncio.Event | None = None, connect: Connect = _connect
) -> None:
    """Be the operator until `stop` is set; `ready` is set once it watches.

    `connect` opens the client by which all is listed and written; the watches log in by the settings alone.
    LeaseLost, ConfigurationError and NotInstalledError, bare or in an ExceptionGroup, end it with a sentence.
    """
    metrics = Metrics(process=True)
    async with await connect(settings, metrics) as client:
        store = Store()
        election = Election(client, settings.namespace, group.LEASE_NAME, metrics=metrics)
        checks = {"synced": lambda: None if store.synced else "not listed yet"}
        async with HealthServer(metrics, ready=checks, host=settings.health_host, port=settings.health_port) as health:
            logger.info("health and metrics on port %d", health.port)
            await _unless(stop, election.acquire())
            if stop.is_set():
                return
            try:
                async with asyncio.TaskGroup() as tasks:
                    renewal = tasks.create_task(election.renew_until_lost())
                    events = EventRecorder(partial(client.create, _EVENTS), metrics=metrics, instance=election.identity)
                    await _work(client, store, settings, events=events, metrics=metrics, stop=stop, ready=ready)
                    renewal.cancel()
            finally:
                await election.release()


async def _unless(stop: asyncio.Event, waited: Coroutine[Any, Any, None]) -> None:
    """Wait for one thing, or for the word to stop."""
    tasks: set[asyncio.Task[Any]] = {asyncio.create_task(waited), asyncio.create_task(stop.wait())}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


async def _work(
    client: Client,
    store: Store,
    settings: Settings,
    *,
    events: EventRecorder,
    metrics: Metrics,
    stop: asyncio.Event,
    ready: asyncio.Event | None,
) -> None:
    """List, then watch and reconcile."""
    queue: WorkQueue[Work] = WorkQueue(observe_wait=metrics.workqueue_latency.observe)
    metrics.watch_queue(lambda: len(queue))
    reconciler = _reconciler(client, store, queue, events, settings)

    def observe(resource: Resource, body: Mapping[str, Any], deleted: bool) -> None:
        enqueue_all(queue, store.apply(resource, body, deleted=deleted), Priority.HIGH)

    await resync(client, store, queue, settings.namespace)
    store.synced = True
    gc.freeze()  # what was listed mostly stays: the collector need not walk through it again and again
    queue.add(PLAN, Priority.HIGH)
    login = partial(transport.load, settings.kubeconfig, settings.context)
    watching = ready or asyncio.Event()
    workers = run_workers(queue, reconciler, settings.workers, metrics=metrics, controller=lambda work: work.controller)
    async with asyncio.TaskGroup() as tasks:
        beside = [
            tasks.create_task(workers),
            tasks.create_task(events.run()),
            tasks.create_task(_resync_often(client, store, queue, settings, watching)),
        ]
        await asyncio.sleep(0)  # the workers are there first: kopf waits 5 s, at its end, for tasks that came after it
        await watch(observe, login=login, namespace=settings.namespace, ready=watching, stop=stop)
        for task in beside:
            task.cancel()


def _reconciler(
    client: Client, store: Store, queue: WorkQueue[Work], events: EventRecorder, settings: Settings
) -> Reconciler:
    """Wire the parts."""
    writer = Writer(client, store, lambda work: enqueue_all(queue, work, Priority.HIGH))
    slices = Slices(store, writer)
    storage = Storage(store, writer)
    caches = Caches(store, writer)
    catalogue = CatalogueInForce(store, events)
    revisions = Revisions(store, writer, catalogue=catalogue, fetch_image=settings.fetch_image)
    servers = Servers(store, writer, slices=slices, storage=storage, caches=caches, revisions=revisions)
    return Reconciler(
        store,
        queue,
        writer,
        models=Models(store, writer, servers, events),
        groups=Groups(store, writer, servers, events),
        nodes=EdgeNodes(store, queue, writer, catalogue=catalogue, refusal_grace=settings.refusal_grace),
        storage=storage,
        cleaning=Cleaning(
            store,
            writer,
            caches=caches,
            storage=storage,
            events=events,
            namespace=settings.namespace,
            image=settings.fetch_image,
        ),
        reservations=Reservations(store, writer, slices),
        snapshots=Snapshots(store, catalogue),
        events=events,
    )


async def resync(client: Client, store: Store, queue: WorkQueue[Work], namespace: str) -> None:
    """List every kind, page by page, into the store: what a watch may have missed is found here.

    Raises NotInstalledError where the cluster does not know a kind.
    """
    for kind in KINDS:
        resource = kind.resource
        work: set[Work] = set()

        def take(body: Mapping[str, Any], *, resource: Resource = resource, work: set[Work] = work) -> Key:
            work |= store.apply(resource, body)
            meta = body["metadata"]
            return meta.get("namespace", ""), meta["name"]

        try:
            listing = await client.list(
                resource,
                project=take,
                label_selector=kind.selector,
                field_selector=f"metadata.name={kind.name}" if kind.name else None,
                namespace=namespace if kind.name else None,
            )
        except NotFound:
            missing = f"{resource.plural}.{resource.group}"
            raise NotInstalledError(
                f"the cluster has no {missing}: install config/ (kubectl apply -k config)"
            ) from None
        work |= store.sweep(resource, set(listing.items), int(listing.resource_version))
        enqueue_all(queue, work, Priority.LOW)


async def _resync_often(
    client: Client, store: Store, queue: WorkQueue[Work], settings: Settings, watching: asyncio.Event
) -> None:
    """The resync at intervals; the first when the watches have begun, for what went between the LIST and them."""
    await watching.wait()
    pause = _WATCHES_BEGUN
    while True:
        await asyncio.sleep(pause)
        pause = settings.resync * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
        try:
            await resync(client, store, queue, settings.namespace)
        except Exception:
            logger.exception("the resync failed and is tried again in about %g s", settings.resync)
