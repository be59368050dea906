"""What is said, how often, and that saying it can hurt nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from littoral.telemetry.events import BURST, MESSAGE_LIMIT, PENDING, REFILL, REPEAT_AFTER, EventRecorder, Subject
from littoral.telemetry.metrics import Metrics

MODEL = Subject("littoral.dev/v1alpha1", "InferenceModel", "plant", "reader", "u1")
NODE = Subject("littoral.dev/v1alpha1", "EdgeNode", "", "edge-1", "u2")


@dataclass
class Board:
    """Where Events arrive; a clock that stands still; what was counted."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    now: float = 1000.0
    trouble: Exception | None = None
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.recorder = EventRecorder(
            self.post,
            metrics=self.metrics,
            instance="pod-1",
            clock=lambda: self.now,
            now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        )

    async def post(self, event: dict[str, Any]) -> None:
        if self.trouble:
            raise self.trouble
        self.sent.append(event)

    def say(self, message: str, subject: Subject = MODEL) -> None:
        self.recorder.record(subject, "Warning", "DigestMismatch", message)

    def counted(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("littoral_events_total", {"outcome": outcome}) or 0.0

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.recorder.run())
        yield
        for _ in range(3 * PENDING):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_event_as_kubectl_describe_shows_it() -> None:
    board = Board()
    async with board.sending():
        board.say("The archive's digest is not the one in spec.variants[t4].source.sha256.")
    (event,) = board.sent
    name = event["metadata"].pop("name")
    assert name.startswith("reader.")
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "plant"},
        "involvedObject": {
            "apiVersion": "littoral.dev/v1alpha1",
            "kind": "InferenceModel",
            "namespace": "plant",
            "name": "reader",
            "uid": "u1",
        },
        "type": "Warning",
        "reason": "DigestMismatch",
        "message": "The archive's digest is not the one in spec.variants[t4].source.sha256.",
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:05Z",
        "count": 1,
        "source": {"component": "littoral"},
        "reportingComponent": "littoral",
        "reportingInstance": "pod-1",
    }
    assert board.counted("posted") == 1


async def test_events_of_cluster_scoped_objects_live_in_default() -> None:
    board = Board()
    async with board.sending():
        board.say("x", NODE)
    assert board.sent[0]["metadata"]["namespace"] == "default"
    assert "namespace" not in board.sent[0]["involvedObject"]


async def test_names_are_unique_and_fit_however_long_the_objects_is() -> None:
    board = Board()
    async with board.sending():
        for number in range(BURST):
            board.say(str(number), Subject("v1", "Node", "", "n" * 253, "u"))
    names = {event["metadata"]["name"] for event in board.sent}
    assert len(names) == BURST
    assert {len(name) for name in names} <= set(range(254))


async def test_the_same_sentence_is_sent_once_in_its_time() -> None:
    board = Board()
    async with board.sending():
        board.say("a")
        board.say("b")
        board.say("a")
        board.say("a", NODE)
        board.now += REPEAT_AFTER
        board.say("a")
    assert [event["message"] for event in board.sent] == ["a", "b", "a", "a"]
    assert board.counted("repeated") == 1


async def test_one_object_cannot_flood_and_the_others_are_heard() -> None:
    board = Board()
    async with board.sending():
        for number in range(BURST + 5):
            board.say(str(number))
        board.say("x", NODE)
        assert board.counted("limited") == 5
        board.now += REFILL
        board.say("later")
        board.say("too soon")
    assert len(board.sent) == BURST + 2
    assert board.sent[-1]["message"] == "later"


async def test_a_storm_is_dropped_and_counted_and_never_waited_for() -> None:
    board = Board()
    for number in range(PENDING + 7):
        board.say("x", Subject("v1", "Pod", "n", f"p{number}", f"u{number}"))
    assert board.counted("dropped") == 7
    async with board.sending():
        pass
    assert len(board.sent) == PENDING


@pytest.mark.parametrize("trouble", [RuntimeError("boom"), ValueError("namespace plant is being terminated")])
async def test_what_cannot_be_sent_is_counted_and_the_next_is_sent(trouble: Exception) -> None:
    board = Board(trouble=trouble)
    async with board.sending():
        board.say("lost")
    board.trouble = None
    async with board.sending():
        board.say("sent")
    assert [event["message"] for event in board.sent] == ["sent"]
    assert board.counted("failed") == 1


async def test_long_messages_are_cut_where_the_api_would_refuse_them() -> None:
    board = Board()
    async with board.sending():
        board.say("x" * 5000)
    assert len(board.sent[0]["message"]) == MESSAGE_LIMIT
