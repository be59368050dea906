"""An API server of ConfigMaps on a real socket, as small as the client's tests allow."""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from littoral.controller.client import Client
from littoral.controller.transport import Transport
from littoral.telemetry.metrics import Metrics

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, reason: str, message: str = "no", **headers: str) -> Answer:
    """An answer as the API server refuses."""

    async def answer(_: web.Request) -> web.Response:
        body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
        return web.json_response(body, status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


async def hang_up(request: web.Request) -> web.Response:
    """Close the connection in place of an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@dataclass
class FakeApi:
    """Answers from `script` first, one answer for each request, then from `objects`."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    script: deque[Answer] = field(default_factory=deque)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path with query, parsed body of every request that came."""
    tokens: list[str] = field(default_factory=list)
    url: str = ""
    waits: list[float] = field(default_factory=list)
    """Seconds that the client paused between attempts, without pausing."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append((request.method, request.path_qs, json.loads(text) if text else None))
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.script:
            return await self.script.popleft()(request)
        if request.method == "GET":
            return self._list(int(request.query.get("limit", 0)), int(request.query.get("continue", 0)))
        return web.json_response(self.requests[-1][2] if request.method != "PATCH" else {})

    def _list(self, limit: int, start: int) -> web.Response:
        end = start + limit if limit else len(self.objects)
        metadata = {"resourceVersion": "77"} | ({"continue": str(end)} if end < len(self.objects) else {})
        return web.json_response({"kind": "ConfigMapList", "metadata": metadata, "items": self.objects[start:end]})

    def client(self, metrics: Metrics | None = None, **options: Any) -> Client:
        """A client of this server that never pauses."""
        configuration = Configuration(host=self.url)

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        return Client(Transport(configuration, metrics or Metrics(), **{"sleep": sleep, **options}))


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    """A fresh FakeApi that listens."""
    fake = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    yield fake
    await runner.cleanup()
