"""A little of the disk, held for what must be written when nothing else can be: the pin of a server that starts.

::

    <folder>/0 .. <folder>/7   each gives a block or two and an inode for one small file

Whatever fills a disk, a server that finds its artifact there starts; but what it serves is only safe from collection
once its pin says so. So a few small files are kept while there is room, and given up one at a time when there is none.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

PIECES: Final = 8
_SIZE: Final = 8 << 10
"""Bytes: a block for the file and one for the folder's entry, where they are of 4 KiB."""


class Ballast:
    """The pieces in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self) -> None:
        """Lay in what is missing, as far as the disk takes it."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for piece in self._pieces():
                if not piece.exists() or piece.stat().st_size < _SIZE:
                    # Not zeros, which some file systems don't store.
                    piece.write_bytes(bytes(range(256)) * (_SIZE // 256))

    def give_up(self) -> bool:
        """Remove one piece; False where there is none left that can be."""
        for piece in self._pieces():
            with suppress(OSError):
                piece.unlink()
                return True
        return False

    def _pieces(self) -> list[Path]:
        return [self._folder / str(number) for number in range(PIECES)]
