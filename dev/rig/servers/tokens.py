"""The server that hands out a registry's bearer tokens, as big registries have one beside them.

Its tokens are JSON web tokens (RFC 7519) with what the distribution project's token specification puts into them; the
registry trusts the authority that certified their key.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from rig.pki import Authority
from rig.servers.program import HOST
from rig.servers.serving import serving

SERVICE, ISSUER = "models", "littoral-rig"
_SECONDS = 300


class TokenServer(http.server.ThreadingHTTPServer):
    """Hands out tokens at `realm` to whoever brings USER:PASSWORD (`credentials`); `granted` counts them."""

    daemon_threads = True

    def __init__(self, authority: Authority, credentials: str) -> None:
        super().__init__((HOST, 0), _Handler)
        self.realm = f"http://{HOST}:{self.server_port}/token"
        self.trusted: Path = authority.certificate
        self.basic = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        self.granted = 0
        pair = authority.issue("tokens", user="tokens")
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        self._chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
        key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101  # for the type checker: the authority makes no other
        self._key = key

    def token(self, repository: str, *actions: str) -> str:
        """A token for what is to be done in `repository`."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": SERVICE, "sub": "line-3", "jti": str(now), "iat": now, "nbf": now - 60,
            "exp": now + _SECONDS, "access": [{"type": "repository", "name": repository, "actions": actions}],
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "ES256", "x5c": self._chain}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        r, s = utils.decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return b".".join((signed, _encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big")))).decode()


@contextlib.contextmanager
def token_server(authority: Authority, credentials: str) -> Iterator[TokenServer]:
    """A server that is there while the block runs."""
    with serving(TokenServer(authority, credentials)) as server:
        yield server


class _Handler(http.server.BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != self.server.basic:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED"}]})
            return
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        _, repository, actions = asked["scope"][0].split(":")
        self.server.granted += 1
        self._answer(200, {"token": self.server.token(repository, *actions.split(",")), "expires_in": _SECONDS})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
