"""The container that removes the model cache of a namespace that is gone: ``python3 -m littoral.modelstore.clean UID``.

It sees the caches of all namespaces on its node, at CACHE_ROOTS, and removes the one that the UID names: nothing
else can be named, and no link is followed out of it. A fetch that is still being killed may write meanwhile; what it
makes is removed in the next round. A folder that is not there is removed already.

Exit status: 0 it is gone; 1 something of it remains, which another try may remove; 2 the argument names no namespace.
"""

import re
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from littoral.api.group import CACHE_ROOTS

GONE: Final = 0
REMAINS: Final = 1
REFUSED: Final = 2
_UID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ROUNDS: Final = 10
"""Times that the whole is gone through: who writes meanwhile finds the folders gone in which it would write."""
_SHOWN: Final = 5
"""Failures that are told; all others are counted."""


def remove(roots: Path, uid: str) -> list[str]:
    """Remove the folder of that UID below `roots`; what could not be removed, in words. ValueError for what is no UID.

    A link or a file of that name is removed itself.
    """
    if not _UID.fullmatch(uid):
        raise ValueError(f"{uid!r} is not the UID of a namespace")
    folder = roots / uid
    failures: list[str] = []
    for _ in range(_ROUNDS):
        failures = _round(folder)
        if not failures:
            break
    return failures


def _round(folder: Path) -> list[str]:
    """Remove all that can be removed now; what could not."""
    failures: list[str] = []

    def failed(_: object, path: str, failure: tuple[type[BaseException], BaseException, object]) -> None:
        if not isinstance(failure[1], FileNotFoundError):  # somebody else was quicker
            failures.append(f"{path}: {failure[1].strerror if isinstance(failure[1], OSError) else failure[1]}")

    try:
        if stat.S_ISDIR(folder.lstat().st_mode):
            shutil.rmtree(folder, onerror=failed)  # by descriptors of folders: a link put in its way leads nowhere
        else:
            folder.unlink()
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{folder}: {error.strerror}"]
    return failures


def main(arguments: Sequence[str]) -> int:
    """Remove the cache that the one argument names; return the exit status."""
    if len(arguments) != 1:
        print("usage: python3 -m littoral.modelstore.clean UID", file=sys.stderr)
        return REFUSED
    uid = arguments[0]
    try:
        failures = remove(Path(CACHE_ROOTS), uid)
    except ValueError as error:
        print(f"nothing is removed: {error}", file=sys.stderr)
        return REFUSED
    for failure in failures[:_SHOWN]:
        print(f"cannot be removed: {failure}", file=sys.stderr)
    if len(failures) > _SHOWN:
        print(f"and {len(failures) - _SHOWN} more", file=sys.stderr)
    if failures:
        return REMAINS
    print(f"the model cache of namespace {uid} is gone", file=sys.stderr)
    return GONE


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
