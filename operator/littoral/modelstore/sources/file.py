"""file:///import/PATH: a file that somebody carried to the node.

It names a path below ``import/`` in the namespace's own folder and no other path of the node. Every component is opened
below the one before it with O_NOFOLLOW, so neither "..", nor a symbolic link, nor a race with one leads out.
"""

import os
import stat
import urllib.parse
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from littoral.api.group import CACHE_HOST_PATH
from littoral.modelstore.errors import FetchError, SourceUnreachable, UnsupportedSource
from littoral.modelstore.sources import CHUNK, Stream

PREFIX: Final = "/import/"


class LocalFile:
    """One regular file of this machine, as `littoral digest` reads it; no URI names one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, offset: int) -> Stream:
        """Return the file's bytes from `offset` on. Raises SourceUnreachable, UnsupportedSource."""
        if self._path.exists() and not self._path.is_file():
            raise UnsupportedSource(
                f"{self._path} is no file; pack a folder first: tar -C {self._path} -cf model.tar ."
            )
        try:
            return _stream(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), offset, str(self._path))
        except OSError as error:
            raise SourceUnreachable(f"{self._path} cannot be read: {error.strerror}") from None


class ImportedFile:
    """One regular file below `imports`. Raises UnsupportedSource for a URI that names anything else."""

    def __init__(self, uri: str, imports: Path) -> None:
        self._imports = imports
        self._parts = import_path(uri)

    def open(self, offset: int) -> Stream:
        """Return the file's bytes from `offset` on. Raises SourceUnreachable, UnsupportedSource."""
        try:
            with ExitStack() as folders:
                descriptor = self._descend(folders)
        except OSError as error:
            raise self._explained(error) from None
        return _stream(descriptor, offset, self._name)

    def _descend(self, folders: ExitStack) -> int:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = os.open(self._imports, flags | os.O_DIRECTORY)
        folders.callback(os.close, folder)
        for part in self._parts[:-1]:
            folder = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
            folders.callback(os.close, folder)
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        descriptor = os.open(self._parts[-1], flags | os.O_NONBLOCK, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UnsupportedSource(f"{self._name} is not a regular file")
        return descriptor

    @property
    def _name(self) -> str:
        return f"file://{PREFIX}{'/'.join(self._parts)}"

    def _explained(self, error: OSError) -> FetchError:
        place = f"{CACHE_HOST_PATH}/namespaces/<UID of the namespace>{PREFIX}{'/'.join(self._parts)}"
        if isinstance(error, FileNotFoundError):
            return SourceUnreachable(f"{self._name} is not on this node; put the file at {place} there")
        if isinstance(error, PermissionError):
            return SourceUnreachable(f"{self._name} cannot be read; give everybody read permission on {place}")
        # ELOOP: a link as the last component; ENOTDIR: a link, or a file, where a folder should be.
        return UnsupportedSource(
            f"{self._name} leads through a symbolic link or through what is no folder ({error.strerror}); "
            f"put the file itself at {place}"
        )


def _stream(descriptor: int, offset: int, name: str) -> Stream:
    return Stream(_chunks(descriptor, offset, name), os.fstat(descriptor).st_size)


def _chunks(descriptor: int, offset: int, name: str) -> Generator[bytes, None, None]:
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        try:
            file.seek(offset)
            while chunk := file.read(CHUNK):
                yield chunk
        except OSError as error:
            raise SourceUnreachable(f"{name} cannot be read: {error.strerror}") from None


def import_path(uri: str) -> tuple[str, ...]:
    """Return the components below import/ that `uri` names. Raises UnsupportedSource."""
    parts = urllib.parse.urlsplit(uri)
    path = urllib.parse.unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.startswith(PREFIX):
        raise UnsupportedSource(f"{uri!r}: a file source is file://{PREFIX}PATH, with no host, query or fragment")
    components = tuple(path.removeprefix(PREFIX).split("/"))
    if any(component in {"", ".", ".."} or "\0" in component for component in components):
        raise UnsupportedSource(f"{uri!r}: the path below import/ must be plain, without '..', '.' or empty parts")
    return components
