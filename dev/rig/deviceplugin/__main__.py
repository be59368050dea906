"""`python -m rig.deviceplugin RESOURCE COUNT`: advertise COUNT devices of RESOURCE until SIGTERM.

A kubelet that restarts forgets its plugins and empties the folder of their sockets. So the plugin looks whether its
socket is still there, and whether the kubelet's is the one that it registered with, and otherwise starts anew.
Containers that are given devices learn which from NVIDIA_VISIBLE_DEVICES, as NVIDIA's own plugin tells them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

_PROTO = "rig/deviceplugin/api.proto"
_LOOK_SECONDS = 1.0
_KUBELET = "kubelet.sock"


class Plugin:
    """The service that the kubelet calls; it reads the same devices for as long as the process lives."""

    def __init__(self, api: Any, count: int, stopping: threading.Event) -> None:
        self._api = api
        self._devices = [api.Device(ID=f"emulated-{number}", health="Healthy") for number in range(count)]
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
                self._api.ContainerAllocateResponse(envs={"NVIDIA_VISIBLE_DEVICES": ",".join(container.devices_ids)})
                for container in request.container_requests
            ]
        )


def serve(resource: str, count: int, folder: Path, stopping: threading.Event) -> None:
    """Serve and stay registered with the kubelet whose device plugin folder is `folder`, until `stopping` is set."""
    api, services = grpc.protos_and_services(_PROTO)
    endpoint = f"{resource.replace('/', '-')}.sock"
    while not stopping.is_set():
        kubelet = _identity(folder / _KUBELET)
        if kubelet is None:
            stopping.wait(_LOOK_SECONDS)
            continue
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        services.add_DevicePluginServicer_to_server(Plugin(api, count, stopping), server)
        (folder / endpoint).unlink(missing_ok=True)
        server.add_insecure_port(f"unix://{folder / endpoint}")
        server.start()
        try:
            with grpc.insecure_channel(f"unix://{folder / _KUBELET}") as channel:
                request = api.RegisterRequest(version="v1beta1", endpoint=endpoint, resource_name=resource)
                services.RegistrationStub(channel).Register(request, timeout=10)
            print(f"registered {count} x {resource}", flush=True)
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
    parser.add_argument("resource", help="for example nvidia.com/gpu")
    parser.add_argument("count", type=int)
    parser.add_argument("--folder", type=Path, default=Path("/var/lib/kubelet/device-plugins"))
    arguments = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    serve(arguments.resource, arguments.count, arguments.folder, stopping)


if __name__ == "__main__":
    main()
