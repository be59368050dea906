"""The operator as a process: log in, hold the Lease, list everything, then work until told to stop or the Lease is lost."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from littoral.api import group
from littoral.controller import transport
from littoral.controller.client import Client, Resource
from littoral.controller.election import Election
from littoral.controller.errors import NotFound
from littoral.controller.kinds import KINDS, Key
from littoral.controller.model import Models
from littoral.controller.namespace import Storage
from littoral.controller.reconcile import Reconciler, enqueue_all
from littoral.controller.reservation import Reservations
from littoral.controller.slices import Slices
from littoral.controller.store import PLAN, Store, Work
from littoral.controller.watch import watch
from littoral.controller.workers import run_workers
from littoral.controller.workqueue import Priority, WorkQueue
from littoral.controller.writer import Writer
from littoral.settings import Settings
from littoral.telemetry.events import EventRecorder
from littoral.telemetry.health import HealthServer
from littoral.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_EVENTS = Resource("", "v1", "events", "Event", namespaced=True)


class NotInstalledError(Exception):
    """The cluster does not know one of the kinds that the operator reads."""


Connect = Callable[[Settings, Metrics], Awaitable[Client]]


async def _connect(settings: Settings, metrics: Metrics) -> Client:
    return await Client.connect(settings.kubeconfig, metrics=metrics, context=settings.context)


async def run(
    settings: Settings, *, stop: asyncio.Event, ready: asyncio.Event | None = None, connect: Connect = _connect
) -> None:
    """Be the operator until `stop` is set. LeaseLost, ConfigurationError and NotInstalledError end it with a sentence.

    `connect` opens the client by which all is listed and written; the watches log in by the settings.
    """
    metrics = Metrics(process=True)
    async with await connect(settings, metrics) as client:
        store = Store()
        election = Election(client, settings.namespace, group.LEASE_NAME, metrics=metrics)
        checks = {"synced": lambda: None if store.synced else "not listed yet"}
        async with HealthServer(metrics, ready=checks, host=settings.health_host, port=settings.health_port) as health:
            logger.info("health and metrics on port %d", health.port)
            await _until(stop, election.acquire())
            if stop.is_set():
                return
            try:
                async with asyncio.TaskGroup() as tasks:
                    renewal = tasks.create_task(election.renew_until_lost())
                    await _work(client, store, settings, metrics, stop, ready or asyncio.Event())
                    renewal.cancel()
            except* NotInstalledError as failures:
                raise failures.exceptions[0] from None
            finally:
                await election.release()


async def _until(stop: asyncio.Event, waited: Any) -> None:
    """Wait for one thing, or for the word to stop."""
    first, second = asyncio.ensure_future(waited), asyncio.ensure_future(stop.wait())
    done, pending = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


async def _work(
    client: Client, store: Store, settings: Settings, metrics: Metrics, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """List, then watch and reconcile."""
    queue: WorkQueue[Work] = WorkQueue(observe_wait=metrics.workqueue_latency.observe)
    metrics.workqueue_depth.set_function(lambda: len(queue))
    events = EventRecorder(partial(client.create, _EVENTS), metrics=metrics)
    reconciler = _reconciler(client, store, queue, events, settings)

    def observe(resource: Resource, body: Mapping[str, Any], deleted: bool) -> None:
        enqueue_all(queue, store.apply(resource, body, deleted=deleted), Priority.HIGH)

    await resync(client, store, queue, settings.namespace)
    store.synced = True
    queue.add(PLAN, Priority.HIGH)
    login = partial(transport.load, settings.kubeconfig, settings.context)
    async with asyncio.TaskGroup() as tasks:
        helpers = [
            tasks.create_task(events.run()),
            tasks.create_task(_resync_often(client, store, queue, settings)),
            tasks.create_task(
                run_workers(
                    queue, reconciler, settings.workers, metrics=metrics, controller=lambda work: work.controller
                )
            ),
        ]
        await watch(observe, login=login, namespace=settings.namespace, ready=ready, stop=stop)
        for helper in helpers:
            helper.cancel()


def _reconciler(
    client: Client, store: Store, queue: WorkQueue[Work], events: EventRecorder, settings: Settings
) -> Reconciler:
    """Wire the parts."""
    writer = Writer(client, store, lambda work: enqueue_all(queue, work, Priority.HIGH))
    slices = Slices(store, writer)
    storage = Storage(store, writer)
    reconciler: Reconciler
    models = Models(
        store,
        writer,
        slices=slices,
        storage=storage,
        catalogue=lambda: reconciler.catalogue(),
        fetch_image=settings.fetch_image,
    )
    reconciler = Reconciler(
        store,
        queue,
        writer,
        models=models,
        storage=storage,
        reservations=Reservations(store, writer, slices),
        events=events,
    )
    return reconciler


async def resync(client: Client, store: Store, queue: WorkQueue[Work], namespace: str) -> None:
    """List every kind, page by page, into the store: what a watch may have missed is found here, deletions above all."""
    for kind in KINDS:
        resource = kind.resource
        listed: set[Key] = set()
        work: set[Work] = set()

        def take(body: Mapping[str, Any], *, resource: Resource = resource, listed: set[Key] = listed) -> set[Work]:
            meta = body["metadata"]
            listed.add((meta.get("namespace", ""), meta["name"]))
            return store.apply(resource, body)

        try:
            listing = await client.list(
                resource,
                project=take,
                label_selector=kind.selector,
                field_selector=f"metadata.name={kind.name}" if kind.name else None,
                namespace=namespace if kind.name else None,
            )
        except NotFound:
            raise NotInstalledError(
                f"the cluster has no {resource.plural}.{resource.group}: install the CRDs first (kubectl apply -k config)"
            ) from None
        work = store.sweep(resource, listed, int(listing.resource_version)).union(*listing.items)
        enqueue_all(queue, work, Priority.LOW)


async def _resync_often(client: Client, store: Store, queue: WorkQueue[Work], settings: Settings) -> None:
    """The resync at intervals; one that fails is tried again at the next."""
    while True:
        await asyncio.sleep(settings.resync * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load, guards nothing
        try:
            await resync(client, store, queue, settings.namespace)
        except Exception:
            logger.exception("the resync failed and is tried again in %g s", settings.resync)
