"""https:// and http://: one GET for each attempt, resumed by Range.

urllib3 brings TLS, timeouts and proxies. Its Retry is not used: it ends where the body begins, and a cut body is the
usual failure at the edge, so `transfer` has one loop for both. Redirects are followed here, for each host on the way
has its own proxy, and credentials are for the URI's own host alone.

A range is asked for with If-Range where the server gave a validator, so that halves of two versions are never joined
unseen. Bytes are taken as they are stored (Accept-Encoding: identity, no decoding), for the digest is theirs.

The Secret's `username` and `password` (basic) or `token` (bearer) are sent to the scheme, host and port that the URI
names, and to no other.
"""

import base64
import datetime as dt
import functools
import ssl
import urllib.parse
from collections.abc import Generator
from contextlib import closing
from typing import Final, Protocol

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    InvalidHeader,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from littoral.modelstore.access import NO_ACCESS, Access
from littoral.modelstore.errors import FetchError, SourceForbidden, SourceUnreachable, UnsupportedSource
from littoral.modelstore.sources import CHUNK, SourceChanged, Stream, shown
from littoral.modelstore.sources.paced import paced
from littoral.modelstore.sources.tls import (
    CONNECT_TIMEOUT,
    NOT_YET_VALID,
    READ_TIMEOUT,
    clock_wrong,
    context,
    proxy_for,
    proxy_headers,
)

MAX_REDIRECTS: Final = 5
SECRET_FIELD: Final = "spec.variants[].source.secretName"  # noqa: S105 - the name of a field
RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may work in a moment."""
_LENGTH_DIGITS: Final = 18
"""Of a Content-Length: all below an exbibyte, and Python's int takes no more than some thousands."""
_EXPIRED: Final = 10
"""X509_V_ERR_CERT_HAS_EXPIRED."""


class Authorization(Protocol):
    """What the host of a URI is told of who asks."""

    def header(self) -> str:
        """Return the value of the header Authorization, "" for none. Raises FetchError."""

    def challenged(self, challenge: str) -> bool:
        """Take up the WWW-Authenticate of a 401; tell whether it is worth asking again. Raises FetchError."""


Pools = dict[str | None, urllib3.PoolManager]
"""Connections by the URL of the proxy that they go through, None: without one."""


