"""HTTP origins: with and without ranges, plain and behind a certificate of the site's own authority."""

import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Literal

from tests.delivery.artifacts import FILES, TAR, TAR_GZ, TAR_ZST, WEIGHTS, sha256
from tests.delivery.node import Published
from tests.modelstore.conftest import Origin, Resource

from rig.pki import Authority

ONNX = {"1/model.onnx": WEIGHTS}
_BODIES: Mapping[str, bytes] = {
    "model.onnx": WEIGHTS,
    "model.tar": TAR,
    "model.tar.gz": TAR_GZ,
    "model.tar.zst": TAR_ZST,
}


class Web:
    """Two web servers, http and https, each of which has every artifact in every manner of serving."""

    def __init__(self, plain: Origin, tls: Origin, authority: Authority) -> None:
        self.plain, self.tls, self._authority = plain, tls, authority
        for name, body in _BODIES.items():
            for origin in (plain, tls):
                origin.put(f"/{name}", Resource(body))
                origin.put(f"/bare/{name}", Resource(body, ranges=False, etag=None))
                origin.put(f"/unmeasured/{name}", Resource(body, ranges=False, etag=None, length=False))

    def published(self, name: str, manner: Literal["", "/bare", "/unmeasured"] = "", *, tls: bool = False) -> Published:
        """An artifact by its file name; bare: without ranges and validators; unmeasured: without a length, too."""
        scheme, origin = ("https", self.tls) if tls else ("http", self.plain)
        path = f"{manner}/{name}"
        settings = {"ca.crt": self._authority.certificate.read_text(encoding="utf-8")} if tls else {}
        single = name == "model.onnx"
        return Published(
            upstream=f"127.0.0.1:{origin.server_port}",
            uri=lambda address: f"{scheme}://{address}{path}",
            sha256=sha256(_BODIES[name]),
            size=len(_BODIES[name]),
            files=ONNX if single else FILES,
            format="onnx" if single else "python",
            settings=lambda _: settings,
        )


@contextlib.contextmanager
def web(authority: Authority) -> Iterator[Web]:
    """The servers, while the block runs."""
    pair = authority.issue("web", user="web", hosts=["127.0.0.1", "models.example"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    plain, tls = Origin(), Origin()
    # The handshake belongs into the thread of its connection: one that says nothing must not hold up the others.
    tls.socket = context.wrap_socket(tls.socket, server_side=True, do_handshake_on_connect=False)
    with _running(plain), _running(tls):
        yield Web(plain, tls, authority)


@contextlib.contextmanager
def _running(origin: Origin) -> Iterator[None]:
    with origin:
        thread = threading.Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            origin.shutdown()
            thread.join()
