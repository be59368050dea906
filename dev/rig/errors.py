"""What the local cluster raises.

RigError            something on this machine did not work; the message says what, and where its log is
├── NothingToRunOn  no cluster can be had here at all; the message lists the choices (exit status 2)
└── ToolsMissing    programs are missing; the message names all of them and the one command that installs them
"""

from __future__ import annotations

from pathlib import Path

_TAIL_LINES = 15


class RigError(Exception):
    """A step failed; `exit_code` is what the command ends with."""

    exit_code = 1


class NothingToRunOn(RigError):  # noqa: N818  # reads as the sentence that it is
    """Neither a kubeconfig, nor Docker, nor root on Linux."""

    exit_code = 2


class ToolsMissing(RigError):  # noqa: N818  # reads as the sentence that it is
    """The preflight found programs missing and was not allowed to install them."""

    exit_code = 2


def with_log(sentence: str, log: Path) -> RigError:
    """An error that carries the end of a component's log, because the first line alone seldom says why."""
    try:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        tail = []
    shown = "".join(f"\n    | {line[:400]}" for line in tail)
    return RigError(f"{sentence}\n  log: {log}{shown}")
