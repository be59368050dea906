"""What the slices of a namespace need on this node: a pin for each.

::

    <root>/pins/<slice>.json   {"current": [...], "last": [...], "next": [...]}: digests
    <root>/pins/ballast/       what is given up to write one on a full disk (modelstore.ballast)

current is what the slice's server was last given, last what it would be put back to, next what it is to be given: what
a prefetch brings, or a fetch that has not ended. Whether a server answered with what it was given is not known here:
a prefetch says what the last one is that did, and that stays until another prefetch says so, however many are given
meanwhile. The time of the file's last change is when its slice last asked for something here.

Whoever is about to look for an artifact pins it first, so that it is either found and held, or was already gone; see
modelstore.collection for the other half. On a warm start the pin stands already: it is neither waited for nor written.

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

from littoral.modelstore.ballast import Ballast
from littoral.modelstore.files import is_full, is_lost, replace_file

GRACE: Final = 300.0
"""A list of slices that came to the node is taken to be at most so many seconds old, for nothing is sent to a node that
is offline: a slice that asked for something since then may be younger than the list. A list that is older by the node's
clock, or from the future, is none: the pod came late or again, or one of the clocks is wrong."""
PATIENCE: Final = 5.0
"""Seconds for which a change waits for the books; a server that starts does not wait longer for its pin."""
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

    def preparing(self, wanted: Digests, last: Digests = ()) -> "Pin":
        """The pin from the moment on that `wanted` is to be served next; `last` is what answered, if known."""
        return replace(self, last=last or self.last, next=() if wanted == self.current else wanted)

    def serving(self, wanted: Digests) -> "Pin":
        """The pin when a server was given `wanted`."""
        last = self.last or (() if wanted == self.current else self.current)
        return Pin(current=wanted, last=last, next=() if set(self.next) <= set(wanted) else self.next)


class Pins:
    """The pins below `folder`; `books` is the lock under which they change. Methods raise OSError."""

    def __init__(self, folder: Path, books: Callable[[float], AbstractContextManager[None]]) -> None:
        self._folder, self._books = folder, books
        self._ballast = Ballast(folder / "ballast")

    def of(self, name: str) -> Pin | None:
        """Return the pin of a slice: an empty one where it has none, None where it can't be read."""
        try:
            data = json.loads((self._folder / f"{name}{_SUFFIX}").read_bytes())
            return Pin(*(_digests(data[key]) for key in ("current", "last", "next")))
        except FileNotFoundError:
            return Pin()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, OSError) and not is_lost(error):
                raise
            _log.warning("the pin of slice %s cannot be read; until it is written anew nothing is collected", name)
            return None

    def change(self, name: str, change: Callable[[Pin], Pin]) -> None:
        """Make of a slice's pin what `change` makes of it; where it stands already, only its time is noted.

        Only what changes waits for the books, at most PATIENCE; TimeoutError is an OSError. On a full disk ballast is
        given up for it.
        """
        if self._stands(name, change):
            return
        with self._books(PATIENCE):
            pin = change(self.of(name) or Pin())
            self._folder.mkdir(mode=0o755, exist_ok=True)
            for draft in self._folder.glob(".*"):  # of a process that was killed
                with suppress(OSError):
                    draft.unlink()
            self._write(name, pin)
        self._ballast.fill()

    def drop_others(self, names: Iterable[str], *, drawn: float | None, received: float, now: float) -> None:
        """Take away the pins of slices that are not among `names`, a list drawn at that time by the operator's clock.

        `received` is when the node got it and `now` the present, by its own clock. Unless list and clock agree within
        GRACE nothing goes.
        """
        if drawn is None or abs(now - drawn) > GRACE:
            _log.info("the list of the slices on this node is of another time than the clock of it; no pin is dropped")
            return
        listed = set(names)
        with self._books(PATIENCE):
            for name in self._names():
                path = self._folder / f"{name}{_SUFFIX}"
                with suppress(OSError):  # one that can't be removed holds up none of the others
                    if name not in listed and path.stat().st_mtime < received - GRACE:
                        path.unlink()
                        _log.info("slice %s is not on this node any more; its pin is gone", name)

    def holders(self) -> dict[str, Pin | None]:
        """Return each slice's pin; None stands for one that can't be read."""
        return {name: self.of(name) for name in self._names()}

    def _stands(self, name: str, change: Callable[[Pin], Pin]) -> bool:
        """Tell whether a pin is what it shall be, and note the time; no lock, for it is replaced in one step."""
        path = self._folder / f"{name}{_SUFFIX}"
        former = self.of(name)
        if former is None or change(former) != former or former == Pin():
            return False
        try:
            os.utime(path)
        except FileNotFoundError:  # dropped just now
            return False
        except OSError:
            pass
        return True

    def _write(self, name: str, pin: Pin) -> None:
        while True:
            try:
                replace_file(self._folder / f"{name}{_SUFFIX}", json.dumps(asdict(pin)).encode())
            except OSError as error:
                if not is_full(error) or not self._ballast.give_up():
                    raise
            else:
                return

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
