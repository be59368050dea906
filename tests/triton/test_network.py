"""How a server is reached on its node."""

import pytest
from tests.triton.conftest import Json, make_model, make_platform

from littoral.api.inferencemodel import InferenceModel
from littoral.triton import pod_template, service

PORTS = {"http": 18000, "grpc": 18001, "metrics": 18002}


def model(network: str, ports: Json | None = None) -> InferenceModel:
    return make_model({"serving": {"network": network, "ports": PORTS if ports is None else ports}})


def spec(of: InferenceModel) -> Json:
    built: Json = pod_template.build(of, of.spec.variants[0], make_platform(), fetch_image="f", revision="r")["spec"]
    return built


def opened(of: InferenceModel) -> list[tuple[str, int, int | None]]:
    (server,) = spec(of)["containers"]
    return [(port["name"], port["containerPort"], port.get("hostPort")) for port in server["ports"]]


def listening(of: InferenceModel) -> list[str]:
    (server,) = spec(of)["containers"]
    return [argument for argument in server["args"] if "-port=" in argument]


@pytest.mark.parametrize("network", ["Pod", "HostPort"])
def test_triton_keeps_to_its_own_ports_where_the_network_is_its_own(network: str) -> None:
    assert listening(model(network)) == ["--http-port=8000", "--grpc-port=8001", "--metrics-port=8002"]
    assert "hostNetwork" not in spec(model(network))
    assert "dnsPolicy" not in spec(model(network))


def test_a_pod_of_its_own_network_takes_no_port_of_the_node() -> None:
    assert opened(model("Pod")) == [("http", 8000, None), ("grpc", 8001, None), ("metrics", 8002, None)]


def test_ports_of_the_node_lead_to_it() -> None:
    assert opened(model("HostPort")) == [("http", 8000, 18000), ("grpc", 8001, 18001), ("metrics", 8002, 18002)]


def test_in_the_nodes_network_it_listens_on_the_nodes_ports() -> None:
    its = model("Host")

    assert listening(its) == ["--http-port=18000", "--grpc-port=18001", "--metrics-port=18002"]
    assert opened(its) == [("http", 18000, 18000), ("grpc", 18001, 18001), ("metrics", 18002, 18002)]


def test_in_the_nodes_network_it_resolves_names_of_the_cluster() -> None:
    its = spec(model("Host"))

    assert (its["hostNetwork"], its["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")


@pytest.mark.parametrize("network", ["Pod", "HostPort", "Host"])
def test_probes_and_services_find_the_port_by_its_name(network: str) -> None:
    its = model(network)
    (server,) = spec(its)["containers"]
    named = {port["name"] for port in server["ports"]}

    assert {server[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "http"
    }
    assert {port["targetPort"] for port in service.build(its)["spec"]["ports"]} == named
    assert [port["port"] for port in service.build(its)["spec"]["ports"]] == [8000, 8001, 8002]


@pytest.mark.parametrize("ports", [{"http": 1080}, {"grpc": 1081}, {"metrics": 1082}])
def test_ports_that_are_not_named_stay_the_usual_ones(ports: dict[str, int]) -> None:
    wanted = {"http": 8000, "grpc": 8001, "metrics": 8002} | ports

    assert {name: on_node for name, _, on_node in opened(model("HostPort", ports))} == wanted
