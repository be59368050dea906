from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from littoral.api.workload import NodeFacts, Taint
from littoral.autonomy import connectivity

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)
NODE = NodeFacts(name="edge-a", ready="True", ready_since=SINCE)


@pytest.mark.parametrize(
    ("node", "status", "reason", "sentence"),
    [
        (NODE, "True", "NodeReady", "reports itself ready"),
        (replace(NODE, ready="False"), "True", "NodeNotReady", "reports itself not ready since 2026-01-01T12:00:00Z"),
        (replace(NODE, ready="Unknown"), "False", "NodeOffline", "Not heard from since 2026-01-01T12:00:00Z"),
        (NodeFacts(name="edge-a"), "False", "NodeOffline", "Not heard from yet"),
        (None, "False", "NodeMissing", "stays bound"),
    ],
)
def test_what_is_said_of_a_node(node: NodeFacts | None, status: str, reason: str, sentence: str) -> None:
    finding = connectivity.connected(node)

    assert (finding.type, finding.status, finding.reason) == ("Connected", status, reason)
    assert sentence in finding.message
    assert connectivity.is_connected(node) is (status == "True")


def test_times_are_told_in_utc() -> None:
    abroad = SINCE.astimezone(timezone(timedelta(hours=9)))

    assert connectivity.connected(replace(NODE, ready="Unknown", ready_since=abroad)) == connectivity.connected(
        replace(NODE, ready="Unknown")
    )


@pytest.mark.parametrize(
    "change",
    [{"unschedulable": True}, {"taints": (Taint("a", "NoExecute"),)}, {"memory": 0}, {"ready_since": None}],
)
def test_only_what_the_kubelet_is_heard_to_say_counts(change: dict[str, Any]) -> None:
    """Cordons, taints and the time since when it is ready change nothing, so a status is not written for them."""
    assert connectivity.connected(replace(NODE, **change)) == connectivity.connected(NODE)
