"""file:///import/PATH: a file, or with "/" at its end a folder, that somebody carried to the node.

It names a path below ``import/`` in the namespace's own folder and no other path of the node. Every component is opened
below the one before it with O_NOFOLLOW, so neither "..", nor a symbolic link, nor a race with one leads out. The files
of a folder are opened in the same way, each by itself.
"""

import itertools
import os
import stat
import urllib.parse
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from littoral.api.group import CACHE_HOST_PATH
from littoral.modelstore.errors import FetchError, SourceUnreachable, UnsupportedSource
from littoral.modelstore.sources import CHUNK, Member, Stream
from littoral.modelstore.tree import MAX_MEMBERS

PREFIX: Final = "/import/"
_MAX_DEPTH: Final = 64
"""Folders one below the other; each takes a descriptor while it is read."""
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalFile:
    """One regular file of this machine, as `littoral digest` reads it; no URI names one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, offset: int) -> Stream:
        """Return the file's bytes from `offset` on. Raises SourceUnreachable, UnsupportedSource."""
        if self._path.exists() and not self._path.is_file():
            raise UnsupportedSource(f"{self._path} is neither a file nor a folder")
        try:
            return _stream(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), offset, str(self._path))
        except OSError as error:
            raise SourceUnreachable(f"{self._path} cannot be read: {error.strerror}") from None


class LocalFolder:
    """The files of a folder of this machine, as `littoral digest` reads it; no URI names one."""

    verified: bool = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def members(self) -> tuple[Member, ...]:
        """Return every file, sorted by path. Raises SourceUnreachable, and UnsupportedSource of what is no file."""
        try:
            found = list(itertools.islice(self._below(self._path), MAX_MEMBERS + 1))
        except OSError as error:
            raise SourceUnreachable(f"{error.filename} cannot be read: {error.strerror}") from None
        return tuple(sorted(found, key=lambda member: os.fsencode(member.path)))

    def _below(self, folder: Path) -> Iterator[Member]:
        for path in folder.iterdir():
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise UnsupportedSource(f"{path} is neither a file nor a folder; put the file itself there")
            if path.is_dir():
                yield from self._below(path)
            else:
                yield Member(path.relative_to(self._path).as_posix(), LocalFile(path), path.stat().st_size)


class ImportedFile:
    """One regular file below `imports`. Raises UnsupportedSource for a URI that names anything else."""

    def __init__(self, uri: str, imports: Path, parts: tuple[str, ...] = ()) -> None:
        self._imports = imports
        self._parts = parts or import_path(uri)

    def open(self, offset: int) -> Stream:
        """Return the file's bytes from `offset` on. Raises SourceUnreachable, UnsupportedSource."""
        try:
            with ExitStack() as opened:
                folder = _descend(self._imports, self._parts[:-1], opened)
                # O_NONBLOCK: opening a FIFO must not wait for its writer.
                descriptor = os.open(self._parts[-1], _FLAGS | os.O_NONBLOCK, dir_fd=folder)
        except OSError as error:
            raise _explained(error, self._parts, "file") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UnsupportedSource(f"{_named(self._parts)} is not a regular file")
        return _stream(descriptor, offset, _named(self._parts))


class ImportedFolder:
    """The files of a folder below `imports`. Raises UnsupportedSource for a URI that names anything else."""

    verified: bool = False

    def __init__(self, uri: str, imports: Path) -> None:
        self._uri, self._imports = uri, imports
        self._parts = import_path(uri.removesuffix("/"))

    def members(self) -> tuple[Member, ...]:
        """Return every file, sorted by path, but one more than MAX_MEMBERS at most.

        Raises SourceUnreachable, and UnsupportedSource of what is neither file nor folder.
        """
        try:
            with ExitStack() as opened:
                below = self._below(_descend(self._imports, self._parts, opened), self._parts)
                found = list(itertools.islice(below, MAX_MEMBERS + 1))
        except OSError as error:
            raise _explained(error, self._parts, "folder") from None
        return tuple(sorted(found, key=lambda member: os.fsencode(member.path)))

    def _below(self, folder: int, parts: tuple[str, ...]) -> Iterator[Member]:
        if len(parts) - len(self._parts) > _MAX_DEPTH:
            raise UnsupportedSource(f"{_named(self._parts)} holds more than {_MAX_DEPTH} folders one below the other")
        with os.scandir(folder) as entries:
            for entry in entries:
                path = (*parts, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    with ExitStack() as opened:
                        yield from self._below(_opened(entry.name, folder, opened), path)
                elif entry.is_file(follow_symlinks=False):
                    source = ImportedFile(self._uri, self._imports, path)
                    status = entry.stat(follow_symlinks=False)
                    name = "/".join(path[len(self._parts) :])
                    yield Member(name, source, status.st_size, validator=_version(status))
                else:
                    raise UnsupportedSource(f"{_named(path)} is neither a file nor a folder; put the file itself there")


def _descend(imports: Path, parts: tuple[str, ...], opened: ExitStack) -> int:
    """Open one folder below the other; return the last one's descriptor. Raises OSError."""
    folder = os.open(imports, _FLAGS | os.O_DIRECTORY)
    opened.callback(os.close, folder)
    for part in parts:
        folder = _opened(part, folder, opened)
    return folder


def _opened(name: str, folder: int, opened: ExitStack) -> int:
    descriptor = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
    opened.callback(os.close, descriptor)
    return descriptor


def _named(parts: tuple[str, ...]) -> str:
    return f"file://{PREFIX}{'/'.join(parts)}"


def _explained(error: OSError, parts: tuple[str, ...], what: str) -> FetchError:
    name, place = _named(parts), f"{CACHE_HOST_PATH}/namespaces/<UID of the namespace>{PREFIX}{'/'.join(parts)}"
    if isinstance(error, FileNotFoundError):
        return SourceUnreachable(f"{name} is not on this node; put the {what} at {place} there")
    if isinstance(error, PermissionError):
        return SourceUnreachable(f"{name} cannot be read; give everybody read permission on {place}")
    # ELOOP: a link as the last component; ENOTDIR: a link, or a file, where a folder should be.
    return UnsupportedSource(
        f"{name} leads through a symbolic link or through what is no folder ({error.strerror}); "
        f"put the {what} itself at {place}"
    )


def _stream(descriptor: int, offset: int, name: str) -> Stream:
    status = os.fstat(descriptor)
    return Stream(_chunks(descriptor, offset, name), status.st_size, _version(status))


def _version(status: os.stat_result) -> str:
    """A file that was put in the place of a wrong one is another one, whatever its size and its time of change say."""
    return f"{status.st_ino}.{status.st_ctime_ns}"


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
