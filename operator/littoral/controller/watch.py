"""The edge towards the API server's watches, and the only module that imports kopf.

kopf brings discovery, the watch streams with their reconnections, and signals. Of its handlers only `on.event` is used,
and none returns a result or touches the patch: kopf keeps no state here and writes nothing. An event goes into the
store, what follows from it into the queue, and that is all.

kopf replays a list after a broken watch without saying what vanished meanwhile; the resync is there for that.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf
from kubernetes.aio.client.configuration import Configuration

from littoral.controller.client import Resource
from littoral.controller.kinds import KINDS
from littoral.controller.transport import Login

Observe = Callable[[Resource, Mapping[str, Any], bool], None]
"""Takes one object as the API server sent it, and whether it was deleted."""

_SERVER_TIMEOUT: Final = 540
"""Seconds after which the API server ends a watch, a little before the client would."""


class _Stateless(kopf.DiffBaseStorage):
    """kopf compares each object with a copy in its annotations, for two thirds of its CPU, unless there is none."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002 (kopf's signature)
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 (kopf's signature)
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


async def watch(observe: Observe, *, login: Login, namespace: str, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Feed `observe` until `stop` is set. `namespace` is the operator's own; `ready` is set once kopf has started."""
    registry = kopf.OperatorRegistry()
    _login(registry, login)
    _tell(registry, stop)
    for kind in KINDS:
        _register(registry, kind.resource, observe, namespace if kind.name else None)
    await kopf.operator(
        registry=registry,
        settings=_settings(),
        standalone=True,
        clusterwide=True,
        ready_flag=ready,
        stop_flag=stop,
    )


def _tell(registry: kopf.OperatorRegistry, stop: asyncio.Event) -> None:
    """Set `stop` where kopf stops by itself: it takes SIGTERM over, and waits 5 s for what still waits for `stop`."""

    @kopf.on.cleanup(registry=registry, id="tell")
    async def handle(**_: Any) -> None:
        stop.set()


def _login(registry: kopf.OperatorRegistry, login: Login) -> None:
    @kopf.on.login(registry=registry, id="login")
    async def handle(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(await login())


async def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """The operator's own login in kopf's words, so that there is one login."""
    authorization = (await configuration.auth_settings()).get("BearerToken", {}).get("value") or ""
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=authorization.removeprefix("Bearer ") or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        username=configuration.username or None,
        password=configuration.password or None,
        proxy_url=configuration.proxy,
    )


def _register(registry: kopf.OperatorRegistry, resource: Resource, observe: Observe, namespace: str | None) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id="observe")
    async def handle(event: kopf.RawEvent, **_: Any) -> None:
        body = event["object"]
        if namespace is None or body["metadata"]["namespace"] == namespace:
            observe(resource, body, event["type"] == "DELETED")


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # the kinds are known and were listed; this needs no right to list CRDs
    settings.persistence.diffbase_storage = _Stateless()
    settings.watching.server_timeout = _SERVER_TIMEOUT
    settings.watching.client_timeout = _SERVER_TIMEOUT + 60
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.queueing.idle_timeout = 1.0
    for kind in KINDS:
        selector = (kind.resource.group, kind.resource.version, kind.resource.plural)
        if kind.selector:
            settings.watching.label_selectors[selector] = kind.selector
        if kind.name:
            settings.watching.field_selectors[selector] = f"metadata.name={kind.name}"
    return settings
