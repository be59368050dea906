"""What obstore needs to know of a store: credentials and settings in, one configured client out.

obstore (Rust's object_store) signs, connects and streams; what each kind of store wants to know is a line in STORES.
Its own retries are off, for `transfer` has them, and so is every search for credentials that nobody gave: a Secret
without them means anonymous access, never a question to a cloud's metadata service, which an edge machine has not.

obstore reports failures as text, which names hosts, queries and parts of credentials: `Bucket.failure` takes from it
what is known to be harmless, and shows no other.

On a redirect to another host its HTTP client leaves out the signature. A session token (AWS_SESSION_TOKEN) does
travel on, and opens nothing without the secret key, which is never sent.
"""

import datetime as dt
import http
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from littoral.modelstore.access import Access
from littoral.modelstore.errors import FetchError, NodeClockWrong, SourceForbidden, SourceUnreachable
from littoral.modelstore.sources import shown
from littoral.modelstore.sources.http import RETRIED, SECRET_FIELD
from littoral.modelstore.sources.tls import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    authorities,
    clock_wrong,
    proxies,
    proxy_for,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore

SETTINGS_FIELD: Final = "spec.variants[].source.configMapName"

Keys = Mapping[str, tuple[str, ...]]
"""An option of obstore and the keys of a Secret or ConfigMap that give it, the first that is set."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of store wants to know."""

    store: type[S3Store] | type[GCSStore] | type[AzureStore]
    credentials: Keys
    """From the Secret alone."""
    needs: Mapping[str, frozenset[str]]
    """Credentials that are nothing without others: obstore would go and look for the others elsewhere."""
    settings: Keys
    endpoint: str
    """The option that holds the store's own URL."""
    default: str
    """The endpoint where none is set, with options in braces."""
    defaults: Mapping[str, str]


_CLIENT: Final = ("client_id", "client_secret", "tenant_id")

STORES: Final[Mapping[str, Kind]] = {
    "s3": Kind(
        S3Store,
        credentials={
            "access_key_id": ("AWS_ACCESS_KEY_ID",),
            "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
            "session_token": ("AWS_SESSION_TOKEN",),
        },
        needs=dict.fromkeys(
            ("access_key_id", "secret_access_key", "session_token"), frozenset({"access_key_id", "secret_access_key"})
        ),
        settings={
            "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
            "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
            "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
        },
        endpoint="endpoint",
        default="https://s3.{region}.amazonaws.com",
        defaults={"region": "us-east-1"},
    ),
    "gs": Kind(
        GCSStore,
        credentials={"service_account_key": ("service-account.json", "GOOGLE_SERVICE_ACCOUNT_KEY")},
        needs={},
        settings={"base_url": ("GOOGLE_BASE_URL",)},
        endpoint="base_url",
        default="https://storage.googleapis.com",
        defaults={},
    ),
    "az": Kind(
        AzureStore,
        credentials={
            "account_key": ("AZURE_STORAGE_ACCOUNT_KEY",),
            "sas_key": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
            "client_id": ("AZURE_CLIENT_ID",),
            "client_secret": ("AZURE_CLIENT_SECRET",),
            "tenant_id": ("AZURE_TENANT_ID",),
        },
        needs=dict.fromkeys(_CLIENT, frozenset(_CLIENT)),
        settings={"account_name": ("AZURE_STORAGE_ACCOUNT_NAME",), "endpoint": ("AZURE_STORAGE_ENDPOINT",)},
        endpoint="endpoint",
        default="https://{account_name}.blob.core.windows.net",
        defaults={},
    ),
}


