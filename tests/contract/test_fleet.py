"""examples/fleet as a cluster: the running operator comes to the placement that `littoral plan` shows without one."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.site import condition, eventually

from littoral.api.quantity import to_mib
from littoral.controller.client import Client
from littoral.controller.kinds import MODELS, SLICES
from littoral.telemetry.metrics import Metrics
from rig import cluster, kwok, paths, states
from rig.controlplane import ControlPlane
from rig.operator import Kubectl, Operator, install, service_account_kubeconfig
from rig.progress import to_stderr

pytestmark = pytest.mark.contract

FLEET = paths.REPOSITORY / "examples" / "fleet"
NAMESPACE = "plant"
Figures = set[tuple[str, str, str, int, int, str]]
"""Of one model's slices: name, node, device, MiB, percent, mechanism."""


@pytest.fixture(scope="module")
def planned() -> Mapping[str, Any]:
    """What `littoral plan` says of the fleet, by model; exit status 1, for one of the models cannot be placed."""
    command = [sys.executable, "-m", "littoral", "plan", "-f", str(FLEET), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return {each["name"]: each for each in json.loads(done.stdout)["models"]}


@pytest.fixture(scope="module")
def fleet(reaped: None) -> Iterator[Path]:
    """A control plane of its own, whose nodes KWOK plays, with the operator at work on all that is in the example."""
    documents = [
        document
        for path in sorted(FLEET.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    nodes = [document for document in documents if document["kind"] == "Node"]
    others = [document for document in documents if document["kind"] != "Node"]
    others.sort(key=lambda document: document["kind"] != "Namespace")
    plane = ControlPlane(states.make())
    try:
        plane.start(to_stderr, installed=lambda: install(Kubectl(plane.kubeconfig)))
        with kwok.Kwok(plane) as player:
            player.add(nodes)
            kubectl = Kubectl(plane.kubeconfig)
            kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(others))
            with Operator(plane.state, service_account_kubeconfig(kubectl, plane.state / "operator.kubeconfig")):
                yield plane.kubeconfig
    finally:
        cluster.down(plane.state)


async def test_each_slice_is_where_the_plan_says(fleet: Path, planned: Mapping[str, Any]) -> None:
    wanted = {name: _planned(each) for name, each in planned.items()}
    async with await Client.connect(fleet, metrics=Metrics()) as client:

        async def same() -> None:
            listed = (await client.list(SLICES, namespace=NAMESPACE)).items
            models = (await client.list(MODELS, namespace=NAMESPACE)).items
            assert {body["metadata"]["name"]: _granted(body, listed) for body in models} == wanted

        await eventually(same)


async def test_what_is_placed_serves_and_what_is_not_says_why_in_the_plans_words(
    fleet: Path, planned: Mapping[str, Any]
) -> None:
    async with await Client.connect(fleet, metrics=Metrics()) as client:

        async def settled() -> None:
            bodies = {body["metadata"]["name"]: body for body in (await client.list(MODELS, namespace=NAMESPACE)).items}
            ready = {name: condition(body, "Ready").get("status") for name, body in bodies.items()}
            assert ready == {name: "False" if each["waiting"] else "True" for name, each in planned.items()}
            said = {name: condition(body, "Placed")["message"] for name, body in bodies.items()}
            assert said == {name: each["message"] for name, each in planned.items()}

        await eventually(settled)


def _planned(model: Mapping[str, Any]) -> Figures:
    return {
        (
            each["slice"],
            each["node"],
            each["device"],
            each["granted"]["memory"],
            each["granted"]["compute"],
            each["granted"]["provider"],
        )
        for each in model["replicas"]
    }


def _granted(model: Mapping[str, Any], slices: Iterable[Mapping[str, Any]]) -> Figures:
    """What a model's slices were given: those it has, and the one it names."""
    name, named = model["metadata"]["name"], model["spec"].get("sliceRef", {}).get("name")
    found: Figures = set()
    for each in slices:
        owners = {owner["name"] for owner in each["metadata"].get("ownerReferences", ())}
        allocation = each.get("status", {}).get("allocation")
        if allocation and (name in owners or each["metadata"]["name"] == named):
            found.add(
                (
                    each["metadata"]["name"],
                    allocation["node"],
                    allocation["device"],
                    to_mib(allocation["memory"]),
                    allocation.get("compute", 0),
                    allocation["provider"],
                )
            )
    return found
