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


@pytest.mark.parametrize(
    ("its", "resources", "beside", "expected"),
    [
        (profile("t4"), {}, {"memory": "1Gi", "cpu": "500m"}, {"memory": "1Gi", "cpu": "500m"}),
        (profile("orin", unified=True), {}, {"memory": "512Mi"}, {"memory": "2560Mi"}),
        (profile("cpu"), {"cpu": "400m"}, {"cpu": "1"}, {"cpu": "1400m", "memory": "2Gi"}),
        (profile("cpu"), {"cpu": "1"}, {"cpu": "1", "memory": "2Gi"}, {"cpu": "2", "memory": "4Gi"}),
    ],
)
def test_what_the_server_asks_beside_the_grant_is_added_to_it(
    its: Profile, resources: dict[str, str], beside: dict[str, str], expected: dict[str, str]
) -> None:
    granted = Allocation(node="n", device="d", profile=its.name, provider="p", memory="2Gi", resources=resources)
    assert requirements(granted, node_memory=its.node_memory, beside=beside)["requests"] == expected
