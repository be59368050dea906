import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from rig.deviceplugin.__main__ import Advertised, serve
from rig.nodefiles import NodeSpec, device_plugin_arguments
from rig.waiting import until

API, SERVICES = grpc.protos_and_services("rig/deviceplugin/api.proto")


class Kubelet:
    """The registration side of one."""

    def __init__(self) -> None:
        self.registered: list[Any] = []

    def Register(self, request: Any, _context: Any) -> Any:  # noqa: N802  # named by the protocol
        self.registered.append(request)
        return API.Empty()


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    found = Kubelet()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    SERVICES.add_RegistrationServicer_to_server(found, server)
    server.add_insecure_port(f"unix://{tmp_path}/kubelet.sock")
    server.start()
    yield found
    server.stop(grace=0).wait()


@pytest.mark.parametrize(
    ("text", "ids", "variable"),
    [
        ("nvidia.com/gpu=2", ["emulated-0", "emulated-1"], "NVIDIA_VISIBLE_DEVICES"),
        (
            "nvidia.com/gpu=2x2",
            ["emulated-0::0", "emulated-0::1", "emulated-1::0", "emulated-1::1"],
            "NVIDIA_VISIBLE_DEVICES",
        ),
        ("huawei.com/Ascend310P-4c.3cpu=1x1", ["emulated-0"], "ASCEND_VISIBLE_DEVICES"),
    ],
)
def test_what_is_advertised(text: str, ids: list[str], variable: str) -> None:
    found = Advertised.parse(text)
    assert (found.ids, found.variable) == (ids, variable)


@pytest.mark.parametrize("text", ["nvidia.com/gpu", "nvidia.com/gpu=", "=2", "nvidia.com/gpu=2x0", "nvidia.com/gpu=x4"])
def test_what_says_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not RESOURCE=DEVICES or RESOURCE=DEVICESxREPLICAS"):
        Advertised.parse(text)


def test_a_node_advertises_what_its_spec_says() -> None:
    spec = NodeSpec("edge-a", devices={"nvidia.com/gpu": 2, "huawei.com/Ascend310P": 3}, replicas={"nvidia.com/gpu": 4})
    advertised = [Advertised.parse(argument) for argument in device_plugin_arguments(spec)]
    assert {each.resource: len(each.ids) for each in advertised} == spec.units
    assert spec.units == {"nvidia.com/gpu": 8, "huawei.com/Ascend310P": 3}


def test_it_registers_and_tells_a_container_the_device_and_not_the_replica(tmp_path: Path, kubelet: Kubelet) -> None:
    stopping = threading.Event()
    with futures.ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, Advertised("nvidia.com/gpu", 1, 4), tmp_path, stopping)
        try:
            until(lambda: kubelet.registered, timeout=10, failure=lambda: AssertionError("it did not register"))
            (request,) = kubelet.registered
            assert (request.version, request.resource_name) == ("v1beta1", "nvidia.com/gpu")
            with grpc.insecure_channel(f"unix://{tmp_path / request.endpoint}") as channel:
                plugin = SERVICES.DevicePluginStub(channel)
                listed = next(iter(plugin.ListAndWatch(API.Empty())))
                units = [API.ContainerAllocateRequest(devices_ids=["emulated-0::3", "emulated-0::1"])]
                answer = plugin.Allocate(API.AllocateRequest(container_requests=units))
        finally:
            stopping.set()
        served.result()
    assert [(device.ID, device.health) for device in listed.devices] == [
        (f"emulated-0::{replica}", "Healthy") for replica in range(4)
    ]
    (container,) = answer.container_responses
    assert dict(container.envs) == {"NVIDIA_VISIBLE_DEVICES": "emulated-0"}
