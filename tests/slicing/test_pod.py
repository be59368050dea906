"""What a grant is to the kubelet."""

import pytest

from littoral.accelerators.profile import Profile
from littoral.api.gpuslice import Allocation
from littoral.slicing.pod import requirements


def profile(name: str, *, unified: bool = False) -> Profile:
    sharing = ["cpu"] if name == "cpu" else ["counted"]
    return Profile.model_validate(
        {"name": name, "family": name, "unified": unified, "sharing": sharing, "stacks": [{}]}
    )


@pytest.mark.parametrize(
    ("its", "resources", "expected"),
    [
        (profile("t4"), {"nvidia.com/gpu": "1"}, {"limits": {"nvidia.com/gpu": "1"}}),
        (
            profile("orin", unified=True),
            {"nvidia.com/gpu": "1"},
            {"limits": {"nvidia.com/gpu": "1"}, "requests": {"memory": "2Gi"}},
        ),
        (profile("cpu"), {"cpu": "400m"}, {"requests": {"cpu": "400m", "memory": "2Gi"}}),
        (profile("cpu"), {}, {"requests": {"memory": "2Gi"}}),
    ],
)
def test_extended_resources_are_limits_and_node_memory_a_request(
    its: Profile, resources: dict[str, str], expected: dict[str, dict[str, str]]
) -> None:
    granted = Allocation(node="n", device="d", profile=its.name, provider="p", memory="2Gi", resources=resources)
    assert requirements(granted, node_memory=its.node_memory) == expected
