"""Which boot of the machine this is.

What was verified under one boot is trusted until the next: a power cut is when flash loses or swaps what was on it.
"""

from pathlib import Path
from typing import Final

_KERNEL: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id(path: Path = _KERNEL) -> str:
    """Return the kernel's id of this boot; "" where it tells none: nothing was verified under that."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
