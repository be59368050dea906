from functools import partial
from http import HTTPStatus
from pathlib import Path

import kubernetes
import pytest
import yaml

from littoral.api.group import GROUP, VERSION
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.waiting import until

pytest_plugins = ["rig.testing"]

CRDS = Path(__file__).parents[1] / "crds"


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> None:
    """crds/ as they stand, installed into `control_plane` and served."""
    with kubernetes.config.new_client_from_config(str(control_plane.kubeconfig)) as api:
        definitions = kubernetes.client.ApiextensionsV1Api(api)
        objects = kubernetes.client.CustomObjectsApi(api)
        for path in sorted(CRDS.glob("*s.yaml")):
            body = yaml.safe_load(path.read_text())
            definitions.create_custom_resource_definition(body)
            until(
                partial(_served, objects, body["spec"]["names"]["plural"]),
                timeout=30,
                failure=partial(RigError, f"the API server does not serve {path.name} after 30 s"),
            )


def _served(objects: kubernetes.client.CustomObjectsApi, plural: str) -> bool:
    try:
        objects.list_cluster_custom_object(GROUP, VERSION, plural)
    except kubernetes.client.ApiException as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True
