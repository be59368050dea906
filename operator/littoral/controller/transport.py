"""The way to the API server: login, TLS, connection pool, token renewal, retries with a bound, metrics.

The library `kubernetes.aio` brings the first five. Its generated models stay unused: turning each object into hundreds
of Python objects and back costs more than the requests.

A call is tried at most ATTEMPTS times. Tried again are: 429, for every call (the server did nothing); a connection that
never came about, for every call; a lost answer or 5xx, for calls that may be sent twice; 401 once, after a new login,
because a kubeconfig's tokens are read at login only. All else is for the queue, which looks at the world anew first.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from littoral.controller.errors import ApiError, TooManyRequests, Unauthorized, Unavailable
from littoral.telemetry.metrics import Metrics, package_version

logger = logging.getLogger(__name__)
# It warns of a kubeconfig that is missing, and raises: one line says it.
logging.getLogger("kubernetes.aio.config").setLevel(logging.ERROR)

Json = dict[str, Any]
"""One parsed JSON object."""
Login = Callable[[], Awaitable[Configuration]]

REQUEST_TIMEOUT: Final = 30.0
"""Seconds for one attempt, with the wait for a connection and the whole answer."""
ATTEMPTS: Final = 3
RETRY_DELAY: Final = 0.2
"""Seconds before the second attempt where the server names none; doubled before the third."""
RETRY_AFTER_LIMIT: Final = 10.0
"""Seconds; a server that asks for more is asked again by the queue, which occupies no worker meanwhile."""
POOL: Final = 32
"""Requests under way at once: the workers, the Lease, the resync and the Events share them."""


_IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"
"""Set in every pod."""


class ConfigurationError(Exception):
    """No cluster to talk to: neither a kubeconfig nor a service account can be used."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the client's verbs describe it."""

    verb: str
    """For people and metrics: get, list, create, apply, patch, delete."""
    method: str
    path: str
    resource: str
    """For metrics: the plural, with the subresource."""
    subject: str
    """For messages: "deployments plant/reader"."""
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    content_type: str = "application/json"
    repeatable: bool = True
    """Whether a second sending after a lost answer does no harm."""

    def __str__(self) -> str:
        return f"{self.verb} {self.subject}"


async def load(kubeconfig: Path | None = None, context: str | None = None, pool: int = POOL) -> Configuration:
    """Log in with the kubeconfig, else as the pod's service account, else with the user's default kubeconfig.

    ConfigurationError when that cannot be used. Nothing is sent, except by an exec credential plugin.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = pool
    try:
        if kubeconfig is None and _IN_CLUSTER in os.environ:
            load_incluster_config(client_configuration=configuration)
        else:
            await load_kube_config(
                config_file=None if kubeconfig is None else str(kubeconfig),
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (ConfigException, OSError, TypeError) as error:  # the last of a file that is empty
        raise ConfigurationError(_explain(kubeconfig, error)) from error
    return configuration


def _explain(kubeconfig: Path | None, error: Exception) -> str:
    if kubeconfig is not None:
        # The library takes a file that is missing for one that lacks everything, and stumbles over an empty one.
        why = "it is no kubeconfig" if isinstance(error, TypeError) else error
        return f"cannot log in with {kubeconfig}: {why if kubeconfig.is_file() else 'there is no such file'}"
    if _IN_CLUSTER in os.environ:
        return f"cannot log in as the pod's service account: {error}"
    default = os.environ.get("KUBECONFIG", "~/.kube/config")
    return f"cannot log in to a cluster with {default} (name another with --kubeconfig): {error}"


class Transport:
    """A connection pool to one API server."""

    def __init__(
        self,
        configuration: Configuration,
        metrics: Metrics,
        *,
        login: Login | None = None,
        timeout: float = REQUEST_TIMEOUT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Use `configuration`; `login` renews it when the server no longer takes its token."""
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)
        self._metrics = metrics
        self._login = login
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._sleep = sleep
        self._agent = f"littoral/{package_version()}"

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def send(self, call: Call) -> Json:
        """Send with the retries that the module's text allows; return the answer or raise the last ApiError."""
        renewed = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._attempt(call)
            except Unauthorized:
                if renewed or self._login is None:
                    raise
                renewed = True
                fresh = await self._login()
                self._configuration.api_key = fresh.api_key
                self._configuration.refresh_api_key_hook = fresh.refresh_api_key_hook
                continue
            except (TooManyRequests, Unavailable) as error:
                wait = error.retry_after if error.retry_after is not None else RETRY_DELAY * 2 ** (attempt - 1)
                nothing_done = isinstance(error, TooManyRequests) or isinstance(
                    error.__cause__, aiohttp.ClientConnectorError
                )
                if attempt == ATTEMPTS or wait > RETRY_AFTER_LIMIT or not (call.repeatable or nothing_done):
                    raise
                logger.debug("%s; again in %.1f s", error, wait)
            await self._sleep(wait)
        raise Unavailable(str(call), "the API server did not take the renewed token in time")

    async def _attempt(self, call: Call) -> Json:
        started = time.perf_counter()
        status = 0
        try:
            answer = await self._exchange(call)
            status = answer.status
            data = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(str(call), f"no answer from the API server: {error or type(error).__name__}") from error
        finally:
            self._metrics.api_requests.labels(call.verb, call.resource, str(status)).inc()
            self._metrics.api_seconds.labels(call.verb, call.resource).observe(time.perf_counter() - started)
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        if status >= 400:
            raise ApiError.from_answer(str(call), status, body, _seconds(answer.headers.get("Retry-After")))
        if not isinstance(body, dict):
            raise Unavailable(str(call), f"HTTP {status} whose body is not a JSON object", status=status)
        return body

    async def _exchange(self, call: Call) -> Any:
        headers = {"Accept": "application/json", "Content-Type": call.content_type, "User-Agent": self._agent}
        for setting in (await self._configuration.auth_settings()).values():
            headers[setting["key"]] = setting["value"]
        url = f"{self._configuration.host}{call.path}"
        if call.query:
            url += f"?{urlencode(call.query)}"
        return await self._rest.request(
            call.method, url, headers=headers, body=call.body, _request_timeout=self._timeout
        )


def _seconds(header: str | None) -> float | None:
    """Parse Retry-After; the API server writes whole seconds, never a date."""
    return float(header) if header is not None and header.isdecimal() else None


async def connect(kubeconfig: Path | None, context: str | None, metrics: Metrics, pool: int) -> Transport:
    """Log in as `load` does; log in again the same way when the token is refused later."""
    login = partial(load, kubeconfig, context, pool)
    return Transport(await login(), metrics, login=login)
