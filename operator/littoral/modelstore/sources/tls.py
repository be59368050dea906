"""How every source reaches its host: which certificates it trusts, through which proxy it goes, and what a certificate
from the future means.

Trusted are the system's authorities (or SSL_CERT_FILE, or certifi's where the image has none), those in the file that
LITTORAL_CA_BUNDLE names, and those under `ca.crt` in the source's ConfigMap or Secret: private ones are added, none is
taken away.

Proxies are HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the source's ConfigMap or Secret, each over the environment's
variable of that name. NO_PROXY holds host names (which cover their subdomains), addresses and networks (CIDR), or "*".
"""

import base64
import datetime as dt
import http.client
import ipaddress
import os
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from littoral.modelstore.access import Access
from littoral.modelstore.errors import NodeClockWrong, SourceUnreachable
from littoral.modelstore.sources import shown

ENV_CA_BUNDLE: Final = "LITTORAL_CA_BUNDLE"
CA_KEY: Final = "ca.crt"
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 30.0
"""Seconds without a byte after which a connection counts as cut."""
NOT_YET_VALID: Final = 9
"""X509_V_ERR_CERT_NOT_YET_VALID, as SSLCertVerificationError.verify_code has it."""
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, for which Python's ssl has no name."""
_PORTS: Final = {"http": 80, "https": 443}


def authorities(access: Access) -> str:
    """Return the certificates (PEM) to trust beside the system's, "" where there are none. Raises SourceUnreachable."""
    found = []
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:
        import certifi  # noqa: PLC0415 - only where the image brings no certificates of its own

        found.append(Path(certifi.where()).read_text(encoding="ascii", errors="ignore"))
    if bundle := os.environ.get(ENV_CA_BUNDLE):
        try:
            found.append(_certificates(Path(bundle).read_text(encoding="ascii", errors="ignore"), bundle))
        except OSError as error:
            raise SourceUnreachable(
                f"the CA certificates in {bundle} ({ENV_CA_BUNDLE}) cannot be read: {error}"
            ) from None
    if given := access.setting(CA_KEY):
        found.append(_certificates(given, f"{CA_KEY} of what spec.variants[].source.configMapName names"))
    return "\n".join(found)


def _certificates(text: str, where: str) -> str:
    # Bundles carry their authorities' names, in any encoding, as comments.
    pem = text.encode("ascii", "ignore").decode("ascii")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        detail = getattr(error, "reason", None) or error
        raise SourceUnreachable(f"{where} holds no CA certificates in PEM: {detail}") from None
    return pem


def context(access: Access) -> ssl.SSLContext:
    """Return what verifies a server's certificate. Raises SourceUnreachable where the authorities are no PEM."""
    made = ssl.create_default_context()
    if added := authorities(access):
        made.load_verify_locations(cadata=added)
    return made


def proxies(access: Access) -> Mapping[str, str]:
    """Return the proxies by scheme ("http", "https") and, under "no", the hosts that are reached without one."""
    found = {key: value for key, value in urllib.request.getproxies().items() if key in {"http", "https", "no"}}
    for key in ("http", "https", "no"):
        name = f"{key}_proxy"
        if value := access.setting(name.upper(), name):
            found[key] = value
    return {key: value if key == "no" or "://" in value else f"http://{value}" for key, value in found.items()}


def proxy_for(url: str, access: Access) -> str | None:
    """Return the URL of the proxy through which `url` is reached, with its user and password; None: directly."""
    parts = urllib.parse.urlsplit(url)
    chosen = proxies(access)
    proxy = chosen.get(parts.scheme)
    return proxy if proxy and not _direct(parts.hostname or "", chosen.get("no", "")) else None


def proxy_headers(proxy: str) -> dict[str, str]:
    """Return the headers that a proxy with this URL wants for its user and password, if it names any."""
    parts = urllib.parse.urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _direct(host: str, excluded: str) -> bool:
    """Tell whether NO_PROXY, whose value is `excluded`, covers `host`."""
    for entry in filter(None, (part.strip().lower() for part in excluded.split(","))):
        # One colon stands before a port; more are an IPv6 address's.
        name = (entry.rpartition(":")[0] if entry.count(":") == 1 else entry).removeprefix("*").removeprefix(".")
        if entry == "*" or host == name or host.endswith(f".{name}") or _within(host, name):
            return True
    return False


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def clock_wrong(url: str, access: Access) -> NodeClockWrong:
    """Return the failure that a certificate is which begins to be valid later than it is by this machine's clock.

    The host is asked once more, with everything verified but the time, so that the sentence can name both times.
    """
    now = dt.datetime.now(dt.UTC)
    begin = _not_before(url, access)
    known = f" before {begin:%Y-%m-%d %H:%M:%S} UTC" if begin and begin > now else ""
    return NodeClockWrong(
        f"{shown(url)}: the host's certificate is not yet valid{known}, by the node's clock, which says "
        f"{now:%Y-%m-%d %H:%M:%S} UTC; set the clock of the node"
    )


def _not_before(url: str, access: Access) -> dt.datetime | None:
    """Return the time from which the certificate of the host of `url` is valid; None where that cannot be had."""
    timeless = context(access)
    timeless.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    proxy = proxy_for(url, access)
    if proxy and urllib.parse.urlsplit(proxy).scheme != "http":
        return None  # http.client speaks to proxies in plain text, and the header would hold the password
    host, port = _address(url)
    connection = http.client.HTTPSConnection(
        *(_address(proxy) if proxy else (host, port)), timeout=CONNECT_TIMEOUT, context=timeless
    )
    try:
        if proxy:
            connection.set_tunnel(host, port, proxy_headers(proxy))
        connection.connect()
        certificate = connection.sock.getpeercert() or {}
        return dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notBefore"])), dt.UTC)
    except (OSError, http.client.HTTPException, KeyError, ValueError):
        return None
    finally:
        connection.close()


def _address(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
