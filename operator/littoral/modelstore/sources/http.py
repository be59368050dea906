"""https:// and http://: one GET for each attempt, resumed by Range.

urllib3 brings TLS, redirects, timeouts and proxies. Its Retry is used for redirects alone: it ends where the body
begins, and a cut body is the usual failure at the edge, so `transfer` has one loop for both.

A range is asked for with If-Range where the server gave a validator, so that halves of two versions are never joined
unseen. Bytes are taken as they are stored (Accept-Encoding: identity, no decoding), for the digest is theirs.

Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY; certificates from the system (or SSL_CERT_FILE), or certifi's
where the image has none, plus those in the file that LITTORAL_CA_BUNDLE names.
"""

import os
import ssl
import urllib.request
from collections.abc import Generator
from typing import Final

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    InvalidHeader,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    ResponseError,
    SSLError,
)

from littoral.modelstore.errors import SourceUnreachable, UnsupportedSource
from littoral.modelstore.sources import CHUNK, SourceChanged, Stream, shown

ENV_CA_BUNDLE: Final = "LITTORAL_CA_BUNDLE"
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 30.0
"""Seconds without a byte after which a connection counts as cut."""
_REDIRECTS: Final = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5, raise_on_status=False)
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may work in a moment."""
_FINAL: Final = (SSLError, LocationValueError, ResponseError)
"""No link trouble, and the same in a second: an untrusted certificate, a redirect that leads nowhere or in circles."""


class HttpSource:
    """One artifact behind a URL; keeps the validator of the first answer. Raises UnsupportedSource for a bad URL."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._validator: str | None = None
        try:
            url = urllib3.util.parse_url(uri)
            if not url.host:
                raise UnsupportedSource(f"{shown(uri)} names no host")
            if url.auth:
                raise UnsupportedSource(f"{shown(uri)}: a user or password in a URI would be readable by everybody")
            self._pool = _pool(url)
        except HTTPError as error:
            raise UnsupportedSource(f"{shown(uri)} cannot be used: {error}") from None

    def open(self, offset: int) -> Stream:
        """Return the artifact's bytes from `offset` on. Raises SourceUnreachable, SourceChanged."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "littoral"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator:
                headers["If-Range"] = self._validator
        try:
            response = self._pool.request(
                "GET", self._uri, headers=headers, preload_content=False, decode_content=False, retries=_REDIRECTS
            )
        except HTTPError as error:
            raise self._unreachable(error) from None
        try:
            return self._stream(response, offset)
        except BaseException:
            response.close()
            raise

    def _stream(self, response: urllib3.BaseHTTPResponse, offset: int) -> Stream:
        if response.status == 416 and offset:
            # Asked for what follows the last byte: a body without a length that ended exactly there.
            if response.headers.get("Content-Range", "").endswith(f"*/{offset}"):
                response.close()
                return Stream(_nothing(), offset)
            raise SourceChanged
        if response.status not in {200, 206}:
            raise self._refused(response)
        validator = _validator(response)
        if offset and self._validator and validator != self._validator:
            raise SourceChanged
        self._validator = validator
        length = response.headers.get("Content-Length", "")
        if response.status == 206:
            if not response.headers.get("Content-Range", "").replace(" ", "").startswith(f"bytes{offset}-"):
                raise SourceChanged
            total = offset + int(length) if length.isdecimal() else None
            return Stream(self._chunks(response, skip=0), total)
        # The server knows no ranges: what is here already is read past, not written again.
        return Stream(self._chunks(response, skip=offset), int(length) if length.isdecimal() else None)

    def _chunks(self, response: urllib3.BaseHTTPResponse, skip: int) -> Generator[bytes, None, None]:
        try:
            while chunk := response.read(CHUNK):
                if skip < len(chunk):
                    yield chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))
        except HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            response.close()

    def _refused(self, response: urllib3.BaseHTTPResponse) -> SourceUnreachable:
        try:
            after = urllib3.Retry().get_retry_after(response)
        except InvalidHeader:
            after = None
        return SourceUnreachable(
            f"{shown(self._uri)} answered {response.status} {response.reason or ''}".rstrip(),
            retry=response.status in _RETRIED,
            retry_after=after,
        )

    def _unreachable(self, error: HTTPError) -> SourceUnreachable:
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        return SourceUnreachable(
            f"{shown(self._uri)} cannot be reached: {_sentence(cause)}", retry=not isinstance(cause, _FINAL)
        )


def _nothing() -> Generator[bytes, None, None]:
    yield from ()


def _validator(response: urllib3.BaseHTTPResponse) -> str | None:
    """Return what If-Range may carry (RFC 9110, 13.1.5): a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _pool(url: urllib3.util.Url) -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
    context = _tls() if url.scheme == "https" else None
    proxy = urllib.request.getproxies().get(url.scheme or "")
    if not proxy or urllib.request.proxy_bypass(url.netloc or ""):
        return urllib3.PoolManager(1, timeout=timeout, ssl_context=context)
    auth = urllib3.util.parse_url(proxy).auth
    headers = urllib3.util.make_headers(proxy_basic_auth=auth) if auth else None
    return urllib3.ProxyManager(proxy, 1, proxy_headers=headers, timeout=timeout, ssl_context=context)


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:
        import certifi  # noqa: PLC0415 - only where the image brings no certificates of its own

        context.load_verify_locations(certifi.where())
    if bundle := os.environ.get(ENV_CA_BUNDLE):
        try:
            context.load_verify_locations(bundle)
        except OSError as error:
            raise SourceUnreachable(
                f"the CA certificates in {bundle} ({ENV_CA_BUNDLE}) cannot be read: {error}"
            ) from None
    return context


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
        return f"the proxy failed: {error.original_error}"
    if isinstance(error, ProtocolError):
        cause = error.args[-1]
        if isinstance(cause, IncompleteRead):
            return f"the connection was cut with {cause.expected} bytes to come"
        return f"the connection was cut: {_plain(cause)}"
    if isinstance(error, SSLError):
        cause = error.args[0] if error.args else error
        detail = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)
        hint = "; is the node's clock right?" if "not yet valid" in detail else ""
        return f"TLS failed: {detail}{hint}"
    return f"the request failed: {error}"


def _plain(error: object) -> str:
    return str((isinstance(error, OSError) and error.strerror) or error)
