"""Which addresses stand behind a model's Service, and which of them are called."""

from typing import Any

import pytest
from tests.triton.conftest import Json, make_model

from littoral.api import group
from littoral.api.inferencemodel import Serving
from littoral.api.workload import ContainerFacts, PodFacts
from littoral.triton import endpoints
from littoral.triton.endpoints import Server

READY, NOT_READY = ContainerFacts(ready=True, running=True), ContainerFacts(running=True)
POD = Serving()


def server(name: str = "pod-1", *, connected: bool = True, zone: str = "", **changes: Any) -> Server:
    models = {"plate": READY, "other": READY}
    facts: dict[str, Any] = {
        "ip": "10.1.0.7", "phase": "Running", "deleting": False, "fetch": ContainerFacts(exit_code=0),
        "server": READY, "grant": None, "model_containers": models, **changes,
    }  # fmt: skip
    return Server(PodFacts("line", name, f"{name}-uid", "edge-a", "vision-1", "r1", **facts), connected, zone)


def one(*servers: Server, serving: Serving = POD) -> Json:
    (built,) = endpoints.build(make_model(), servers, serving)
    return built


BROKEN = {"plate": NOT_READY, "other": READY}
CASES: dict[str, tuple[Server, tuple[bool, bool, bool]]] = {
    "it answers": (server(), (True, True, False)),
    "the model is broken": (server(model_containers=BROKEN), (False, False, False)),
    "another model is broken": (server(model_containers={"plate": READY, "other": NOT_READY}), (True, True, False)),
    "the server is starting": (server(server=NOT_READY), (False, False, False)),
    "the model is not on it yet": (server(model_containers={"other": READY}), (False, False, False)),
    "the node is offline": (server(connected=False), (False, False, False)),
    "it is ending and still answers": (server(deleting=True), (False, True, True)),
}


@pytest.mark.parametrize("what", CASES)
def test_an_address_is_called_while(what: str) -> None:
    given, (ready, serving, terminating) = CASES[what]
    (endpoint,) = one(given)["endpoints"]
    assert endpoint["conditions"] == {"ready": ready, "serving": serving, "terminating": terminating}


def test_one_that_drops_out_takes_no_other_with_it() -> None:
    servers = (server("p1", ip="10.0.0.1"), server("p2", ip="10.0.0.2", connected=False), server("p3", ip="10.0.0.3"))
    found = {each["addresses"][0]: each["conditions"]["ready"] for each in one(*servers)["endpoints"]}
    assert found == {"10.0.0.1": True, "10.0.0.2": False, "10.0.0.3": True}


def test_belongs_to_the_models_service_and_to_the_model() -> None:
    meta = one(server())["metadata"]
    assert meta["labels"]["kubernetes.io/service-name"] == "plate"
    assert meta["labels"][group.LABEL_ENDPOINTS_BY] == group.MANAGER
    assert [(each["kind"], each["name"], each["controller"]) for each in meta["ownerReferences"]] == [
        ("InferenceModel", "plate", True)
    ]


def test_says_where_it_is_and_of_whose_zone() -> None:
    (endpoint,) = one(server(zone="line-3"))["endpoints"]
    assert (endpoint["nodeName"], endpoint["zone"]) == ("edge-a", "line-3")
    assert endpoint["hints"] == {"forZones": [{"name": "line-3"}]}
    assert endpoint["targetRef"] == {"kind": "Pod", "namespace": "line", "name": "pod-1", "uid": "pod-1-uid"}


def test_nobody_is_sent_to_the_zone_of_what_does_not_answer() -> None:
    (endpoint,) = one(server(zone="line-3", server=NOT_READY))["endpoints"]
    assert "hints" not in endpoint


def test_its_ports_are_those_that_triton_opens_by_the_services_names() -> None:
    assert {each["name"]: each["port"] for each in one(server())["ports"]} == {
        "http": 8000, "grpc": 8001, "metrics": 8002,
    }  # fmt: skip
    host = Serving.model_validate({"network": "Host", "ports": {"http": 9000}})
    assert one(server(), serving=host)["ports"][0]["port"] == 9000


def test_addresses_of_two_families_stand_in_two_slices() -> None:
    built = endpoints.build(make_model(), [server("p1"), server("p2", ip="fd00::7")], POD)
    assert [(each["metadata"]["name"], each["addressType"]) for each in built] == [
        ("plate-shared-ipv4-0", "IPv4"),
        ("plate-shared-ipv6-0", "IPv6"),
    ]


def test_a_pod_without_an_address_is_not_there_yet() -> None:
    assert endpoints.build(make_model(), [server(ip="")], POD) == []


def test_no_slice_holds_more_than_the_api_server_takes() -> None:
    servers = [server(f"p{n:04}", ip=f"10.0.{n // 256}.{n % 256}") for n in range(1001)]
    assert [len(each["endpoints"]) for each in endpoints.build(make_model(), servers, POD)] == [1000, 1]
