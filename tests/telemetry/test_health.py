"""The three pages over HTTP."""

from collections.abc import Callable

import pytest
from aiohttp import ClientSession

from littoral.telemetry.health import HealthServer
from littoral.telemetry.metrics import Metrics


def server(port: int = 0, **checks: Callable[[], str | None]) -> HealthServer:
    return HealthServer(Metrics(), ready=checks, host="127.0.0.1", port=port)


async def page(pages: HealthServer, path: str, **headers: str) -> tuple[int, str, str]:
    async with (
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{pages.port}{path}", headers=headers) as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_ready_names_what_it_waits_for_and_asks_anew_each_time() -> None:
    waiting: list[str] = ["the first list of pods is under way"]
    async with server(leader=lambda: None, synced=lambda: waiting[0] if waiting else None) as pages:
        status, _, text = await page(pages, "/readyz")
        assert status == 503
        assert text.splitlines() == ["[+]leader: ok", "[-]synced: the first list of pods is under way", "failed"]
        waiting.clear()
        status, _, text = await page(pages, "/readyz")
        assert (status, text.splitlines()[-1]) == (200, "ok")


async def test_alive_although_not_ready() -> None:
    async with server(leader=lambda: "another process holds the lease") as pages:
        assert (await page(pages, "/healthz"))[0] == 200


async def test_not_alive_says_why() -> None:
    pages = HealthServer(Metrics(), ready={}, live={"workers": lambda: "all ended"}, host="127.0.0.1", port=0)
    async with pages:
        status, _, text = await page(pages, "/healthz")
    assert (status, text.splitlines()[0]) == (503, "[-]workers: all ended")


async def test_metrics_in_the_form_that_was_asked_for() -> None:
    async with server() as pages:
        status, kind, text = await page(pages, "/metrics")
        assert (status, kind.split(";")[0]) == (200, "text/plain")
        assert "littoral_build_info" in text
        _, kind, text = await page(pages, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")


async def test_a_port_that_is_taken_is_an_error_at_start_and_leaves_nothing_open() -> None:
    async with server() as pages:
        with pytest.raises(OSError, match="address already in use"):
            await server(port=pages.port).__aenter__()
        assert (await page(pages, "/healthz"))[0] == 200
