"""A namespace's quota on a node: what is in use stays, the rest makes room, and where nothing can it is said."""

import os

import pytest
from tests.node.conftest import Namespaces
from tests.node.edge import T4, Edge, condition
from tests.node.fetching import entry, fetched
from tests.node.models import heavy, variant

from littoral.api import group
from rig.waiting import until

pytestmark = pytest.mark.node

QUOTA = "2500Ki"
"""Of models of 1 MiB: two, and not three."""
FIRST, SECOND, OTHER, THIRD = (heavy(factor, mib=1) for factor in (71, 72, 73, 74))


def test_collection_spares_what_is_in_use_and_where_all_is_the_model_waits_in_words(
    edge: Edge, namespaces: Namespaces
) -> None:
    namespace = namespaces(annotations={group.ANNOTATION_CACHE_QUOTA: QUOTA})
    edge.serve(namespace, "one", FIRST, node=T4)
    edge.serve(namespace, "other", OTHER, node=T4)
    for name in ("one", "other"):
        edge.await_ready(namespace, name)
    edge.delete(namespace, "other")
    until(
        lambda: len(edge.core.list_namespaced_pod(namespace).items) == 1,
        timeout=60,
        failure=lambda: AssertionError("the deleted model's pod is still there"),
    )

    # A pin outlives its slice by an hour, for a list of slices may be older than the slice.
    for pin in (edge.node_folder(T4, namespace) / "pins").glob("other-*"):
        os.utime(pin, (0, 0))

    # What nobody serves any more makes room for the update of what does.
    edge.patch(namespace, "one", {"variants": [variant("any", ["cpu"], edge.models.add(SECOND), SECOND.sha256)]})
    edge.await_ready(namespace, "one")
    pod = edge.pod(namespace, "one")
    assert edge.infer(pod, "one", 1) == 72
    assert fetched(pod)["kept"] == sorted([FIRST.sha256, SECOND.sha256])
    assert not entry(edge, T4, namespace, OTHER.sha256).exists()

    # What is left serves, or served last: none of it goes.
    edge.serve(namespace, "third", THIRD, node=T4)
    told = condition(edge.await_reason(namespace, "third", "CacheFull"), "Ready")["message"]
    assert "may take 2.4 MiB of this node and take 2.0 MiB" in told
    assert group.ANNOTATION_CACHE_QUOTA in told
    assert edge.infer(pod, "one", 1) == 72
    assert edge.pod(namespace, "one").metadata.uid == pod.metadata.uid
    for artifact in (FIRST, SECOND):
        assert entry(edge, T4, namespace, artifact.sha256).exists()

    # More room helps without anybody touching the model.
    edge.core.patch_namespace(namespace, {"metadata": {"annotations": {group.ANNOTATION_CACHE_QUOTA: "4Mi"}}})
    edge.await_ready(namespace, "third")
    assert edge.infer(edge.pod(namespace, "third"), "third", 1) == 74
