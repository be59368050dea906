from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from littoral.api.base import Condition, pending_conditions
from littoral.api.conditions import Finding, find, merge

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = EARLY + timedelta(hours=1)

TYPES = st.sampled_from(["Ready", "Placed", "Fetched", "Loaded", "Stalled"])
FINDINGS = st.lists(
    st.builds(Finding, TYPES, st.sampled_from(["True", "False", "Unknown"]), st.sampled_from(["A", "B"]), st.text()),
    unique_by=lambda finding: finding.type,
)


BEFORE = (Condition(type="Ready", status="True", reason="Serving", message="all answer", last_transition_time=EARLY),)


def test_a_new_condition_gets_its_time_now() -> None:
    (new,) = merge((), [Finding("Ready", "True", "Serving")], generation=3, now=LATE)
    assert new.last_transition_time == LATE
    assert new.observed_generation == 3


def test_the_time_stands_while_only_reason_and_message_change() -> None:
    (new,) = merge(BEFORE, [Finding("Ready", "True", "ServingNodesOffline", "3 offline")], generation=1, now=LATE)
    assert (new.last_transition_time, new.reason, new.message) == (EARLY, "ServingNodesOffline", "3 offline")


def test_the_time_moves_with_the_status() -> None:
    (new,) = merge(BEFORE, [Finding("Ready", "Unknown", "Pending")], generation=1, now=LATE)
    assert new.last_transition_time == LATE


def test_the_first_finding_gives_the_default_conditions_their_time() -> None:
    defaults = [Condition.model_validate(c) for c in pending_conditions("Loaded")["conditions"]]
    (new,) = merge(defaults, [Finding("Loaded", "Unknown", "Starting")], generation=1, now=LATE)
    assert new.last_transition_time == LATE


def test_what_is_not_found_any_more_is_gone() -> None:
    """Stalled is True or absent: kstatus reads it so."""
    before = merge((), [Finding("Stalled", "True", "A"), Finding("Ready", "False", "A")], generation=1, now=EARLY)
    after = merge(before, [Finding("Ready", "True", "B")], generation=1, now=LATE)
    assert [c.type for c in after] == ["Ready"]
    assert find(after, "Stalled") is None


def test_a_message_that_is_too_long_for_the_crd_is_cut() -> None:
    (new,) = merge((), [Finding("Ready", "False", "A", "x" * 5000)], generation=1, now=LATE)
    assert len(new.message) == 4096


@given(FINDINGS, FINDINGS)
def test_merging_the_same_findings_again_changes_nothing(first: list[Finding], second: list[Finding]) -> None:
    """Otherwise every visit would write a status."""
    once = merge(merge((), first, generation=1, now=EARLY), second, generation=1, now=LATE)
    assert merge(once, second, generation=1, now=LATE + timedelta(days=1)) == once


@given(FINDINGS)
def test_conditions_survive_the_wire(findings: list[Finding]) -> None:
    conditions = merge((), findings, generation=1, now=EARLY)
    wire = [c.model_dump(mode="json", by_alias=True) for c in conditions]
    assert tuple(Condition.model_validate(item) for item in wire) == conditions


@given(FINDINGS)
def test_order_and_types_are_those_of_the_findings(findings: list[Finding]) -> None:
    merged = merge(BEFORE, findings, generation=1, now=LATE)
    assert [c.type for c in merged] == [f.type for f in findings]
