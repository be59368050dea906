"""The client over a real socket: what it sends, what it retries, what it makes of refusals."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from tests.controller.conftest import FakeApi, hang_up, status

from littoral.controller.client import Client, Resource
from littoral.controller.errors import Conflict, Forbidden, NotFound, TooManyRequests, Unauthorized, Unavailable
from littoral.controller.transport import ATTEMPTS, ConfigurationError, load
from littoral.telemetry.metrics import Metrics

CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
MODELS = Resource("littoral.dev", "v1alpha1", "inferencemodels", "InferenceModel", namespaced=True)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
BODY: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}

SENDS_TWICE: dict[str, Callable[[Client], Awaitable[object]]] = {
    "get": lambda client: client.get(CONFIGMAPS, "n", "a"),
    "list": lambda client: client.list(CONFIGMAPS),
    "merge patch": lambda client: client.patch(CONFIGMAPS, "n", "a", {"data": {}}, uid="u"),
    "status": lambda client: client.patch_status(MODELS, "n", "a", {"url": "x"}, uid="u"),
    "delete": lambda client: client.delete(CONFIGMAPS, "n", "a", uid="u"),
}
SENDS_ONCE: dict[str, Callable[[Client], Awaitable[object]]] = {
    "create": lambda client: client.create(CONFIGMAPS, BODY),
    "JSON patch": lambda client: client.patch(CONFIGMAPS, "n", "a", [{"op": "remove", "path": "/data"}], uid="u"),
}
every_call = pytest.mark.parametrize(
    "call", [*SENDS_TWICE.values(), *SENDS_ONCE.values()], ids=[*SENDS_TWICE, *SENDS_ONCE]
)
repeatable = pytest.mark.parametrize("call", SENDS_TWICE.values(), ids=SENDS_TWICE)
once = pytest.mark.parametrize("call", SENDS_ONCE.values(), ids=SENDS_ONCE)
Send = Callable[[Client], Awaitable[object]]


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "subresource", "path"),
    [
        (CONFIGMAPS, "n", "a", "", "/api/v1/namespaces/n/configmaps/a"),
        (CONFIGMAPS, None, None, "", "/api/v1/configmaps"),
        (MODELS, "n", "a", "status", "/apis/littoral.dev/v1alpha1/namespaces/n/inferencemodels/a/status"),
        (NODES, None, "edge-1", "", "/api/v1/nodes/edge-1"),
        (NODES, "ignored", "edge-1", "", "/api/v1/nodes/edge-1"),
    ],
)
def test_paths(resource: Resource, namespace: str | None, name: str | None, subresource: str, path: str) -> None:
    assert resource.path(namespace, name, subresource) == path


async def test_a_list_is_read_in_pages_and_says_what_its_items_are(api: FakeApi) -> None:
    api.objects = [{"metadata": {"name": f"o{number}"}} for number in range(5)]
    async with api.client() as client:
        listing = await client.list(CONFIGMAPS, namespace="n", label_selector="a=b,c", page=2)
    assert [item["metadata"]["name"] for item in listing.items] == ["o0", "o1", "o2", "o3", "o4"]
    assert listing.items[0] == {"metadata": {"name": "o0"}, "apiVersion": "v1", "kind": "ConfigMap"}
    assert listing.resource_version == "77"
    assert [path for _, path, _ in api.requests] == [
        "/api/v1/namespaces/n/configmaps?labelSelector=a%3Db,c&limit=2",
        "/api/v1/namespaces/n/configmaps?labelSelector=a%3Db,c&limit=2&continue=2",
        "/api/v1/namespaces/n/configmaps?labelSelector=a%3Db,c&limit=2&continue=4",
    ]


async def test_a_list_keeps_only_what_is_projected(api: FakeApi) -> None:
    api.objects = [{"metadata": {"name": f"o{number}"}} for number in range(3)]
    async with api.client() as client:
        listing = await client.list(CONFIGMAPS, project=lambda body: str(body["metadata"]["name"]), page=2)
    assert listing.items == ("o0", "o1", "o2")


async def test_a_list_whose_moment_expired_is_read_anew_in_one_piece(api: FakeApi) -> None:
    api.objects = [{"metadata": {"name": f"o{number}"}} for number in range(5)]

    async def first_page(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"resourceVersion": "1", "continue": "x"}, "items": [{"old": True}]})

    api.script.extend([first_page, status(410, "Expired")])
    async with api.client() as client:
        listing = await client.list(CONFIGMAPS, page=2)
    assert [item["metadata"]["name"] for item in listing.items] == ["o0", "o1", "o2", "o3", "o4"]
    assert listing.resource_version == "77"
    assert api.requests[-1][1] == "/api/v1/configmaps"


async def test_writes_name_their_manager_and_carry_the_identity_of_their_object(api: FakeApi) -> None:
    async with api.client() as client:
        await client.create(CONFIGMAPS, BODY)
        await client.patch(CONFIGMAPS, "n", "a", {"metadata": {"labels": {"x": "1"}}}, uid="u", resource_version="5")
        await client.patch_status(MODELS, "n", "m", {"url": None}, uid="u")
        await client.delete(CONFIGMAPS, "n", "a", uid="u", resource_version="5")
    identity = {"uid": "u", "resourceVersion": "5"}
    assert api.requests == [
        ("POST", "/api/v1/namespaces/n/configmaps?fieldManager=littoral", BODY),
        (
            "PATCH",
            "/api/v1/namespaces/n/configmaps/a?fieldManager=littoral",
            {"metadata": {"labels": {"x": "1"}, **identity}},
        ),
        (
            "PATCH",
            "/apis/littoral.dev/v1alpha1/namespaces/n/inferencemodels/m/status?fieldManager=littoral",
            {"status": {"url": None}, "metadata": {"uid": "u"}},
        ),
        (
            "DELETE",
            "/api/v1/namespaces/n/configmaps/a",
            {
                "kind": "DeleteOptions",
                "apiVersion": "v1",
                "propagationPolicy": "Background",
                "preconditions": identity,
            },
        ),
    ]


async def test_an_apply_never_reaches_a_namesake(api: FakeApi) -> None:
    async def stranger(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": "a", "uid": "other", "resourceVersion": "1"}})

    api.script.append(stranger)
    async with api.client() as client:
        with pytest.raises(Conflict, match="made again"):
            await client.apply(CONFIGMAPS, {**BODY, "metadata": {**BODY["metadata"], "uid": "u"}})
    assert [method for method, *_ in api.requests] == ["GET"]


async def test_an_apply_without_a_uid_is_a_mistake_of_the_caller(api: FakeApi) -> None:
    async with api.client() as client:
        with pytest.raises(KeyError, match="uid"):
            await client.apply(CONFIGMAPS, BODY)
    assert api.requests == []


@every_call
async def test_too_many_requests_is_waited_out_whatever_the_call(api: FakeApi, call: Send) -> None:
    api.script.append(status(429, "TooManyRequests", Retry_After="3"))
    async with api.client() as client:
        await call(client)
    assert len(api.requests) == 2
    assert api.waits == [3.0]


async def test_a_server_that_stays_busy_is_left_to_the_queue(api: FakeApi) -> None:
    api.script.extend([status(429, "TooManyRequests", Retry_After="1")] * 9)
    async with api.client() as client:
        with pytest.raises(TooManyRequests) as caught:
            await client.get(CONFIGMAPS, "n", "a")
    assert caught.value.retry_after == 1.0
    assert len(api.requests) == ATTEMPTS


async def test_a_long_wait_is_left_to_the_queue_at_once(api: FakeApi) -> None:
    api.script.append(status(429, "TooManyRequests", Retry_After="60"))
    async with api.client() as client:
        with pytest.raises(TooManyRequests):
            await client.get(CONFIGMAPS, "n", "a")
    assert len(api.requests) == 1
    assert api.waits == []


@repeatable
@pytest.mark.parametrize("trouble", [status(503, "ServiceUnavailable"), status(500, "InternalError")])
async def test_what_may_be_sent_twice_is(api: FakeApi, call: Send, trouble: Any) -> None:
    api.script.extend([trouble, trouble])
    async with api.client() as client:
        await call(client)
    assert len(api.requests) == 3
    assert api.waits == [0.2, 0.4]


@repeatable
async def test_what_may_be_sent_twice_survives_a_lost_answer(api: FakeApi, call: Send) -> None:
    api.script.append(hang_up)
    async with api.client() as client:
        await call(client)
    assert len(api.requests) == 2


@once
@pytest.mark.parametrize("trouble", [status(503, "ServiceUnavailable"), status(500, "InternalError"), hang_up])
async def test_what_may_not_be_sent_twice_is_not(api: FakeApi, call: Send, trouble: Any) -> None:
    api.script.append(trouble)
    async with api.client() as client:
        with pytest.raises(Unavailable):
            await call(client)
    assert len(api.requests) == 1


@every_call
async def test_a_connection_that_never_came_about_is_tried_again_whatever_the_call(api: FakeApi, call: Send) -> None:
    api.url = "http://127.0.0.1:1"
    async with api.client() as client:
        with pytest.raises(Unavailable, match="no answer from the API server"):
            await call(client)
    assert len(api.waits) == ATTEMPTS - 1


async def test_a_server_that_does_not_answer_in_time_is_unavailable(api: FakeApi) -> None:
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await released.wait()
        return web.json_response({})

    api.script.append(hang)
    async with api.client(timeout=0.05) as client:
        with pytest.raises(Unavailable, match="create configmaps n/a"):
            await client.create(CONFIGMAPS, BODY)
    released.set()


async def test_a_proxys_page_is_an_error_and_not_a_crash(api: FakeApi) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Bad Gateway</html>", status=502, content_type="text/html")

    async def login_page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Please log in</html>", content_type="text/html")

    api.script.extend([page] * ATTEMPTS + [login_page] * ATTEMPTS)
    async with api.client() as client:
        with pytest.raises(Unavailable, match="HTTP 502"):
            await client.get(CONFIGMAPS, "n", "a")
        with pytest.raises(Unavailable, match="HTTP 200 whose body is not a JSON object"):
            await client.get(CONFIGMAPS, "n", "a")


async def test_refusals_are_not_retried(api: FakeApi) -> None:
    api.script.extend([status(404, "NotFound", 'configmaps "a" not found'), status(403, "Forbidden")])
    async with api.client() as client:
        with pytest.raises(NotFound, match='get configmaps n/a: configmaps "a" not found'):
            await client.get(CONFIGMAPS, "n", "a")
        with pytest.raises(Forbidden):
            await client.create(CONFIGMAPS, BODY)
    assert len(api.requests) == 2


async def test_a_token_that_is_refused_is_renewed_once(api: FakeApi) -> None:
    async def login() -> Configuration:
        return Configuration(host=api.url, api_key={"BearerToken": "Bearer new"})

    api.script.append(status(401, "Unauthorized"))
    async with api.client(login=login) as client:
        await client.create(CONFIGMAPS, BODY)
        await client.create(CONFIGMAPS, BODY)
        assert api.tokens == ["", "Bearer new", "Bearer new"]
        api.script.extend([status(401, "Unauthorized")] * 2)
        with pytest.raises(Unauthorized):
            await client.get(CONFIGMAPS, "n", "a")


async def test_requests_are_counted_by_verb_resource_and_code(api: FakeApi) -> None:
    metrics = Metrics()
    api.script.extend([status(503, "ServiceUnavailable"), status(404, "NotFound"), hang_up])
    async with api.client(metrics) as client:
        with pytest.raises(NotFound):
            await client.get(CONFIGMAPS, "n", "a")
        await client.patch_status(MODELS, "n", "m", {}, uid="u")

    def count(verb: str, resource: str, code: str) -> float | None:
        labels = {"verb": verb, "resource": resource, "code": code}
        return metrics.registry.get_sample_value("littoral_api_requests_total", labels)

    assert count("get", "configmaps", "503") == 1
    assert count("get", "configmaps", "404") == 1
    assert count("patch", "inferencemodels/status", "0") == 1
    assert count("patch", "inferencemodels/status", "200") == 1
    seconds = {"verb": "get", "resource": "configmaps"}
    assert metrics.registry.get_sample_value("littoral_api_request_duration_seconds_count", seconds) == 2


def kubeconfig(**user: str) -> str:
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": "https://cluster.example:6443"}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


async def test_a_token_file_named_by_the_kubeconfig_is_read_at_each_login(tmp_path: Path) -> None:
    path, token = tmp_path / "kubeconfig", tmp_path / "token"
    path.write_text(kubeconfig(tokenFile="token"))
    for content in ("first", "second"):
        token.write_text(content)
        configuration = await load(path, pool=7)
        assert await configuration.get_api_key_with_prefix("BearerToken") == f"Bearer {content}"
    assert configuration.host == "https://cluster.example:6443"
    assert configuration.connection_pool_maxsize == 7


async def test_a_login_that_cannot_be_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="missing: there is no such file"):
        await load(tmp_path / "missing")
    (tmp_path / "empty").write_text("{}")
    with pytest.raises(ConfigurationError, match="Expected key current-context"):
        await load(tmp_path / "empty")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with pytest.raises(ConfigurationError, match="service account"):
        await load()
