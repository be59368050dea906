"""The container that removes the model cache of a namespace that is gone: ``python3 -m littoral.modelstore.clean UID``.

It sees the caches of all namespaces on its node, at CACHE_ROOTS, and removes the one that the UID names: nothing
else can be named, and no link is followed out of it, however deep its folders lie. A fetch that is still being killed
may write meanwhile; what it makes is removed in the next round. A folder that is not there is removed already.

Exit status: 0 it is gone; 1 something of it remains, which another try may remove; 2 the argument names no namespace.
"""

import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from littoral.api.group import CACHE_ROOTS

GONE: Final = 0
REMAINS: Final = 1
REFUSED: Final = 2
_UID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            folder.unlink()
            return []
        failures = _Emptying(folder).run()
        if not failures:
            folder.rmdir()
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{folder}: {error.strerror}"]
    return failures


@dataclass(frozen=True, slots=True)
class _Level:
    """A folder on the way down: its name, which file it is, and the names in it that were not looked at yet."""

    name: str
    identity: tuple[int, int]
    left: list[str]


class _Emptying:
    """Removes all that lies in a folder, by the descriptor of one folder at a time.

    shutil.rmtree calls itself for every folder and holds a descriptor of each: a thousand in each other end it. Here
    the way up is "..", taken only where it leads to the folder that the way down came from.
    """

    def __init__(self, root: Path) -> None:
        """Raises OSError."""
        self._root, self._failures = root, list[str]()
        self._here = os.open(root, _FOLDER)
        self._trail = [_Level("", _identity(self._here), _names(self._here))]

    def run(self) -> list[str]:
        """Return in words what could not be removed."""
        try:
            while self._trail:
                level = self._trail[-1]
                if level.left:
                    self._remove(level.left.pop())
                elif len(self._trail) == 1 or not self._up():
                    break
        finally:
            os.close(self._here)
        return self._failures

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._here)
        except IsADirectoryError:
            self._down(name)
        except OSError as error:
            self._failed(error, name)

    def _down(self, name: str) -> None:
        try:
            folder = os.open(name, _FOLDER, dir_fd=self._here)
        except OSError as error:
            self._failed(error, name)
            return
        try:
            level = _Level(name, _identity(folder), _names(folder))
        except OSError as error:
            os.close(folder)
            self._failed(error, name)
            return
        os.close(self._here)
        self._here = folder
        self._trail.append(level)

    def _up(self) -> bool:
        """Go to the folder above and remove the one that was left; tell whether the way up is the way down."""
        left = self._trail.pop()
        try:
            above = os.open("..", _FOLDER, dir_fd=self._here)
        except OSError as error:
            self._failed(error, left.name)
            return False
        os.close(self._here)
        self._here = above
        if _identity(above) != self._trail[-1].identity:
            self._failures.append(f"{self._path(left.name)}: it was moved meanwhile")
            return False
        try:
            os.rmdir(left.name, dir_fd=above)
        except OSError as error:
            self._failed(error, left.name)
        return True

    def _failed(self, error: OSError, name: str) -> None:
        if not isinstance(error, FileNotFoundError):  # somebody else was quicker
            self._failures.append(f"{self._path(name)}: {error.strerror}")

    def _path(self, name: str) -> str:
        return str(self._root.joinpath(*(level.name for level in self._trail), name))


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _identity(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino


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
