"""What people see: kubectl's columns and explanations, in kubectl's own words."""

import re

import pytest
from tests.node.edge import JETSON, T4, Edge
from tests.node.models import multiplier

pytestmark = pytest.mark.node

COLUMNS = {
    "edgenodes": "NAME POOL ACCELERATORS CONNECTED FREE REASON AGE",
    "gpuslices": "NAME PHASE NODE DEVICE MEMORY COMPUTE AGE",
    "inferencemodels": "NAME READY SERVING WANTED OFFLINE REASON VERSION AGE",
}


def table(printed: str) -> tuple[str, list[dict[str, str]]]:
    """kubectl's table: its header, and its rows by column, cut where the header says."""
    header, *rows = printed.rstrip().splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", header)]
    names = header.split()
    ends: list[int | None] = [*starts[1:], None]
    return " ".join(names), [
        {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)} for row in rows
    ]


@pytest.fixture(scope="module")
def seen(edge: Edge, namespace: str) -> str:
    """A namespace with a model that serves on both nodes."""
    edge.serve(namespace, "seen", multiplier(2), version="7")
    edge.await_ready(namespace, "seen")
    return namespace


@pytest.mark.parametrize("plural", COLUMNS)
def test_each_resource_has_its_columns(edge: Edge, seen: str, plural: str) -> None:
    header, _ = table(edge.kubectl("get", plural, f"--namespace={seen}"))
    assert header == COLUMNS[plural]


def test_one_word_lists_all_three_resources(edge: Edge, seen: str) -> None:
    printed = edge.kubectl("get", "littoral", "--all-namespaces")
    for name in (f"edgenode.littoral.dev/{T4}", f"edgenode.littoral.dev/{JETSON}", "inferencemodel.littoral.dev/seen"):
        assert name in printed
    assert printed.count("gpuslice.littoral.dev/seen-") == 2


def test_the_rows_say_what_serves_where_on_how_much(edge: Edge, seen: str) -> None:
    _, (model,) = table(edge.kubectl("get", "im", "seen", f"--namespace={seen}"))
    del model["AGE"]
    assert model == {
        "NAME": "seen", "READY": "True", "SERVING": "2", "WANTED": "2", "OFFLINE": "0", "REASON": "Serving",
        "VERSION": "7",
    }  # fmt: skip
    _, slices = table(edge.kubectl("get", "gs", f"--namespace={seen}"))
    assert {(row["PHASE"], row["NODE"], row["DEVICE"], row["MEMORY"]) for row in slices} == {
        ("Bound", T4, "cpu", "192Mi"),
        ("Bound", JETSON, "cpu", "192Mi"),
    }
    _, nodes = table(edge.kubectl("get", "en"))
    assert [(row["NAME"], row["POOL"], row["ACCELERATORS"], row["CONNECTED"], row["REASON"]) for row in nodes] == [
        (JETSON, "line3", "1 x emulated-jetson-orin", "True", "Declared"),
        (T4, "t4", "1 x emulated-t4", "True", "Discovered"),
    ]


@pytest.mark.parametrize("kind", ["edgenode", "gpuslice", "inferencemodel"])
@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_explained(edge: Edge, kind: str, part: str) -> None:
    printed = edge.kubectl("explain", f"{kind}.{part}")
    _, *parts = re.split(r"^  (\w+)\t<", printed.partition("FIELDS:\n")[2], flags=re.MULTILINE)
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    assert fields
    for name, text in fields.items():
        words = text.partition("\n")[2].strip()
        assert words.endswith("."), f"{kind}.{part}.{name}: {words!r}"
