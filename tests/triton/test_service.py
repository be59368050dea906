import json

from tests.triton.conftest import make_frozen, make_model, make_platform

from littoral.api import group
from littoral.triton import pod_template, service


def test_is_named_as_the_model_and_owned_by_it() -> None:
    manifest = service.build(make_model())

    assert (manifest["apiVersion"], manifest["kind"]) == ("v1", "Service")
    assert (manifest["metadata"]["name"], manifest["metadata"]["namespace"]) == ("plate", "line")
    assert manifest["metadata"]["labels"][group.LABEL_MANAGED_BY] == group.MANAGER
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("InferenceModel", "plate", "model-uid")
    assert (owner["controller"], owner["blockOwnerDeletion"]) == (True, False)


def test_leads_to_the_ports_of_the_pods_by_name() -> None:
    ports = {port["name"]: port for port in service.build(make_model())["spec"]["ports"]}
    opened = {port["name"]: port["containerPort"] for port in make_frozen().template["spec"]["containers"][0]["ports"]}

    assert {name: port["port"] for name, port in ports.items()} == opened
    assert all((port["targetPort"], port["protocol"]) == (name, "TCP") for name, port in ports.items())


def test_selects_the_serving_pods_and_nothing_that_merely_belongs_to_the_model() -> None:
    model = make_model()
    wanted = service.build(model)["spec"]["selector"].items()
    pod = pod_template.build(model, model.spec.variants[0], make_platform(), fetch_image="f", revision="r")

    assert wanted <= pod["metadata"]["labels"].items()
    assert not wanted <= service.build(model)["metadata"]["labels"].items()


def test_prefers_the_callers_zone() -> None:
    assert service.build(make_model())["spec"]["trafficDistribution"] == "PreferClose"


def test_url_and_selector_for_status() -> None:
    assert service.url(make_model()) == "http://plate.line.svc:8000"
    assert service.selector(make_model()) == "app.kubernetes.io/component=server,littoral.dev/model=plate"


def test_depends_on_the_models_name_alone() -> None:
    changed = make_model({"version": "9", "replicas": 7, "serving": {"modelName": "x"}, "paused": True})

    assert service.build(changed) == service.build(make_model())
    assert json.loads(json.dumps(service.build(changed))) == service.build(changed)
