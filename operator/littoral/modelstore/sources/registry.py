"""Registries: manifests and blobs as the distribution specification of OCI has it, by GET, blobs with Range.

Everything goes through `http`, which brings proxies, private authorities, redirects and time limits. Who asks is
settled after a 401: a registry that wants Basic gets user and password; one that wants Bearer names the server that
hands out tokens, which gets them instead. They come from ``.dockerconfigjson``, or from ``username`` and ``password``
of the Secret; without any, tokens are anonymous.

https, but for hosts on loopback and where the key OCI_PLAIN_HTTP of the ConfigMap says "true".
"""

import base64
import hashlib
import ipaddress
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from littoral.modelstore.access import NO_ACCESS, Access
from littoral.modelstore.errors import SourceForbidden, SourceUnreachable, UnsupportedSource
from littoral.modelstore.sources import Source, shown
from littoral.modelstore.sources.http import Given, HttpSource, Pools

PLAIN_HTTP_KEY: Final = "OCI_PLAIN_HTTP"
DOCKER_CONFIG_KEY: Final = ".dockerconfigjson"
MAX_MANIFEST: Final = 4 << 20
"""Bytes; what the distribution specification wants a registry to take, and no artifact of files comes near it."""
_MAX_TOKEN: Final = 64 << 10
# An index is asked for so that it can be refused by name.
_ACCEPT: Final = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)
_REFERENCE: Final = re.compile(
    r"oci://(?P<host>[^/@?#]+)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What an oci:// URI names; `tag` and `digest` are empty where it has none."""

    host: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        tag, digest = self.tag and f":{self.tag}", self.digest and f"@{self.digest}"
        return f"oci://{self.host}/{self.repository}{tag}{digest}"


def reference(uri: str) -> Reference:
    """Return what `uri` names. Raises UnsupportedSource."""
    found = _REFERENCE.fullmatch(uri)
    if found is None:
        raise UnsupportedSource(
            f"{shown(uri)} is not oci://HOST[:PORT]/REPOSITORY@sha256:…, the repository in lower case"
        )
    parts = found.groupdict(default="")
    return Reference(parts["host"], parts["repository"], parts["tag"], parts["digest"])


def resolve(uri: str, access: Access = NO_ACCESS) -> str:
    """Return `uri` with the digest that its tag (or "latest") has now, as a person may trust it. Raises FetchError."""
    named = reference(uri)
    if named.digest:
        return uri
    body = Registry(named, access).manifest(named.tag or "latest")
    return f"oci://{named.host}/{named.repository}@sha256:{hashlib.sha256(body).hexdigest()}"


class Registry:
    """One repository of a registry."""

    def __init__(self, named: Reference, access: Access) -> None:
        scheme = "http" if _plain(named.host, access) else "https"
        self._named = str(named)
        self._base = f"{scheme}://{named.host}/v2/{named.repository}"
        self._access = access
        # One for all: an artifact may have hundreds of layers, and what verifies certificates takes a MiB each time.
        self._pools: Pools = {}
        self._authorization = _Negotiated(named, access, scheme, self._pools)

    def manifest(self, name: str) -> bytes:
        """Return the bytes of the manifest of that tag or digest. Raises FetchError."""
        what = f"{self._base}/manifests/{name}"
        return _whole(self._source(what, _ACCEPT), what, MAX_MANIFEST)

    def blob(self, digest: str) -> Source:
        """Return the source of a blob."""
        return self._source(f"{self._base}/blobs/{digest}", "*/*")

    def _source(self, url: str, accept: str) -> Source:
        return HttpSource(
            url,
            self._access,
            authorization=self._authorization,
            accept=accept,
            pools=self._pools,
            behalf=self._named,
        )


class _Negotiated:
    """What a registry is told of who asks: nothing, until it answered 401 and said what it wants to hear."""

    def __init__(self, named: Reference, access: Access, scheme: str, pools: Pools) -> None:
        self._named, self._access, self._scheme, self._pools = named, access, scheme, pools
        self._given = Given(_credentials(access, named.host))
        self._header = ""

    def header(self) -> str:
        """Return what the last challenge was answered with."""
        return self._header

    def challenged(self, challenge: str) -> bool:
        """Answer a challenge; a token that was good for one is asked for anew, for it lasts minutes."""
        scheme, _, rest = challenge.partition(" ")
        before = self._header
        if scheme.lower() == "bearer":
            self._header = f"Bearer {self._token(_parameters(rest))}"
        elif scheme.lower() == "basic":
            self._header = self._given.header()
        return self._header != before

    def _token(self, asked: Mapping[str, str]) -> str:
        """Ask the server that the registry named for a token to read the repository. Raises FetchError."""
        realm = self._trusted(asked.get("realm", ""))
        scope = asked.get("scope") or f"repository:{self._named.repository}:pull"
        query = urllib.parse.urlencode({"service": asked.get("service", ""), "scope": scope})
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        try:
            source = HttpSource(url, self._access, authorization=self._given, pools=self._pools)
            answer = json.loads(_whole(source, shown(realm), _MAX_TOKEN))
            token = answer.get("token") or answer.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
            raise SourceUnreachable(f"{shown(realm)} handed out no token for {self._named.host}")
        return token

    def _trusted(self, realm: str) -> str:
        """Return the URL from which tokens come, if credentials may be sent there. Raises SourceForbidden."""
        sends = f"{self._named.host} sends for a token to {shown(realm)!a}"
        try:
            parts = urllib.parse.urlsplit(realm)
        except ValueError:
            raise SourceForbidden(f"{sends}, which is no URL") from None
        if parts.scheme not in {"https", self._scheme}:
            raise SourceForbidden(f"{sends}, which is not https")
        # A registry that is reached without TLS may be anybody by the time that it answers.
        own = urllib.parse.urlsplit(f"//{self._named.host}").hostname
        if parts.scheme == "http" and parts.hostname != own and self._given.header():
            raise SourceForbidden(f"{sends}, another host and not https: credentials are not sent there")
        return realm


def _whole(source: Source, what: str, most: int) -> bytes:
    """Return all bytes of something small."""
    stream = source.open(0)
    body = b""
    with closing(stream.chunks):
        for chunk in stream.chunks:
            body += chunk
            if len(body) > most:
                raise UnsupportedSource(f"{what} has more than {most >> 10} KiB")
    return body


def _credentials(access: Access, host: str) -> Access:
    """Return user and password for `host`: of the Docker configuration if it knows it, else those of the Secret."""
    try:
        held = json.loads(access.credential(DOCKER_CONFIG_KEY) or "{}")["auths"]
        # Keys are hosts, or URLs of hosts.
        entry = next(held[key] for key in held if key.rpartition("//")[2].partition("/")[0] == host)
        user, _, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
        return Access({"username": entry.get("username") or user, "password": entry.get("password") or password})
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError):
        return Access({key: access.credential(key) for key in ("username", "password")})


def _parameters(challenge: str) -> Mapping[str, str]:
    try:
        return urllib.request.parse_keqv_list(urllib.request.parse_http_list(challenge))
    except ValueError:
        return {}


def _plain(host: str, access: Access) -> bool:
    """Tell whether the registry at `host` is reached without TLS."""
    if said := access.setting(PLAIN_HTTP_KEY).lower():
        return said == "true"
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
