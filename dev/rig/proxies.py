"""A proxy in the environment is for the internet: what talks to a cluster of this machine must not take it.

Downloads go on using it. The addresses of a cluster are added to NO_PROXY, which every component, kubectl, the operator
and the clients of the tests inherit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
_BYPASS = ("NO_PROXY", "no_proxy")


def bypass(addresses: Iterable[str], env: MutableMapping[str, str] = os.environ) -> None:
    """Have `addresses` (also networks) and loopback reached without a proxy; nothing happens where there is none."""
    if not any(env.get(name) or env.get(name.upper()) for name in _PROXIES):
        return
    for name in _BYPASS:
        known = [entry for entry in env.get(name, "").split(",") if entry]
        env[name] = ",".join(dict.fromkeys([*known, "127.0.0.1", "localhost", *addresses]))