class HttpSource:
    """One artifact behind a URL; keeps the validator of the first answer. Raises UnsupportedSource for a bad URL.

    `authorization` takes the place of the Secret's credentials, `accept` names the media types that are wanted, `pools`
    holds the connections, which sources of the same access may share; `behalf` is the URI that a person knows this one
    by, where it is another.
    """

    def __init__(
        self,
        uri: str,
        access: Access = NO_ACCESS,
        *,
        authorization: Authorization | None = None,
        accept: str = "*/*",
        pools: Pools | None = None,
        behalf: str = "",
    ) -> None:
        self._uri, self._access = uri, access
        self._behalf = f" for {shown(behalf)}" if behalf else ""
        self._authorization, self._accept = authorization or Given(access), accept
        self._validator: str | None = None
        self._pools: Pools = {} if pools is None else pools
        try:
            url = urllib3.util.parse_url(uri)
        except HTTPError as error:
            raise UnsupportedSource(f"{shown(uri)} cannot be used: {error}") from None
        if not url.host:
            raise UnsupportedSource(f"{shown(uri)} names no host")
        if url.auth:
            raise UnsupportedSource(
                f"{shown(uri)}: a user or password in a URI would be readable by everybody; {SECRET_FIELD} is for them"
            )

    def open(self, offset: int) -> Stream:
        """Return the artifact's bytes from `offset` on.

        Raises SourceUnreachable, SourceForbidden, NodeClockWrong, SourceChanged.
        """
        headers = {"Accept": self._accept, "Accept-Encoding": "identity", "User-Agent": "littoral"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator:
                headers["If-Range"] = self._validator
        url, response = self._follow(headers)
        if response.status == 401 and _origin(url) == _origin(self._uri):
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            if not self._authorization.challenged(challenge):
                raise self._refused(url, response)
            url, response = self._follow(headers)
        try:
            return self._stream(url, response, offset)
        except BaseException:
            response.close()
            raise

    def _follow(self, headers: dict[str, str]) -> tuple[str, urllib3.BaseHTTPResponse]:
        """Return the URL that answered at the end of all redirects, and its answer."""
        url = self._uri
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(url, headers)
            location = response.get_redirect_location()
            if not location:
                return url, response
            response.close()
            try:
                url = urllib.parse.urljoin(url, location)
            except ValueError:
                raise SourceUnreachable(f"{shown(url)} redirects to what is no URL") from None
        raise SourceUnreachable(f"{shown(self._uri)} cannot be reached: too many redirects")

    def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            if _origin(url) == _origin(self._uri):
                header = self._authorization.header()
                headers = headers | ({"Authorization": header} if header else {})
            return self._pool(url).request(
                "GET", url, headers=headers, preload_content=False, decode_content=False, retries=False, redirect=False
            )
        except HTTPError as error:
            raise self._unreachable(url, error) from None

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Return the connections through the proxy that `url` asks for. Raises SourceUnreachable, HTTPError."""
        if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
            raise SourceUnreachable(f"{shown(self._uri)} redirects to what is neither https nor http: {shown(url)}")
        proxy = proxy_for(url, self._access)
        if proxy not in self._pools:
            timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
            self._pools[proxy] = (
                urllib3.PoolManager(1, timeout=timeout, ssl_context=self._tls)
                if proxy is None
                else self._through(proxy, timeout)
            )
        return self._pools[proxy]

    def _through(self, proxy: str, timeout: urllib3.Timeout) -> urllib3.ProxyManager:
        try:
            return urllib3.ProxyManager(
                proxy,
                1,
                proxy_headers=proxy_headers(proxy),
                timeout=timeout,
                ssl_context=self._tls,
                proxy_ssl_context=self._tls,
            )
        except (HTTPError, ValueError, AssertionError):
            # Their text holds the address, and the address may hold a password.
            raise SourceUnreachable("the value of HTTPS_PROXY or HTTP_PROXY is not the URL of a proxy") from None

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return context(self._access)

    def _stream(self, url: str, response: urllib3.BaseHTTPResponse, offset: int) -> Stream:
        if response.status == 416 and offset:
            # Asked for what follows the last byte: a body without a length that ended exactly there.
            if response.headers.get("Content-Range", "").endswith(f"*/{offset}"):
                response.close()
                return Stream(_nothing(), offset, self._validator)
            raise SourceChanged
        if response.status not in {200, 206}:
            raise self._refused(url, response)
        validator = _validator(response)
        if offset and self._validator and validator != self._validator:
            raise SourceChanged
        self._validator = validator
        named = validator or response.headers.get("ETag")
        length = _length(url, response)
        if response.status == 206:
            return Stream(self._chunks(url, response, skip=0), _whole(response, offset, length), named)
        # The server knows no ranges: what is here already is read past, not written again.
        return Stream(self._chunks(url, response, skip=offset), length, named)

    def _chunks(self, url: str, response: urllib3.BaseHTTPResponse, skip: int) -> Generator[bytes, None, None]:
        with closing(paced(self._pieces(url, response), url)) as chunks:
            for chunk in chunks:
                if skip < len(chunk):
                    yield chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))

    def _pieces(self, url: str, response: urllib3.BaseHTTPResponse) -> Generator[bytes, None, None]:
        """Yield what is at hand, as it comes."""
        try:
            while piece := response.read1(CHUNK):
                yield piece
        except HTTPError as error:
            raise self._unreachable(url, error) from None
        finally:
            response.close()

    def _refused(self, url: str, response: urllib3.BaseHTTPResponse) -> FetchError:
        answer = f"{shown(url)}{self._behalf} answered {response.status} {response.reason or ''}".rstrip()
        if response.status in {401, 403}:
            other = "other " if self._authorization.header() else ""
            return SourceForbidden(f"{answer}: it wants {other}credentials; {SECRET_FIELD} names their Secret")
        if response.status == 407:
            return SourceForbidden(
                f"the proxy on the way to {answer}: its URL, HTTPS_PROXY or HTTP_PROXY, names no user"
            )
        try:
            after = urllib3.Retry().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):  # numbers and dates of any length
            after = None
        return SourceUnreachable(answer, retry=response.status in RETRIED, retry_after=after)

    def _unreachable(self, url: str, error: HTTPError) -> FetchError:
        cause = error.args[0] if isinstance(error, SSLError) and error.args else None
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code == NOT_YET_VALID:
            return clock_wrong(url, self._access)
        # No link trouble, and the same in a second: an untrusted certificate, a redirect to what is no URL. Any other
        # failure of TLS may be a bit that the link turned over.
        final = isinstance(cause, ssl.SSLCertVerificationError) or isinstance(error, LocationValueError)
        return SourceUnreachable(f"{shown(url)}{self._behalf} cannot be reached: {_sentence(error)}", retry=not final)


class Given:
    """The credentials of a Secret: `token`, or `username` and `password`; the same for whatever a host asks."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def header(self) -> str:
        """Return what the Secret says. Raises SourceForbidden."""
        if token := self._access.credential("token"):
            if not (token.isascii() and token.isprintable()):
                raise SourceForbidden(
                    f"`token` of the Secret that {SECRET_FIELD} names is no bearer token: it has line "
                    "breaks, or characters that no header may carry"
                )
            return f"Bearer {token}"
        user, password = self._access.credential("username"), self._access.credential("password")
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user or password else ""

    def challenged(self, challenge: str) -> bool:  # noqa: ARG002 - see Authorization
        """All that there is was said at once."""
        return False


def _nothing() -> Generator[bytes, None, None]:
    yield from ()


def _origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port, which decide who gets the credentials. Raises HTTPError."""
    parts = urllib3.util.parse_url(url)
    scheme = parts.scheme or ""
    return scheme, parts.host or "", parts.port or urllib3.connectionpool.port_by_scheme.get(scheme)


def _length(url: str, response: urllib3.BaseHTTPResponse) -> int | None:
    """Return how many bytes follow, None where it is not said. Raises SourceUnreachable for what nothing can have."""
    length = response.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal()):
        return None
    if len(length) > _LENGTH_DIGITS:
        raise SourceUnreachable(f"{shown(url)} announces a length of {len(length)} digits", retry=True)
    return int(length)


def _whole(response: urllib3.BaseHTTPResponse, offset: int, length: int | None) -> int | None:
    """Return how many bytes all has of which `length` follow from `offset` on; None: not said. Raises SourceChanged.

    A server may send less than what was asked for (RFC 9110, 15.3.7), and only the end of Content-Range tells.
    """
    unit, _, rest = response.headers.get("Content-Range", "").replace(" ", "").partition(f"bytes{offset}-")
    if unit or not rest:
        raise SourceChanged
    total = rest.rpartition("/")[2]
    if total.isascii() and total.isdecimal() and len(total) <= _LENGTH_DIGITS:
        return int(total)
    return None if length is None else offset + length


def _validator(response: urllib3.BaseHTTPResponse) -> str | None:
    """Return what If-Range may carry (RFC 9110, 13.1.5): a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _sentence(error: Exception) -> str:
    """Say in plain words what urllib3 says in class names and addresses of objects."""
    if isinstance(error, NameResolutionError):
        return "its host name cannot be resolved"
    if isinstance(error, NewConnectionError):  # before ConnectTimeoutError, of which it is a kind
        return _plain(error.__cause__ or error)
    if isinstance(error, ConnectTimeoutError):
        return f"no answer within {CONNECT_TIMEOUT:.0f} s"
    if isinstance(error, ReadTimeoutError):
        return f"no byte arrived for {READ_TIMEOUT:.0f} s"
    if isinstance(error, ProxyError):
        return f"the proxy failed: {_proxied(error.original_error)}"
    if isinstance(error, ProtocolError):
        cause = error.args[-1]
        if isinstance(cause, IncompleteRead):
            return f"the connection was cut with {cause.expected} bytes to come"
        return f"the connection was cut: {_plain(cause)}"
    if isinstance(error, SSLError):
        return f"TLS failed: {_certificate(error.args[0] if error.args else error)}"
    if isinstance(error, LocationValueError):
        return "it redirects to what is no URL"
    return f"the request failed: {error}"


def _proxied(error: Exception) -> str:
    return _sentence(error) if isinstance(error, HTTPError) else _plain(error)


def _certificate(cause: object) -> str:
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return str(cause)
    by = f" by the node's clock, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC" if cause.verify_code == _EXPIRED else ""
    return f"{cause.verify_message}{by}"


def _plain(error: object) -> str:
    return str((isinstance(error, OSError) and error.strerror) or error)
