"""`make test`: which tiers run, and what their ends make of the exit status."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from rig import lint, testrun
from rig.progress import Progress
from rig.testrun import Outcome


def outcome(tier: str, status: int) -> Outcome:
    return Outcome(tier, status, f"==== closing line of {tier} ====", 1.4)


@contextmanager
def prepared(*, needed: bool) -> Iterator[Callable[[Progress], None]]:
    """All is built already."""
    del needed
    yield lambda _progress: None


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The exit status that pytest gives in each tier; no cluster is prepared."""
    statuses: dict[str, int] = {}

    def run(tier: str, _arguments: Sequence[str]) -> Outcome:
        return outcome(tier, statuses.get(tier, 0))

    monkeypatch.setattr(testrun, "_pytest", run)
    monkeypatch.setattr(testrun, "tools", lambda _progress: False)
    monkeypatch.setattr(testrun, "_prepared", prepared)
    monkeypatch.setattr("rig.states.abandoned", list)
    return statuses


@pytest.mark.parametrize(
    ("tiers", "arguments", "statuses", "status"),
    [
        ((), (), {}, 0),
        ((), (), {"contract": 1}, 1),
        ((), (), {"pure": 1, "node": 2}, 2),
        ((), (), {"node": 5}, 5),  # the whole was asked for, and a tier has no tests
        ((), ("-k", "crd"), {"node": 5}, 0),  # narrowed: a tier without a match is none that failed
        ((), ("-k", "nothing"), {"pure": 5, "contract": 5, "node": 5}, 5),
        (("pure",), (), {"pure": 5}, 5),
        (("pure", "node"), (), {"node": 5}, 0),
        ((), (), {"pure": 5, "contract": 1}, 1),
        (("pure",), (), {"contract": 1}, 0),
    ],
)
def test_exit_status(
    ended: dict[str, int],
    tiers: Sequence[str],
    arguments: Sequence[str],
    statuses: dict[str, int],
    status: int,
) -> None:
    ended.update(statuses)
    assert testrun.run(tiers, arguments) == status


def test_pytests_closing_lines_stand_last_as_they_are(
    ended: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    ended["node"] = 1
    testrun.run((), ())
    assert capsys.readouterr().out.strip().splitlines()[-6:] == [
        "tier pure: 1 s, exit status 0",
        "==== closing line of pure ====",
        "tier contract: 1 s, exit status 0",
        "==== closing line of contract ====",
        "tier node: 1 s, exit status 1",
        "==== closing line of node ====",
    ]


@pytest.mark.parametrize(
    ("marks", "tier"),
    [
        ((), "pure"),
        (("contract",), "contract"),
        (("node",), "node"),
        (("contract", "node"), "node"),
        (("long",), "long"),
        (("node", "long"), "long"),
    ],
)
def test_every_test_is_in_one_tier(marks: Sequence[str], tier: str) -> None:
    """pytest evaluates a marker expression as Python does one of booleans."""
    values = {mark: mark in marks for mark in ("contract", "node", "long")}
    assert [name for name, expression in testrun.TIERS.items() if eval(expression, {}, values)] == [tier]  # noqa: S307  # our own constants


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("--index-url " + "https://mirror.example/simple", True),
        ("see pypi." + "org", True),
        ("cd /ro" + "ot/littoral", True),
        ("/wo" + "rk/main", True),
        ("/home" + "/me/littoral", True),
        ("rapidocr==1.4 --hash=sha256:0", False),
        ("a framework/root/of all", False),
        ("$(HOME)/work/x", False),
        ("image: nvcr.io/nvidia/tritonserver:26.07-py3", False),
    ],
)
def test_what_no_committed_file_may_name(line: str, found: bool) -> None:
    assert bool(lint.forbidden("f", [line])) is found


def test_the_tree_names_none_of_it() -> None:
    assert lint.strangers() == []
