"""Three pages over HTTP: /healthz (restart me), /readyz (count me in), /metrics (Prometheus).

Checks are named functions that return None when all is well and otherwise a few words on what is not. They are called
at each request and must not wait. /healthz fails only for what a restart mends; that the API server is away is no such
thing. That the page answers at all shows that the event loop runs.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from littoral.telemetry.metrics import Metrics

Check = Callable[[], str | None]


class HealthServer:
    """Serves while it is entered as an async context manager. Port 0 takes a free one; `port` says which."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        ready: Mapping[str, Check],
        live: Mapping[str, Check] | None = None,
        host: str = "0.0.0.0",  # noqa: S104 - probes and Prometheus come from outside the pod
        port: int = 8080,
    ) -> None:
        self._registry = metrics.registry
        self._host = host
        self.port = port
        app = web.Application()
        app.router.add_get("/healthz", _checked(live or {}))
        app.router.add_get("/readyz", _checked(ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        """Bind and serve; OSError when the port is taken."""
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, self.port)
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


def _checked(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers 200 when every check passes, else 503; both name each check, as Kubernetes does."""

    async def handle(_: web.Request) -> web.Response:
        findings = {name: check() for name, check in checks.items()}
        lines = [f"[-]{name}: {found}" if found else f"[+]{name}: ok" for name, found in findings.items()]
        failed = any(findings.values())
        return web.Response(text="\n".join([*lines, "failed" if failed else "ok", ""]), status=503 if failed else 200)

    return handle
