"""What `littoral node probe` runs on a node: ``python3 -m littoral.cli.probe FIRMWARE RELEASE``.

Reads the device tree below FIRMWARE and the file RELEASE, either of which may be missing, writes a Report as its
termination message and exits 0. It imports the standard library and one pure module.
"""

import os
import platform
import sys
from pathlib import Path
from typing import Final

from littoral.accelerators.jetson import Report

TERMINATION_LOG: Final = Path("/dev/termination-log")
_LIMIT: Final = 4096
"""Bytes that are read of one file."""


def read(firmware: Path, release: Path) -> Report:
    """What the files say; what cannot be read says nothing."""
    tree = firmware / "devicetree" / "base"
    return Report(
        model=_text(tree / "model").rstrip("\0"),
        compatible=tuple(part for part in _text(tree / "compatible").split("\0") if part),
        release=_text(release).partition("\n")[0],
        machine=platform.machine(),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    _report = read(Path(sys.argv[1]), Path(sys.argv[2])).dump()
    print(_report)
    if TERMINATION_LOG.exists():  # as in every container
        TERMINATION_LOG.write_text(_report, encoding="utf-8")