class Bucket:
    """The store behind a URI, made when it is first asked: what is missing for it is then a failure in words."""

    def __init__(self, uri: str, access: Access) -> None:
        parts = urllib.parse.urlsplit(uri)
        self.uri, self._access = uri, access
        self._name, self._kind = parts.netloc, STORES[parts.scheme]
        self._store: ObjectStore | None = None
        self._endpoint = ""
        self._anonymous = False

    def store(self) -> "ObjectStore":
        """Return the store. Raises SourceForbidden, SourceUnreachable."""
        if self._store is None:
            config = self._config()
            try:
                self._store = self._kind.store(
                    self._name, config=config, client_options=self._client(), retry_config={"max_retries": 0}
                )
            except (BaseError, ValueError, TypeError) as error:
                raise SourceUnreachable(
                    f"{shown(self.uri)}: the keys of its Secret and ConfigMap make no access to a store "
                    f"({type(error).__name__}; the values are not shown)"
                ) from None
        return self._store

    def _config(self) -> Any:
        kind = self._kind
        credentials = {
            option: value
            for option, keys in kind.credentials.items()
            if (value := next(filter(None, map(self._access.credential, keys)), ""))
        }
        needed = {option for given in credentials for option in kind.needs.get(given, ())}
        if lacking := sorted(kind.credentials[option][0] for option in needed - credentials.keys()):
            raise SourceForbidden(
                f"{shown(self.uri)}: the Secret that {SECRET_FIELD} names lacks {' and '.join(lacking)}"
            )
        settings = {option: value for option, keys in kind.settings.items() if (value := self._access.setting(*keys))}
        config: dict[str, object] = {**kind.defaults, **settings, **credentials}
        self._anonymous = config["skip_signature"] = not credentials
        self._endpoint = self._reached(config)
        return config

    def _reached(self, config: Mapping[str, object]) -> str:
        """Return the URL of the store. Raises SourceUnreachable where the settings make none."""
        kind = self._kind
        try:
            endpoint = str(config.get(kind.endpoint) or kind.default.format_map(config))
        except KeyError as missing:
            key = kind.settings[missing.args[0]][0]
            raise SourceUnreachable(
                f"{shown(self.uri)}: {key} is not set; the ConfigMap that {SETTINGS_FIELD} names is to hold it"
            ) from None
        if not _is_url(endpoint):
            raise SourceUnreachable(
                f"{shown(self.uri)}: {' or '.join(kind.settings[kind.endpoint])} must be the http(s) URL of the store"
            )
        return endpoint

    def _client(self) -> "ClientConfig":
        scheme = urllib.parse.urlsplit(self._endpoint).scheme
        client: ClientConfig = {
            "user_agent": "littoral",
            "connect_timeout": dt.timedelta(seconds=CONNECT_TIMEOUT),
            "read_timeout": dt.timedelta(seconds=READ_TIMEOUT),
            # Of the whole answer, which on a slow link takes hours; a link that is dead fails by read_timeout.
            "timeout": dt.timedelta(days=30),
            "allow_http": scheme == "http",
        }
        if private := authorities(self._access):
            client["root_certificate"] = private
        if proxy := proxies(self._access).get(scheme):
            client["proxy_url"] = proxy
            if private:
                client["proxy_ca_certificate"] = private
            if proxy_for(self._endpoint, self._access) is None:
                # The client would else take the environment's by itself, and reads NO_PROXY in its own way.
                client["proxy_excludes"] = urllib.parse.urlsplit(self._endpoint).hostname or ""
        return client

    def failure(self, error: Exception) -> FetchError:
        """Return in our words what obstore says in its own; see the module's docstring."""
        text, what = str(error), shown(self.uri)
        status, code = re.search(r"status code: (\d{3})", text), re.search(r"<Code>(\w{1,60})</Code>", text)
        if code and code[1] == "RequestTimeTooSkewed":
            return NodeClockWrong(
                f"{what} is refused: the node's clock, which says {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC, "
                "differs too much from the store's; set the clock of the node"
            )
        if status:
            return self._answered(int(status[1]), code[1] if code else "")
        if "InvalidCertificate(NotValidYet" in re.sub(r"\s", "", text):
            return clock_wrong(self._endpoint, self._access)
        sentence, retry = _link_trouble(text)
        return SourceUnreachable(f"{what} at {shown(self._endpoint)} cannot be reached: {sentence}", retry=retry)

    def _answered(self, status: int, code: str) -> FetchError:
        phrase = http.HTTPStatus(status).phrase if status in _STATUSES else ""
        answer = f"{shown(self.uri)} answered {status} {phrase}".rstrip() + (f" ({code})" if code else "")
        if status in {401, 403} or code in _CREDENTIALS:
            other = "" if self._anonymous else "other "
            return SourceForbidden(f"{answer}: it wants {other}credentials; {SECRET_FIELD} names their Secret")
        hint = "; AWS_REGION is to name the region of the bucket" if code in _REGION else ""
        return SourceUnreachable(f"{answer}{hint}", retry=status in RETRIED)


def _is_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


_STATUSES: Final = frozenset(http.HTTPStatus)
_CREDENTIALS: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
_REGION: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
"""Codes of S3 that come with status 400 or 301 and say more than it."""
_TROUBLE: Final[Sequence[tuple[str, str, bool]]] = (
    (r"UnknownIssuer", "TLS failed: its certificate is of no authority that is trusted; ca.crt can add one", False),
    (r"InvalidCertificate\( *Expired", "TLS failed: its certificate has expired by the node's clock", False),
    (r"NotValidForName", "TLS failed: its certificate is of another host", False),
    (r"InvalidCertificate\( *(\w+)", "TLS failed: its certificate is not accepted ({})", False),
    (r"error: InvalidMessage", "TLS failed: what answers does not speak it", False),
    (r"Header \{ source: (\w+)", "what answers is no store ({})", False),
    (r"BareRedirect", "the bucket is in another region; AWS_REGION is to name it", False),
    (r"BadScheme", "it redirects from https to http", False),
    (r"dns error", "its host name cannot be resolved", True),
    (r"tunnel error: (\w[\w ]*)", "the proxy failed: {}", True),
    (r"ProxyAuthRequired", "the proxy wants other credentials", False),
    (r"TunnelUnsuccessful", "the proxy refused to connect to it", True),
    (r"kind: Timeout", f"no connection within {CONNECT_TIMEOUT:.0f} s, or no byte for {READ_TIMEOUT:.0f} s", True),
    (r'message: "([\w ]+)"', "{}", True),
    (r"kind: (?:Interrupted|Decode|UnexpectedEof)|IncompleteBody|IncompleteMessage", "the connection was cut", True),
)
"""What may stand in obstore's text (white space made one), what it means, and whether another attempt makes sense."""


def _link_trouble(text: str) -> tuple[str, bool]:
    flat = re.sub(r"\s+", " ", text)
    for pattern, sentence, retry in _TROUBLE:
        if found := re.search(pattern, flat):
            return sentence.format(*found.groups()), retry
    return "the request failed", True
