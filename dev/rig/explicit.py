"""A cluster of the user's own (LITTORAL_KUBECONFIG): looked at, asked about, and never prepared.

No node is labelled there and no emulator installed. The CRDs are installed after a yes only; YES=1 answers it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import kubernetes
import urllib3

from rig import kube
from rig.errors import RigError


def describe(kubeconfig: Path) -> str:
    """The cluster's address, version and number of nodes, for a person to recognise it.

    Raises RigError if there is no such file or nobody answers.
    """
    try:
        with kube.client(kubeconfig) as api:
            version = kubernetes.client.VersionApi(api).get_code(_request_timeout=5).git_version
            nodes = kubernetes.client.CoreV1Api(api).list_node(_request_timeout=5).items
            return f"{api.configuration.host}: Kubernetes {version}, {len(nodes)} nodes"
    except (kubernetes.config.ConfigException, kubernetes.client.ApiException, urllib3.exceptions.HTTPError) as error:
        raise RigError(f"LITTORAL_KUBECONFIG={kubeconfig}: {error}") from error


def may_install_crds(cluster: str, env: Mapping[str, str], ask: Callable[[str], str] | None = None) -> bool:
    """True if YES=1 says so, or else if the person at the terminal does; without a terminal: False."""
    if env.get("YES") == "1":
        return True
    if ask is None:
        if not sys.stdin.isatty():
            return False
        ask = input
    return ask(f"install littoral's CustomResourceDefinitions into {cluster}? [y/N] ").strip().lower() in {"y", "yes"}
