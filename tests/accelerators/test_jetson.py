"""What a Jetson says about itself: by module, by product and memory, and the JetPack of its release."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.accelerators import jetson
from littoral.accelerators.catalogue import load
from littoral.accelerators.jetson import MAX_BYTES, Report, parse

NX = Report(
    model="NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
    compatible=("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"),
    release="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
    machine="aarch64",
    memory=15655,
)


@pytest.mark.parametrize(
    ("model", "compatible", "memory", "profile"),
    [
        (NX.model, NX.compatible, 15655, "jetson-orin-nx-16gb"),
        ("", ("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005"), 7620, "jetson-orin-nano-8gb"),
        ("NVIDIA Jetson AGX Orin Developer Kit", ("nvidia,p3737-0000+p3701-0005",), 62841, "jetson-agx-orin-64gb"),
        # A module that was made with two sizes, and boards whose makers name no module: product and memory tell.
        ("NVIDIA Jetson AGX Orin Developer Kit", ("nvidia,p3737-0000+p3701-0000",), 30697, "jetson-agx-orin-32gb"),
        ("NVIDIA Jetson AGX Orin Developer Kit", ("nvidia,p3737-0000+p3701-0000",), 62841, "jetson-agx-orin-64gb"),
        ("NVIDIA Orin NX Developer Kit", ("maker,board", "nvidia,tegra234"), 7620, "jetson-orin-nx-8gb"),
        ("NVIDIA Orin Nano Developer Kit", (), 3500, "jetson-orin-nano-4gb"),
        ("NVIDIA Jetson Xavier NX Developer Kit", (), 15000, "jetson-xavier-nx-16gb"),
        ("NVIDIA Jetson Nano Developer Kit", ("nvidia,p3449-0000-b00+p3448-0000-b00",), 3956, "jetson-nano"),
        # What the catalogue has not is not taken for its nearest kin.
        ("NVIDIA Jetson AGX Orin Industrial", ("nvidia,p3701-0008",), 62841, ""),
        ("NVIDIA Orin NX Developer Kit", (), 0, ""),
        ("NVIDIA Jetson TX2", ("nvidia,p2597-0000+p3310-1000",), 7850, ""),
        ("Raspberry Pi 5 Model B Rev 1.0", ("raspberrypi,5-model-b",), 8000, ""),
        ("", (), 64000, ""),
    ],
)
def test_the_profile(model: str, compatible: tuple[str, ...], memory: int, profile: str) -> None:
    assert Report(model=model, compatible=compatible, memory=memory).profile == profile


def test_every_profile_is_in_the_catalogue() -> None:
    named = {*jetson.MODULES.values(), *(name for _, sizes in jetson._PRODUCTS for name in sizes.values())}
    assert named <= set(load().profiles)


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack"),
    [
        (NX.release, "36.4.3", "6.2"),
        ("# R36 (release), REVISION: 4.0, GCID: 1", "36.4.0", "6.1"),
        ("# R36 (release), REVISION: 9, GCID: 1", "36.9.0", "6"),  # newer than the table: its line
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "35.4.1", "5.1.2"),
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "32.7.1", "4.6.1"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "38.2.0", "7.0"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "99.1.0", ""),
        ("R36, 4.3", "", ""),
        ("", "", ""),
    ],
)
def test_the_jetpack(release: str, l4t: str, jetpack: str) -> None:
    report = Report(release=release)
    assert (report.l4t, report.jetpack) == (l4t, jetpack)


def test_what_is_dumped_is_parsed() -> None:
    assert parse(NX.dump()) == NX
    assert parse(Report().dump()) == Report()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Traceback (most recent call last):",
        "[]",
        "{}",
        "[" * 100_000,
        NX.dump().replace('"memory":15655', '"memory":"much"'),
        NX.dump().replace('"aarch64"', "7"),
        json.dumps({**json.loads(NX.dump()), "compatible": "nvidia"}),
        json.dumps({**json.loads(NX.dump()), "more": 1}),
    ],
)
def test_what_is_no_report(text: str) -> None:
    assert parse(text) is None


def test_nothing_that_a_terminal_would_obey() -> None:
    parsed = parse(replace(NX, model="Orin\x1b[2J NX\n").dump())
    assert parsed is not None
    assert parsed.model == "Orin[2J NX"


@given(st.text(max_size=5000), st.lists(st.text(max_size=500), max_size=50), st.text(max_size=5000))
def test_a_report_always_fits(model: str, compatible: list[str], release: str) -> None:
    text = Report(model, tuple(compatible), release).dump()
    assert len(text.encode()) <= MAX_BYTES
    assert parse(text) is not None
