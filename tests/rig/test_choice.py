from pathlib import Path

import pytest

from rig.choice import Choice, Kind, Machine, choose
from rig.errors import NothingToRunOn

BARE = Machine(linux=True, root=False, docker=False, kind=False)
ROOT = Machine(linux=True, root=True, docker=False, kind=False)
DOCKER = Machine(linux=False, root=False, docker=True, kind=True)
BOTH = Machine(linux=True, root=True, docker=True, kind=True)
NO_KIND = Machine(linux=True, root=True, docker=True, kind=False)


@pytest.mark.parametrize(
    ("env", "machine", "expected"),
    [
        ({}, ROOT, Choice(Kind.EMBEDDED)),
        ({}, DOCKER, Choice(Kind.KIND)),
        ({}, BOTH, Choice(Kind.KIND)),
        ({}, NO_KIND, Choice(Kind.EMBEDDED)),
        ({"LITTORAL_CLUSTER": "embedded"}, BOTH, Choice(Kind.EMBEDDED)),
        ({"LITTORAL_CLUSTER": "kind"}, BOTH, Choice(Kind.KIND)),
        ({"LITTORAL_CLUSTER": ""}, ROOT, Choice(Kind.EMBEDDED)),
        ({"LITTORAL_KUBECONFIG": "/a/config"}, BARE, Choice(Kind.EXPLICIT, Path("/a/config"))),
        (
            {"LITTORAL_KUBECONFIG": "/a/config", "LITTORAL_CLUSTER": "kind"},
            BOTH,
            Choice(Kind.EXPLICIT, Path("/a/config")),
        ),
    ],
)
def test_the_named_cluster_first_then_kind_then_the_embedded_one(
    env: dict[str, str], machine: Machine, expected: Choice
) -> None:
    assert choose(env, machine) == expected


@pytest.mark.parametrize(
    ("env", "machine"),
    [
        ({}, BARE),
        ({"LITTORAL_CLUSTER": "kind"}, ROOT),
        ({"LITTORAL_CLUSTER": "embedded"}, DOCKER),
        ({"LITTORAL_CLUSTER": "minikube"}, BOTH),
    ],
)
def test_where_nothing_can_run_all_choices_are_named(env: dict[str, str], machine: Machine) -> None:
    with pytest.raises(NothingToRunOn) as raised:
        choose(env, machine)
    assert raised.value.exit_code == 2
    for word in ("LITTORAL_KUBECONFIG=", "Docker", "root", "sudo make cluster"):
        assert word in str(raised.value)
