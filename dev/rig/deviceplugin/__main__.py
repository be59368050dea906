"""`python -m rig.deviceplugin RESOURCE=DEVICES[xREPLICAS]…`: advertise devices of each RESOURCE until SIGTERM.

A kubelet that restarts forgets its plugins and empties the folder of their sockets. So the plugin looks whether its
socket is still there, and whether the kubelet's is the one that it registered with, and otherwise starts anew.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

_PROTO = "rig/deviceplugin/api.proto"
_LOOK_SECONDS = 1.0
_KUBELET = "kubelet.sock"
_REPLICA = "::"


@dataclass(frozen=True)
class Advertised:
    """The devices of one resource: each one unit, or `replicas` units whose ids tell device and replica.

    The ids are as of NVIDIA's plugin: ID, and where a device is shared ID::REPLICA.
    """

    resource: str
    devices: int
    replicas: int = 1

    @property
    def ids(self) -> list[str]:
        """Of all units."""
        names = [f"emulated-{number}" for number in range(self.devices)]
        if self.replicas == 1:
            return names
        return [f"{name}{_REPLICA}{replica}" for name in names for replica in range(self.replicas)]

    @property
    def variable(self) -> str:
        """The environment variable by which the vendor's own plugin tells a container its devices."""
        return "ASCEND_VISIBLE_DEVICES" if self.resource.startswith("huawei.com/") else "NVIDIA_VISIBLE_DEVICES"

    @classmethod
    def parse(cls, text: str) -> Advertised:
        """Read RESOURCE=DEVICES or RESOURCE=DEVICESxREPLICAS; ValueError where it is neither."""
        found = re.fullmatch(r"([^=]+)=(\d+)(?:x([1-9]\d*))?", text)
        if found is None:
            raise ValueError(f"{text!r} is not RESOURCE=DEVICES or RESOURCE=DEVICESxREPLICAS")
        return cls(found[1], int(found[2]), int(found[3] or 1))


class Plugin:
    """The service that the kubelet calls; it reads the same devices for as long as the process lives."""

    def __init__(self, api: Any, advertised: Advertised, stopping: threading.Event) -> None:
        self._api = api
        self._variable = advertised.variable
        self._devices = [api.Device(ID=unit, health="Healthy") for unit in advertised.ids]
        self._stopping = stopping

    def GetDevicePluginOptions(self, _request: Any, _context: Any) -> Any:  # noqa: N802  # named by the protocol
        """No options: devices need no preparation and are all alike."""
        return self._api.DevicePluginOptions()

    def ListAndWatch(self, _request: Any, context: Any) -> Iterator[Any]:  # noqa: N802  # named by the protocol
        """Say once which devices there are, and hold the stream: a plugin whose stream ends has lost its devices."""
        yield self._api.ListAndWatchResponse(devices=self._devices)
        while context.is_active() and not self._stopping.wait(_LOOK_SECONDS):
            pass

    def Allocate(self, request: Any, _context: Any) -> Any:  # noqa: N802  # named by the protocol
        """Tell each container its devices."""
        return self._api.AllocateResponse(
            container_responses=[
                self._api.ContainerAllocateResponse(envs={self._variable: visible(container.devices_ids)})
                for container in request.container_requests
            ]
        )


def visible(units: Iterable[str]) -> str:
    """The devices that these units are of, each once: a runtime knows of no replicas."""
    return ",".join(dict.fromkeys(unit.partition(_REPLICA)[0] for unit in units))


def serve(advertised: Advertised, folder: Path, stopping: threading.Event) -> None:
    """Serve and stay registered with the kubelet whose device plugin folder is `folder`, until `stopping` is set."""
    api, services = grpc.protos_and_services(_PROTO)
    resource = advertised.resource
    endpoint = f"{resource.replace('/', '-')}.sock"
    while not stopping.is_set():
        kubelet = _identity(folder / _KUBELET)
        if kubelet is None:
            stopping.wait(_LOOK_SECONDS)
            continue
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        services.add_DevicePluginServicer_to_server(Plugin(api, advertised, stopping), server)
        (folder / endpoint).unlink(missing_ok=True)
        server.add_insecure_port(f"unix://{folder / endpoint}")
        server.start()
        try:
            with grpc.insecure_channel(f"unix://{folder / _KUBELET}") as channel:
                request = api.RegisterRequest(version="v1beta1", endpoint=endpoint, resource_name=resource)
                services.RegistrationStub(channel).Register(request, timeout=10)
            print(f"registered {len(advertised.ids)} x {resource}", flush=True)
            while _identity(folder / _KUBELET) == kubelet and (folder / endpoint).exists():
                if stopping.wait(_LOOK_SECONDS):
                    break
        except grpc.RpcError as error:
            print(f"registration failed, trying again: {error}", file=sys.stderr, flush=True)
            stopping.wait(_LOOK_SECONDS)
        finally:
            server.stop(grace=1).wait()


def _identity(socket: Path) -> tuple[int, int] | None:
    """Which socket file this is: a kubelet that restarts makes a new one."""
    try:
        status = socket.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rig.deviceplugin", description="Emulated device plugin")
    parser.add_argument(
        "resources", nargs="+", type=Advertised.parse, metavar="RESOURCE=DEVICES[xREPLICAS]", help="nvidia.com/gpu=2x4"
    )
    parser.add_argument("--folder", type=Path, default=Path("/var/lib/kubelet/device-plugins"))
    arguments = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with futures.ThreadPoolExecutor(max_workers=len(arguments.resources)) as pool:
        served = [pool.submit(serve, each, arguments.folder, stopping) for each in arguments.resources]
        # One that fails ends all: half of a node's devices would be taken for all of them.
        for done in futures.as_completed(served):
            stopping.set()
            done.result()


if __name__ == "__main__":
    main()
