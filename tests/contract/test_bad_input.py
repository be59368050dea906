"""What only the operator can see of bad input becomes a reason and a sentence, an Event once, and slows nobody else."""

import pytest
from tests.contract.kubelet import State, fetch_failed, load_failed, of
from tests.contract.manifests import variant
from tests.contract.site import Site, condition, eventually, verdict

from littoral.controller.kinds import EDGENODES, MODELS, NAMESPACES
from littoral.modelstore.errors import REASONS

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("operator")]


@pytest.mark.parametrize(("reason", "heals"), sorted(REASONS.items()))
async def test_a_fetch_that_fails(site: Site, reason: str, heals: bool) -> None:
    (node,) = await site.nodes("a")
    sentence = f"the sentence about {reason}"
    site.kubelets.when(of(model="bad"), fetch_failed(reason, sentence))
    await site.model("bad")
    await site.model("good")
    await site.serves_on("good", node)
    body = await site.says("bad", "False", reason)
    assert verdict(body, "Fetched") == ("False", reason)
    assert sentence in condition(body, "Fetched")["message"]
    assert verdict(body, "Loaded")[0] == "Unknown"
    assert verdict(body, "Stalled") == (("", "") if heals else ("True", reason))
    assert body["status"]["lastFailure"]["message"] == sentence

    async def told_once() -> None:
        events = [event for event in await site.events("bad") if event["reason"] == reason]
        assert [(event["type"], event.get("count", 1)) for event in events] == [("Warning", 1)]
        assert sentence in events[0]["message"]

    await eventually(told_once)
    site.kubelets.reset()  # the source is there, or the artifact was mended: the kubelet has tried again
    body = await site.serves_on("bad", node)
    assert condition(body, "Stalled") == {}
    assert "lastFailure" not in body["status"]


@pytest.mark.parametrize(
    ("state", "reason", "sentence"),
    [
        (
            ({"ready": False, "state": {"terminated": {"exitCode": 137, "message": "Killed"}}}, {"ready": False}),
            "FetchFailed",
            "ended with 137: Killed",
        ),
        (
            ({"ready": True, "state": {"terminated": {"exitCode": 0, "message": "all fine"}}}, {"ready": False}),
            "FetchUnproven",
            "without a report",
        ),
        (
            load_failed("E1122 failed to load 'bad' version 1: Internal: no such op"),
            "ModelLoadFailed",
            "Internal: no such op",
        ),
        (
            (None, {"ready": False, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}),
            "ImageUnavailable",
            "no such image",
        ),
    ],
    ids=["killed", "no report", "does not load", "no image"],
)
async def test_a_server_that_does_not_come_up(site: Site, state: State, reason: str, sentence: str) -> None:
    (node,) = await site.nodes("a")
    site.kubelets.when(of(model="bad"), state)
    await site.model("bad")
    body = await site.says("bad", "False", reason)
    assert sentence in condition(body, "Ready")["message"]
    assert condition(body, "Stalled") == {}
    site.kubelets.reset()
    await site.serves_on("bad", node)


async def test_an_edge_node_with_an_unknown_profile(site: Site) -> None:
    node = await site.node("a")
    await site.says(node, "True", "Discovered", "CapacityKnown", EDGENODES)
    await site.patch(EDGENODES, node, {"spec": {"accelerators": [{"profile": "no-such-gpu"}]}})
    body = await site.says(node, "False", "UnknownProfile", "CapacityKnown", EDGENODES)
    message = condition(body, "CapacityKnown")["message"]
    assert "'no-such-gpu'" in message
    assert "littoral-catalogue" in message


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"variants": [variant(accelerators=["ascend-310p"])]}, "NoVariant", "without a variant for test-t4"),
        ({"slice": {"memory": "90Gi"}}, "ShareTooSmall", "90"),
        ({"placement": {"pools": ["no-such-pool"]}}, "OtherPool", "other pools"),
    ],
    ids=["no hardware", "too large", "no pool"],
)
async def test_a_model_that_no_node_can_take(site: Site, spec: dict[str, object], reason: str, words: str) -> None:
    await site.nodes("a")
    await site.model("bad", **spec)
    body = await site.says("bad", "False", reason)
    assert words in condition(body, "Ready")["message"]
    assert verdict(body, "Placed") == ("False", reason)
    assert condition(body, "Stalled") == {}
    assert (await site.get(MODELS, "bad"))["status"]["replicas"] == 0


async def test_a_pod_that_the_namespace_forbids(site: Site) -> None:
    """Ports of the node are no business of a namespace at the level `baseline`."""
    await site.nodes("a")
    level = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    await site.patch(NAMESPACES, site.namespace, level)
    await site.model(
        "camera", serving={"network": "HostPort", "ports": {"http": 18000, "grpc": 18001, "metrics": 18002}}
    )
    body = await site.says("camera", "False", "PodForbidden")
    assert "violates PodSecurity" in condition(body, "Ready")["message"]
    await site.respec("camera", serving={"network": "Pod"})
    await site.ready("camera")
