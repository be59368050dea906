"""What the slices of a namespace need on this node: a pin for each.

::

    <root>/pins/<slice>.json   {"current": [...], "last": [...], "next": [...]}: digests

current is what the slice's server was last given, last what it was given before that, next what it is to be given: what
a prefetch brings, or a fetch that has not ended. The time of the file's last change is when its slice last asked for
something here. Whoever is about to look for an artifact pins it first, so that it is either found and held, or was
already gone; see modelstore.collection for the other half. On a warm start the pin stands already and its content is
not written.

A pin that can't be read holds everything: nothing is collected until its slice has written it anew.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from littoral.modelstore.files import replace_file

GRACE: Final = 300.0
"""A list of slices that came to the node is taken to be at most so many seconds old, for nothing is sent to a node that
is offline: a slice that asked for something since then may be younger than the list."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SUFFIX: Final = ".json"
_log: Final = logging.getLogger(__name__)

Digests = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """The digests that one slice needs, each field sorted."""

    current: Digests = ()
    last: Digests = ()
    next: Digests = ()

    def digests(self) -> frozenset[str]:
        """All that the pin holds."""
        return frozenset((*self.current, *self.last, *self.next))

    def seeking(self, wanted: Digests) -> "Pin":
        """The pin while a server waits for `wanted`."""
        return self if self.digests().issuperset(wanted) else replace(self, next=wanted)

    def preparing(self, wanted: Digests) -> "Pin":
        """The pin from the moment on that `wanted` is to be served next."""
        return replace(self, next=() if wanted == self.current else wanted)

    def serving(self, wanted: Digests) -> "Pin":
        """The pin when a server was given `wanted`."""
        last = self.last if wanted == self.current else self.current or self.last
        return Pin(current=wanted, last=last, next=() if set(self.next) <= set(wanted) else self.next)


class Pins:
    """The pins below `folder`; `books` is the lock under which they change. Methods raise OSError."""

    def __init__(self, folder: Path, books: Callable[[], AbstractContextManager[None]]) -> None:
        self._folder, self._books = folder, books

    def of(self, name: str) -> Pin | None:
        """Return the pin of a slice: an empty one where it has none, None where it can't be read."""
        try:
            data = json.loads((self._folder / f"{name}{_SUFFIX}").read_bytes())
            return Pin(*(_digests(data[key]) for key in ("current", "last", "next")))
        except FileNotFoundError:
            return Pin()
        except (ValueError, KeyError, TypeError, RecursionError):
            _log.warning("the pin of slice %s cannot be read; until it is written anew nothing is collected", name)
            return None

    def change(self, name: str, change: Callable[[Pin], Pin]) -> None:
        """Make of a slice's pin what `change` makes of it; where it stands already, only its time is noted."""
        path = self._folder / f"{name}{_SUFFIX}"
        with self._books():
            former = self.of(name)
            pin = change(former or Pin())
            if pin == former:
                with suppress(OSError):
                    os.utime(path)
                return
            self._folder.mkdir(mode=0o755, exist_ok=True)
            for draft in self._folder.glob(".*"):  # of a process that was killed
                draft.unlink()
            replace_file(path, json.dumps(asdict(pin)).encode())

    def drop_others(self, names: Iterable[str], received: float) -> None:
        """Take away the pins of slices that are not among `names`, a list that the node received at that time."""
        listed = set(names)
        with self._books():
            for name in self._names():
                path = self._folder / f"{name}{_SUFFIX}"
                if name not in listed and path.stat().st_mtime < received - GRACE:
                    _log.info("slice %s is not on this node any more; its pin is gone", name)
                    path.unlink()

    def holders(self) -> dict[str, Pin | None]:
        """Return each slice's pin; None stands for one that can't be read."""
        return {name: self.of(name) for name in self._names()}

    def _names(self) -> list[str]:
        try:
            return sorted(path.stem for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        except FileNotFoundError:
            return []


def wanted(digests: Iterable[str]) -> Digests:
    """Return digests as a pin has them."""
    return tuple(sorted(set(digests)))


def _digests(values: object) -> Digests:
    if not isinstance(values, list) or not all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in values):
        raise ValueError(values)
    return wanted(values)
