"""docs/accelerators.md says of the catalogue and of the sharing mechanisms what they are."""

import re
from pathlib import Path

import pytest

from littoral.accelerators.catalogue import load
from littoral.accelerators.device import Device
from littoral.slicing.registry import PROVIDERS

PAGE = (Path(__file__).parents[2] / "docs" / "accelerators.md").read_text(encoding="utf-8")
COLUMNS = {
    "Cards": ["t4", "l4", "a2", "a30"],
    "Jetson": [name for name in load().profiles if name.startswith("jetson")],
    "310": ["ascend-310"],
    "310P": ["ascend-310p", "ascend-310p-48gb"],
    "310B": ["atlas-200i-dk-a2", "atlas-200i-a2-20t", "atlas-200i-a2-8t", "atlas-500-a2"],
    "910B": ["ascend-910b2", "ascend-910b3", "ascend-910b4"],
}


def rows() -> list[dict[str, str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    start = next(number for number, line in enumerate(lines) if line.startswith("| Mechanism"))
    header, _, *rest = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:]]
    return [dict(zip(header, row, strict=True)) for row in rest if len(row) == len(header)]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["Mechanism"])
def test_the_table_of_mechanisms_is_the_catalogues(row: dict[str, str]) -> None:
    mechanism = row["Mechanism"].strip("`")
    for column, names in COLUMNS.items():
        has = {mechanism in load().profiles[name].sharing for name in names}
        assert has == {row[column] == "yes"}, column


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["Mechanism"])
def test_the_isolation_it_names_is_the_providers_own(row: dict[str, str]) -> None:
    mechanism = row["Mechanism"].strip("`")
    names = [name for column, its in COLUMNS.items() for name in its if row[column] == "yes"]
    found = set()
    for name in names:
        platform = load().profiles[name].platform()
        found.add(PROVIDERS[mechanism].isolation(Device("d", platform, 4096, mechanism)))  # type: ignore[arg-type]
    assert found == set(re.findall(r"Hard|Soft|None", row["Isolation"]))


def test_every_mechanism_is_spoken_of() -> None:
    assert [mechanism for mechanism in PROVIDERS if f"`{mechanism}`" not in PAGE and mechanism != "cpu"] == []


def test_every_profile_is_listed() -> None:
    section = PAGE.split("## What is in the catalogue")[1].split("Models and slices")[0]
    assert set(re.findall(r"`([a-z0-9-]+)`", section)) == set(load().profiles) - {"cpu"}
